"""The operator as a task instance of a real DAG run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.airflow_side import Log
from tests.airflow_versions import load_dag, run_dag
from tests.conftest import DAG_FOLDERS

SOURCE = """
from datetime import datetime
from airflow import DAG
from databricks_file_arrivals.operators import TriggerWorkflowsOperator

with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1)):
    TriggerWorkflowsOperator(task_id="trigger", **{arguments!r})
"""


@pytest.fixture
def trigger_task(
    airflow_db: str, new_log: Callable[[], Log], jobs: dict[str, int]
) -> Callable[..., tuple[Log, Any]]:
    """Runs a DAG of one operator on a new log: the log and the task instance."""

    def run(
        *rows: tuple[str | None, str | None, str | None], files: dict[str, int], **changes: Any
    ) -> tuple[Log, Any]:
        log = new_log()
        log.map(*rows)
        log.land(files)
        arguments = {
            "log_table": str(log.names.log),
            "workflow_mapping_table": str(log.names.mapping),
            "retries": 2,
            **changes,
        }
        file = DAG_FOLDERS["written"] / "trigger_only.py"
        file.write_text(SOURCE.format(dag_id=f"trigger_{log.names.log.parts[1]}", arguments=arguments))
        return log, run_dag(load_dag(file)).get_task_instance("trigger")

    return run


def test_a_dry_run_starts_nothing_and_takes_nothing_from_the_real_consumer(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(("/in/a", "alpha", "Y"), files={"/in/a": 2}, dry_run=True, start_from="earliest")
    assert task.xcom_pull("trigger")["dry_run"] == 1
    assert log.outcomes("default-dry-run") == {("/in/a", "alpha"): "DRY_RUN"}
    row = log.ledger.consumer("default")
    assert row is not None and row.epoch == 0 and not row.cursor


def test_it_returns_the_counts_and_stamps_the_rows(trigger_task: Callable[..., tuple[Log, Any]]) -> None:
    log, task = trigger_task(("/in/a", "alpha", "Y"), files={"/in/a": 2, "/in/z": 1})
    assert task.state == "success"
    assert task.xcom_pull("trigger") == {
        "epoch": 1,
        "files": 3,
        "mapping_problems": 0,
        "planned": 1,
        "triggered": 1,
        "unmapped": 1,
    }
    rows = log.hook.query(f"SELECT DISTINCT task_id, try_number FROM {log.names.log.sql}")
    assert rows == [{"task_id": "trigger", "try_number": 1}]


def test_a_refusal_fails_the_task_once_all_others_are_recorded(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(
        ("/in/a", "alpha", "Y"), ("/in/l", "locked", "Y"), files={"/in/a": 1, "/in/l": 1}
    )
    assert task.state == "failed" and task.try_number == 1, "a refusal is not retried by Airflow"
    assert log.outcomes("default") == {("/in/a", "alpha"): "TRIGGERED", ("/in/l", "locked"): "ERROR"}


def test_bad_mapping_rows_are_counted_and_the_others_work(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(
        ("", "alpha", "Y"),
        ("/in/b", "  ", "Y"),
        ("/in/a", "alpha", "Y"),
        ("/in/a", "alpha", "Y"),
        files={"/in/a": 1, "/in/b": 1},
    )
    assert task.state == "success" and task.xcom_pull("trigger")["mapping_problems"] == 3
    assert log.outcomes("default") == {("/in/a", "alpha"): "TRIGGERED", ("/in/b", None): "UNMAPPED"}
