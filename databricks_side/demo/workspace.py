"""The local workspace: started by its command, and asked through the Databricks SDK as it comes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from databricks_file_arrivals.workspace.exchange import Answer, Call, run
from databricks_file_arrivals.workspace.statements import execute
from demo.processes import Processes, environment, free_port

ADMIN = "admin"
PRINCIPAL = "airflow"
"""Who Airflow is in the workspace: a user who may run what he is granted, not an administrator."""
WAREHOUSE = "local"
START_SECONDS = 120.0
RUNS_AT_A_TIME = 5


class Workspace:
    """A workspace of its own in a state folder."""

    def __init__(
        self, state: Path, processes: Processes, binaries: Path, options: Sequence[str] = ()
    ) -> None:
        self._options = options
        self._state = state
        self._processes = processes
        self._binaries = binaries
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to start it; `tokens` and `is_ready` tell how far it is."""
        command = [str(self._binaries / "local-workspace"), "start", "--state", str(self._state)]
        command += ["--port", str(self.port), "--principal", PRINCIPAL, "--processes", str(RUNS_AT_A_TIME)]
        command += self._options
        self._processes.spawn(
            "The local workspace", command, self._state / "start.log", environment(self._binaries)
        )

    @property
    def folder(self) -> Path:
        """Its state folder."""
        return self._state

    def tokens(self) -> dict[str, str] | None:
        """The access tokens by principal, or None while they are not made."""
        file = self._state / "tokens.json"
        found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return found if {ADMIN, PRINCIPAL} <= set(found) else None

    def is_ready(self) -> bool:
        """Whether it says that it answers."""
        log = self._state / "start.log"
        return log.exists() and f"Workspace: {self.url}" in log.read_text()

    @cached_property
    def client(self) -> WorkspaceClient:
        """The SDK, as the administrator."""
        token = (self.tokens() or {})[ADMIN]
        return WorkspaceClient(config=Config(host=self.url, token=token, auth_type="pat"))

    def connection(self) -> dict[str, Any]:
        """The Airflow connection to it, as `AIRFLOW_CONN_…` takes it."""
        return {
            "conn_type": "databricks",
            "host": "127.0.0.1",
            "schema": "http",
            "port": self.port,
            "password": (self.tokens() or {})[PRINCIPAL],
            "extra": {"http_path": f"/sql/1.0/warehouses/{WAREHOUSE}"},
        }

    def sql(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement, through the Statement Execution API; `:name` in it is bound."""
        return run(execute(statement, parameters, warehouse_id=WAREHOUSE), self.call).rows

    def call(self, request: Call) -> Answer:
        """One call of the REST API by the SDK's client."""
        content = dict(request.body or {})
        asks = request.method == "GET"
        answer = self.client.api_client.do(
            request.method,
            f"/api/{request.endpoint}",
            query=content if asks else None,
            body=None if asks else content,
        )
        assert isinstance(answer, dict)
        return answer

    def calls(self, principal: str) -> int:
        """How many calls of the API a principal has made since the start."""
        counts = self.client.api_client.do("GET", "/local/calls", query={"principal": principal})
        assert isinstance(counts, dict)
        return sum(counts.values())
