"""The API in this process, without engine and runner: for all that happens before a run has a process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from local_workspace.api.app import create_app, open_workspace
from local_workspace.api.call import Workspace
from local_workspace.api.principals import issue_tokens
from local_workspace.state import State

NOWHERE = "sc://127.0.0.1:1"
HOST = "http://127.0.0.1:8471"


@dataclass(frozen=True)
class Caller:
    """A principal's client: `get` and `post` return the body, and check the status."""

    client: TestClient

    def call(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        """Make the call, with its arguments as JSON body or, for GET, as query."""
        query, body = (arguments, None) if method == "GET" else (None, arguments)
        response = self.client.request(method, path, params=query, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def get(self, path: str, status: int = 200, **arguments: Any) -> Any:
        return self.call("GET", path, status, **arguments)

    def post(self, path: str, status: int = 200, **arguments: Any) -> Any:
        return self.call("POST", path, status, **arguments)


@pytest.fixture
def parts(tmp_path: Path) -> Workspace:
    """A workspace whose scheduler is not started: runs stay as they were accepted."""
    issue_tokens(State(tmp_path), ["alice", "bob"])
    return open_workspace(tmp_path, HOST, NOWHERE, most_processes=2)


@pytest.fixture
def as_user(parts: Workspace) -> Iterator[Callable[[str], Caller]]:
    """A caller for each name."""
    tokens = issue_tokens(parts.state, [])
    app = create_app(parts)

    def caller(name: str) -> Caller:
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        return Caller(TestClient(app, HOST, headers=headers, raise_server_exceptions=False))

    yield caller


@pytest.fixture
def admin(as_user: Callable[[str], Caller]) -> Caller:
    """The administrator."""
    return as_user("admin")


@pytest.fixture
def job() -> dict[str, Any]:
    """The settings of a small job."""
    return {
        "name": "small",
        "tasks": [{"task_key": "t", "spark_python_task": {"python_file": "/no/such/file.py"}}],
    }
