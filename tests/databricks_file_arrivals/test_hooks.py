"""The hook on real connections: good ones, and each bad one with an error that says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from databricks_file_arrivals.compat import AirflowException, AirflowFailException
from databricks_file_arrivals.core.errors import (
    BadInput,
    NotAuthenticated,
    Refused,
    WarehouseMissing,
    WorkspaceError,
    WorkspaceUnavailable,
)
from databricks_file_arrivals.hooks import FileArrivalsHook, airflow_errors
from databricks_file_arrivals.workspace.exchange import Call
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import PRINCIPAL, connection

ME = Call("GET", "2.0/preview/scim/v2/Me")


def both_ways(conn_id: str, call: Call) -> tuple[Exception, Exception]:
    """What the blocking and what the asynchronous call raise."""

    async def asynchronous() -> Mapping[str, Any]:
        hook = FileArrivalsHook(conn_id, retry_limit=1)
        async with hook:
            await hook.prepare()
            return await hook.a_call(call)

    with pytest.raises(WorkspaceError) as blocking:
        FileArrivalsHook(conn_id, retry_limit=1).call(call)
    with pytest.raises(WorkspaceError) as other:
        asyncio.run(asynchronous())
    return blocking.value, other.value


@pytest.fixture
def conn(databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Makes a connection to the workspace with some parts changed: its id."""

    def make(token: str = "", **changes: object) -> str:
        text = connection(databricks, token or databricks.token(PRINCIPAL), **changes)
        monkeypatch.setenv("AIRFLOW_CONN_CHANGED", text)
        return "changed"

    return make


def test_rows_and_affected_rows_come_through_the_stock_connection(hook: FileArrivalsHook) -> None:
    assert hook.query("SELECT :x AS x", {"x": "it's"}) == [{"x": "it's"}]
    assert hook.warehouse_id == "local"


def test_a_wrong_token_is_named_both_ways(conn) -> None:  # type: ignore[no-untyped-def]
    for error in both_ways(conn("dapi-wrong"), ME):
        assert (
            isinstance(error, NotAuthenticated) and "token" in str(error) and "dapi-wrong" not in str(error)
        )


def test_a_refusal_is_named_both_ways(conn) -> None:  # type: ignore[no-untyped-def]
    for error in both_ways(conn(), Call("GET", "2.2/jobs/get", {"job_id": 999_999_999})):
        assert isinstance(error, Refused) and not error.retryable


def test_a_workspace_that_is_down_is_named_both_ways(conn) -> None:  # type: ignore[no-untyped-def]
    for error in both_ways(conn(port=9), ME):
        assert isinstance(error, WorkspaceUnavailable) and error.retryable


def test_a_host_that_answers_something_else_is_named(conn) -> None:  # type: ignore[no-untyped-def]
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a login page</html>")

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        for error in both_ways(conn(port=server.server_port), ME):
            assert "not JSON" in str(error)
    finally:
        server.shutdown()


def test_a_connection_that_is_not_defined_is_named(airflow_db: str, databricks: RunningWorkspace) -> None:
    with pytest.raises(BadInput, match="airflow connections add nowhere"):
        FileArrivalsHook("nowhere").query("SELECT 1")


def test_a_connection_without_a_warehouse_is_named(conn) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WarehouseMissing, match="http_path"):
        FileArrivalsHook(conn(extra={})).query("SELECT 1")
    assert FileArrivalsHook(conn(extra={}), "local").query("SELECT 1 AS one") == [{"one": 1}]


def test_only_what_will_not_pass_fails_a_task_at_once() -> None:
    with pytest.raises(AirflowFailException, match="no"), airflow_errors():
        raise Refused(403, "PERMISSION_DENIED", "no")
    with pytest.raises(AirflowException) as raised, airflow_errors():
        raise WorkspaceUnavailable("later")
    assert not isinstance(raised.value, AirflowFailException)
    with pytest.raises(AirflowException) as raised, airflow_errors(retry=True):
        raise Refused(403, "PERMISSION_DENIED", "no")
    assert not isinstance(raised.value, AirflowFailException)
