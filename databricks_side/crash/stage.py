"""What the crash test runs on: the demo's stage, with faults allowed and Airflow's metadata in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests
from databricks.sdk.errors.base import DatabricksError
from demo.airflow import BINARIES, START_SECONDS, Airflow
from demo.processes import DemoError, until
from demo.screen import Screen
from demo.stage import REPOSITORY, Stage
from demo.wheel import stream_wheel
from demo.workspace import ADMIN, Workspace

from crash.jobs import create_workflows
from crash.postgres import Postgres
from crash.traffic import mapping
from databricks_file_arrivals.core.errors import FileArrivalsError
from local_workspace.faults import FaultClient, FaultError

DAG_ID = "crash_arrivals"
DAGS = Path(__file__).parent / "dags"
# What is dead is to be noticed in seconds; the defaults are minutes.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
PATIENCE_SECONDS = 180.0
PASSING = (DatabricksError, FileArrivalsError, requests.RequestException, FaultError, OSError)

T = TypeVar("T")


class CrashStage(Stage):
    """One state folder, and everything on it that is to be killed."""

    batch_interval = "1 second"
    stream_retries = 1000

    def __init__(self, state: Path, screen: Screen) -> None:
        super().__init__(state, screen)
        self.workspace = Workspace(state / "workspace", self.processes, BINARIES, ["--faults"])
        self.postgres = Postgres(self.processes, state)
        settings = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url, **IMPATIENT}
        self.airflow = Airflow(state / "airflow", DAGS, self.processes, DAG_ID, settings)
        self.told = state / "told"
        self.jobs: list[int] = []

    def start(self) -> None:
        """Start PostgreSQL, then workspace and Airflow."""
        self.postgres.start()
        until(self.postgres.is_ready, "PostgreSQL answers", self.processes, seconds=60)
        super().start()

    def deploy_crash(self) -> None:
        """Make tables, mapping and jobs, start the stream, and switch the DAG on."""
        wheel = stream_wheel(REPOSITORY, self.state / "wheels")
        until(self.workspace.is_ready, "the workspace answers", self.processes, seconds=START_SECONDS)
        self.told.mkdir()
        self.make_tables()
        self.map(mapping())
        self.jobs = create_workflows(self.workspace.client, wheel, self.told)
        self.screen.say("tables, mapping and jobs are made")
        self.start_stream(wheel)
        until(self.airflow.is_ready, "Airflow is ready", self.processes, seconds=START_SECONDS)
        self.airflow.unpause()
        self.screen.say("Airflow is ready, the DAG is switched on")

    @property
    def faults(self) -> FaultClient:
        """The faults of the workspace."""
        return FaultClient(self.workspace.url, (self.workspace.tokens() or {})[ADMIN])

    def patient(self, call: Callable[[], T], what: str) -> T:
        """What a call gives, tried again while something that was killed comes back."""
        failed: list[Exception] = []

        def tried() -> tuple[T] | None:
            try:
                return (call(),)
            except PASSING as error:
                failed[:] = [error]
                return None

        try:
            return until(tried, what, self.processes, seconds=PATIENCE_SECONDS, pause=0.5)[0]
        except DemoError as error:
            raise DemoError(f"{error} {' '.join(map(repr, failed))}") from error

    def stop(self) -> None:
        """End all that was started."""
        super().stop()
        self.postgres.remove()
