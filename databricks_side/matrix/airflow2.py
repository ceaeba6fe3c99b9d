"""A real Airflow 2.11: scheduler and triggerer, asked and told by its command line, because its REST API
would need the webserver and a user in its database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from demo.airflow import Airflow


class Airflow2(Airflow):
    """As Airflow 3, with fewer components and without a page."""

    components: Mapping[str, Sequence[str]] = {
        "scheduler": ("--skip-serve-logs",),
        "triggerer": ("--skip-serve-logs",),
    }

    def environment(self, connection: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The same settings, but for the executor: the one that SQLite allows there."""
        return {**super().environment(connection), "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor"}

    def is_ready(self) -> bool:
        """Whether both components are alive and the DAG is known."""
        if any(dag["dag_id"] == self._dag_id for dag in self._ask("dags", "list")):
            kinds = ("SchedulerJob", "TriggererJob")
            return all(self._tell("jobs", "check", "--job-type", kind).returncode == 0 for kind in kinds)
        return False

    def unpause(self, *, paused: bool = False) -> None:
        """Let the DAG run, or no more."""
        self._tell("dags", "pause" if paused else "unpause", self._dag_id).check_returncode()

    def dag_runs(self) -> list[dict[str, Any]]:
        """All runs of the DAG, the newest first."""
        return self._ask("dags", "list-runs", "--dag-id", self._dag_id)

    def task_instances(self, task_id: str) -> list[dict[str, Any]]:
        """The instance of a task in the newest run of the DAG."""
        found = []
        for run in self.dag_runs()[:1]:
            found += self._ask("tasks", "states-for-dag-run", self._dag_id, run["run_id"])
        return [task for task in found if task["task_id"] == task_id]

    def _ask(self, *words: str) -> list[dict[str, Any]]:
        said = self._tell(*words, "--output", "json").stdout
        start = said.find("[{")
        found: list[dict[str, Any]] = json.loads(said[start:]) if start >= 0 else []
        return found

    def _tell(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.binaries / "airflow"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment(), check=False)
