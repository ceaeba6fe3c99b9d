"""A real Airflow: the four processes of `airflow standalone`, on loopback, with a home of its own.

Not by the command `standalone` itself: the log servers that it starts listen on every address of the machine.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import requests

from demo.processes import Child, Processes, environment, free_port

BINARIES = Path(sys.prefix) / "bin"
USER = "admin"
DAG_ID = "file_arrivals"
COMPONENTS: Mapping[str, Sequence[str]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
START_SECONDS = 180.0
_REQUEST_SECONDS = 20.0


class Airflow:
    """An Airflow of its own: started, asked and told through its REST API."""

    components = COMPONENTS

    def __init__(
        self,
        home: Path,
        dags: Path,
        processes: Processes,
        dag_id: str = DAG_ID,
        settings: Mapping[str, str] | None = None,
        binaries: Path = BINARIES,
    ) -> None:
        self.binaries = binaries
        self._dag_id = dag_id
        self._settings = dict(settings or {})
        self._components: dict[str, Child] = {}
        self._home = home
        self._dags = dags
        self._processes = processes
        self._port = free_port()
        self._session = requests.Session()
        self._session.trust_env = False  # loopback goes past any proxy
        self.password = secrets.token_urlsafe(12)

    @property
    def url(self) -> str:
        """Where its pages and its API are."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self, connection: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The settings, as the variables that Airflow reads, and the connection to the workspace."""
        settings = {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._passwords),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__FILE_ARRIVALS__LINGER": "1",
            **self._settings,
        }
        if connection is not None:
            settings["AIRFLOW_CONN_DATABRICKS_DEFAULT"] = json.dumps(connection)
        return environment(self.binaries, **settings)

    @property
    def _passwords(self) -> Path:
        return self._home / "passwords.json"

    def migrate(self) -> None:
        """Begin to make the database; `start` waits for it."""
        self._home.mkdir(mode=0o700, parents=True)
        self._passwords.touch(mode=0o600)
        self._passwords.write_text(json.dumps({USER: self.password}))
        command = [str(self.binaries / "airflow"), "db", "migrate"]
        log = self._home / "migrate.log"
        self._migration = self._processes.spawn(
            "airflow db migrate", command, log, self.environment(), ends=True
        )

    def start(self, connection: Mapping[str, Any]) -> None:
        """Start all components with the connection `databricks_default`; `is_ready` tells when they work."""
        self._processes.finish(self._migration)
        self._connection = connection
        for name in self.components:
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        command = [str(self.binaries / "airflow"), name, *self.components[name]]
        log, settings = self._home / f"{name}.log", self.environment(self._connection)
        self._components[name] = self._processes.spawn(f"Airflow's {name}", command, log, settings)

    def kill(self, name: str, *, alone: bool = False) -> None:
        """SIGKILL to a component, and to all that it started unless `alone`; then it is started again."""
        self._processes.kill(self._components[name], alone=alone)
        self._spawn(name)

    def is_ready(self) -> bool:
        """Whether every component is healthy and the DAG is known."""
        try:
            if "Authorization" not in self._session.headers:
                login = {"username": USER, "password": self.password}
                answer = self._session.post(f"{self.url}/auth/token", json=login, timeout=_REQUEST_SECONDS)
                answer.raise_for_status()
                self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            health = self.call("GET", "monitor/health")
        except requests.ConnectionError:
            return False
        healthy = all(component["status"] == "healthy" for component in health.values())
        return healthy and any(dag["dag_id"] == self._dag_id for dag in self.call("GET", "dags")["dags"])

    def unpause(self, *, paused: bool = False) -> None:
        """Let the DAG run from now on, or no more."""
        self.call("PATCH", f"dags/{self._dag_id}", {"is_paused": paused})

    def task_instances(self, task_id: str) -> list[dict[str, Any]]:
        """The newest instances of a task of the DAG, over all its runs."""
        path = f"dags/{self._dag_id}/dagRuns/~/taskInstances?task_id={task_id}&order_by=-start_date&limit=5"
        found: list[dict[str, Any]] = self.call("GET", path)["task_instances"]
        return found

    def dag_runs(self) -> list[dict[str, Any]]:
        """All runs of the DAG, the newest first."""
        found: list[dict[str, Any]] = self.call(
            "GET", f"dags/{self._dag_id}/dagRuns?order_by=-start_date&limit=100"
        )["dag_runs"]
        return found

    def of(self, dag_id: str) -> Airflow:
        """The same Airflow, asked about another DAG."""
        other = copy(self)
        other._dag_id = dag_id
        return other

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer of a call of Airflow's REST API."""
        answer = self._session.request(
            method, f"{self.url}/api/v2/{path}", json=body, timeout=_REQUEST_SECONDS
        )
        answer.raise_for_status()
        return answer.json()
