"""The hook on real connections: good ones, and each bad one with an error that says what to do."""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from airflow.providers.databricks.hooks import databricks_base
from tenacity import RetryCallState, Retrying, wait_fixed

from databricks_file_arrivals.compat import AirflowException, AirflowFailException, AirflowRuntimeError
from databricks_file_arrivals.core.errors import (
    BadInput,
    NotAuthenticated,
    Refused,
    WarehouseMissing,
    WorkspaceError,
    WorkspaceUnavailable,
)
from databricks_file_arrivals.hooks import (
    LONGEST_WAIT,
    PATIENCE,
    TRIES,
    FileArrivalsHook,
    _refusal,
    airflow_errors,
    retry_after,
    wait,
)
from databricks_file_arrivals.workspace.exchange import Call
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import PRINCIPAL, connection
from tests.airflow_versions import NO_ANSWER, STOCK

DOCS = Path(__file__).parents[2] / "docs" / "install.md"
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


def test_the_connections_that_the_docs_show_are_understood(
    airflow_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(shown) == 2
    for text in shown:
        monkeypatch.setenv("AIRFLOW_CONN_SHOWN", text)
        hook = FileArrivalsHook("shown")
        assert (hook.host, hook.warehouse_id) == ("adb-1.2.azuredatabricks.net", "<id>")
    assert hook.databricks_conn.extra_dejson["service_principal_oauth"] is True


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


ANSWER = {
    **{"error_code": "SOME", "message": "why"},
    **{"access_token": "oauth-x", "token_type": "Bearer", "expires_in": 3600},
}
"""It says enough to be the answer of any call here."""


class Scripted:
    """A workspace on a socket that gives prepared answers, each (status, headers), and then good ones. The
    status 0 drops the connection after the call was read."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.connections: set[tuple[str, int]] = set()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.asked.append((self.path, self.headers["Authorization"]))
                script.connections.add(self.client_address)
                status, headers = script.answers.pop(0) if script.answers else (200, {})
                if status == 0:
                    self.close_connection = True
                    return
                body = b"<html>" if "Content-Type" in headers else json.dumps(ANSWER).encode()
                self.send_response(status)
                usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
                for name, value in {**usual, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True


@pytest.fixture
def scripted(
    airflow_db: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[FileArrivalsHook, Scripted]]]:
    """Makes a hook, whose waits are short, and the workspace that it talks to."""
    servers = []

    def make(*answers: tuple[int, dict[str, str]], **extra: object) -> tuple[FileArrivalsHook, Scripted]:
        script = Scripted(*answers)
        servers.append(script.server)
        Thread(target=script.server.serve_forever, args=(0.01,), daemon=True).start()
        parts: dict[str, object] = {"conn_type": "databricks", "host": "127.0.0.1", "schema": "http"}
        parts |= {"port": script.server.server_port, "password": "dapi-x", **extra}
        monkeypatch.setenv("AIRFLOW_CONN_SCRIPTED", json.dumps(parts))
        hook = FileArrivalsHook("scripted", "w")
        hook.retry_args["wait"] = wait_fixed(0.001)
        return hook, script

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def blocking(hook: FileArrivalsHook, *calls: Call) -> None:
    for call in calls:
        hook.call(call)


def asynchronous(hook: FileArrivalsHook, *calls: Call) -> None:
    async def all_of_them() -> None:
        async with hook:
            for call in calls:
                await hook.a_call(call)

    asyncio.run(all_of_them())


both = pytest.mark.parametrize("make_calls", [blocking, asynchronous])
READ, WRITE = Call("GET", "2.2/x"), Call("POST", "2.2/x", {"a": 1}, repeatable=True)


@both
@pytest.mark.parametrize("call", [READ, WRITE], ids=["reads", "may be repeated"])
@pytest.mark.parametrize("status", [429, 500, 503, 0], ids=str)
def test_what_may_pass_is_tried_again(scripted, make_calls, call, status) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted((status, {}), (status, {}))
    make_calls(hook, call)
    assert len(script.asked) == 3


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501], ids=str)
def test_a_refusal_is_not_tried_again(scripted, make_calls, status) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted((status, {}))
    with pytest.raises(WorkspaceError) as raised:
        make_calls(hook, READ)
    assert not raised.value.retryable and len(script.asked) == 1


@both
@pytest.mark.parametrize("status", [500, 0], ids=str)
def test_a_change_that_does_not_say_so_is_made_once(scripted, make_calls, status) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted((status, {}))
    with pytest.raises(WorkspaceUnavailable):
        make_calls(hook, Call("POST", "2.2/x"))
    assert len(script.asked) == 1


@both
def test_tries_end(scripted, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted(*[(503, {})] * 50)
    with pytest.raises(WorkspaceUnavailable, match="503 SOME why"):
        make_calls(hook, READ)
    assert len(script.asked) == TRIES


@both
def test_no_try_begins_after_the_patience_has_ended(scripted, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted(*[(503, {})] * 50)
    hook.retry_args["wait"] = wait_fixed(PATIENCE + 1)
    with pytest.raises(WorkspaceUnavailable):
        make_calls(hook, READ)
    assert len(script.asked) == 1


@both
def test_a_retry_after_is_waited_for(scripted, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted((429, {"Retry-After": "1"}))
    hook.retry_args["wait"] = wait
    begun = time.monotonic()
    make_calls(hook, READ)
    assert 1 <= time.monotonic() - begun < 4 and len(script.asked) == 2


@both
def test_calls_share_a_connection_and_say_who_they_are(scripted, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted()
    make_calls(hook, READ, Call("GET", "2.2/x", {"name": "a b"}), WRITE)
    assert len(script.connections) == 1
    assert {who for _, who in script.asked} == {"Bearer dapi-x"}
    assert script.asked[1][0] == "/api/2.2/x?name=a+b"


@both
def test_a_connection_with_a_login_uses_it(scripted, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted(login="me", password="secret")
    make_calls(hook, READ)
    assert script.asked[0][1] == "Basic " + b64encode(b"me:secret").decode()


@both
@pytest.mark.parametrize(
    "parts",
    [{"password": ""}, {"login": "", "extra": {"service_principal_oauth": True}, "password": ""}],
    ids=["nothing", "a principal without a secret"],
)
def test_a_connection_without_credentials_is_named(scripted, make_calls, parts) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted(**parts)
    with pytest.raises(BadInput, match="cannot be used"):
        make_calls(hook, READ)
    assert not script.asked


@pytest.fixture
def oauth(scripted, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The same for a service principal: tokens come from the same server, which the stock hook would only
    look for on https."""

    def make(*answers: tuple[int, dict[str, str]]) -> tuple[FileArrivalsHook, Scripted]:
        hook, script = scripted(
            *answers, login="id", password="secret", extra={"service_principal_oauth": True}
        )
        url = f"http://127.0.0.1:{script.server.server_port}/oidc/v1/token"
        monkeypatch.setattr(databricks_base, "OIDC_TOKEN_SERVICE_URL", url)
        return hook, script

    return make


@both
def test_a_service_principal_gets_a_token_once_for_many_calls(oauth, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = oauth((503, {}))
    make_calls(hook, READ, READ)
    basic = "Basic " + b64encode(b"id:secret").decode()
    token, call = ("/oidc/v1/token", basic), ("/api/2.2/x", "Bearer oauth-x")
    assert script.asked == [token, token, call, call]


@both
@pytest.mark.parametrize(("status", "kind"), [(401, NotAuthenticated), (400, Refused)])
def test_a_wrong_secret_is_named(oauth, make_calls, status, kind) -> None:  # type: ignore[no-untyped-def]
    hook, script = oauth((status, {}))
    with pytest.raises(kind, match=r"secret|SOME|Bad Request"):
        make_calls(hook, READ)
    assert len(script.asked) == 1


@both
def test_a_tokens_endpoint_that_is_something_else_is_named(oauth, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, _ = oauth((200, {"Content-Type": "text/html"}))
    with pytest.raises(WorkspaceError, match="not JSON"):
        make_calls(hook, READ)


@both
def test_a_tokens_endpoint_that_is_down_is_asked_again_and_then_named(oauth, make_calls) -> None:  # type: ignore[no-untyped-def]
    hook, script = oauth(*[(503, {})] * 50)
    with pytest.raises(WorkspaceUnavailable, match="token's endpoint"):
        make_calls(hook, READ)
    assert len(script.asked) == TRIES


def test_the_credentials_are_asked_for_once_in_a_while(scripted, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    hook, _ = scripted()
    blocking(hook, READ)
    granted = hook._credentials()
    assert hook._credentials() is granted and "dapi-x" not in repr(granted)
    later = time.monotonic() + 61
    monkeypatch.setattr("databricks_file_arrivals.hooks.time.monotonic", lambda: later)
    assert hook._credentials() is not granted


def test_statements_are_tried_again(scripted) -> None:  # type: ignore[no-untyped-def]
    hook, script = scripted((503, {}))
    with pytest.raises(KeyError):  # the prepared answers hold no state
        hook.query("SELECT 1")
    assert len(script.asked) == 2


NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        ("0", 0),
        ("-3", 0),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30),
        ("Wed, 21 Oct 2020 07:28:30 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


def waits(tries: int, status: int = 503, **headers: str) -> list[float]:
    """What is waited after a try, many times over."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = tries
    error = _refusal(status, "", "x", {name.replace("_", "-"): value for name, value in headers.items()})
    state.set_exception((type(error), error, error.__traceback__))
    return [wait(state) for _ in range(200)]


def test_waits_grow_at_random_up_to_a_limit() -> None:
    assert max(waits(1)) <= 0.5 < max(waits(3)) <= 2 < max(waits(30)) <= 10
    assert len(set(waits(3))) > 100


def test_what_is_asked_for_is_waited_and_no_more_than_the_limit() -> None:
    assert 7 <= min(waits(1, 429, Retry_After="7")) < max(waits(1, 429, Retry_After="7")) <= 7.5
    assert LONGEST_WAIT <= min(waits(1, 429, Retry_After="86400")) <= LONGEST_WAIT + 0.5


def test_a_connection_that_is_not_defined_is_named(airflow_db: str, databricks: RunningWorkspace) -> None:
    with pytest.raises(BadInput, match="airflow connections add nowhere"):
        FileArrivalsHook("nowhere").query("SELECT 1")


@pytest.mark.parametrize(
    "trouble", [AirflowRuntimeError(NO_ANSWER), PermissionError("API_SERVER_ERROR: not your secret")]
)
def test_an_airflow_that_does_not_answer_is_one_to_ask_again(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(conn_id: str) -> Any:
        raise trouble

    async def a_fails(conn_id: str) -> Any:
        fails(conn_id)

    monkeypatch.setattr(FileArrivalsHook, "get_connection", staticmethod(fails))
    if hasattr(FileArrivalsHook, "aget_connection"):
        monkeypatch.setattr(FileArrivalsHook, "aget_connection", staticmethod(a_fails))
    for error in both_ways("mine", ME):
        assert isinstance(error, WorkspaceUnavailable) and error.retryable
        assert "'mine'" in str(error) and "API_SERVER_ERROR" in str(error)


@pytest.mark.skipif(STOCK < (7, 17), reason="the stock provider knows proxies since 7.17")
def test_proxies_that_cannot_be_used_are_told_of(conn) -> None:  # type: ignore[no-untyped-def]
    hook = FileArrivalsHook(conn(extra={"proxies": "http://proxy.example"}))

    async def asynchronous() -> None:
        async with FileArrivalsHook(hook.databricks_conn_id) as other:
            await other.a_call(ME)

    with pytest.raises(BadInput, match="proxies"):
        hook.call(ME)
    with pytest.raises(BadInput, match="proxies"):
        asyncio.run(asynchronous())


def test_a_connection_without_a_warehouse_is_named(conn) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WarehouseMissing, match="http_path"):
        FileArrivalsHook(conn(extra={})).query("SELECT 1")
    assert FileArrivalsHook(conn(extra={}), "local").query("SELECT 1 AS one") == [{"one": 1}]


def test_people_find_the_workspace_where_the_connection_has_it(conn) -> None:  # type: ignore[no-untyped-def]
    assert FileArrivalsHook(conn(host="https://w.example/", port=None, schema=None)).workspace_url == (
        "https://w.example"
    )
    assert FileArrivalsHook(conn(host="", port=None)).workspace_url == ""


def test_only_what_will_not_pass_fails_a_task_at_once() -> None:
    with pytest.raises(AirflowFailException, match="no"), airflow_errors():
        raise Refused(403, "PERMISSION_DENIED", "no")
    with pytest.raises(AirflowException) as raised, airflow_errors():
        raise WorkspaceUnavailable("later")
    assert not isinstance(raised.value, AirflowFailException)
    with pytest.raises(AirflowException) as raised, airflow_errors(retry=True):
        raise Refused(403, "PERMISSION_DENIED", "no")
    assert not isinstance(raised.value, AirflowFailException)
