"""A whole Airflow of its own for a test: scheduler, triggerer, API server, on the session's workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.airflow import START_SECONDS, Airflow
from demo.processes import Processes, until

from local_workspace.testing import RunningWorkspace
from tests.airflow_side import PRINCIPAL, connection

SETTINGS = {"TRIGGERER__JOB_HEARTBEAT_SEC": "2", "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10"}
"""A triggerer that is gone is noticed soon."""


@contextmanager
def whole_airflow(
    folder: Path, dags: Mapping[str, str], dag_id: str, databricks: RunningWorkspace
) -> Iterator[Airflow]:
    """Airflow with DAG files, by name, of which one has `dag_id`: ready, and ended at the end."""
    (folder / "dags").mkdir()
    for name, text in dags.items():
        (folder / "dags" / name).write_text(text)
    processes = Processes(folder)
    settings = {f"AIRFLOW__{name}": value for name, value in SETTINGS.items()}
    made = Airflow(folder / "airflow", folder / "dags", processes, dag_id, settings)
    try:
        made.migrate()
        made.start(json.loads(connection(databricks, databricks.token(PRINCIPAL))))
        until(made.is_ready, "Airflow is ready", processes, seconds=START_SECONDS)
        yield made
    finally:
        processes.end()
