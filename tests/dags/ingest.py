"""The log that the ready DAGs name, and the DAGs, loaded as Airflow finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.ledger import Ledger
from tests.airflow_side import Log
from tests.airflow_versions import load_dags, run_dag

DAGS = Path(__file__).parents[2] / "dags"


def deployed(hook: FileArrivalsHook, mapping: str = "main.ingest.workflow_mapping") -> Log:
    """`main.ingest.file_log` and its tables, and a mapping table for it."""
    hook.query("CREATE SCHEMA IF NOT EXISTS main.ingest")
    deploy(hook, mapping, "main.ingest.file_log")
    names = Names.of("main.ingest.file_log", mapping)
    return Log(hook, names, Ledger(hook, names))


def load(file: str) -> dict[str, Any]:
    """The DAGs of a file."""
    return load_dags(DAGS / file)


def run(dag: Any, **given: Any) -> Any:
    """One run of a DAG, in this process; a run that has not succeeded fails the test."""
    found = run_dag(dag, **given)
    assert found.state == "success", {t.task_id: t.state for t in found.get_task_instances()}
    return found
