"""Statements as kept: states go forward only, results are forgotten after their time."""

import threading
from pathlib import Path
from typing import Any

import pytest

from local_workspace.api import statement_store
from local_workspace.api.errors import DoesNotExist, PermissionDenied
from local_workspace.api.principals import Principal
from local_workspace.api.spark_sessions import UNREACHABLE, SparkSessions
from local_workspace.api.statement_store import Result, Statement, StatementRequest, Statements
from local_workspace.testing import RunningWorkspace
from tests.databricks_side.local_workspace.api.conftest import NOWHERE

ADMIN, ALICE, BOB = Principal("admin", 1, True), Principal("alice", 2, False), Principal("bob", 3, False)
SESSION: Any = object()


def test_what_came_first_stays() -> None:
    statement = Statement("1", "alice", StatementRequest("SELECT 1"))
    assert statement.begin(SESSION) and statement.state == "RUNNING"
    statement.end("CANCELED")
    statement.end("SUCCEEDED", Result([], [], False))
    assert (statement.state, statement.result, statement.done.done()) == ("CANCELED", None, True)
    assert not statement.begin(SESSION)


def test_the_warehouse_is_busy_from_the_begin_of_a_statement_to_its_end(tmp_path: Path) -> None:
    statements = Statements(tmp_path, SparkSessions(NOWHERE))
    first, second, never = (
        statements.submit(caller, StatementRequest("SELECT 1"), held=True) for caller in (ALICE, BOB, BOB)
    )
    first.begin(SESSION), second.begin(SESSION)
    first.end("SUCCEEDED")
    never.end("CANCELED")
    told = statements.busy(None, 0)
    assert [(each["principal"], each["ended_at"]) for each in told] == [
        ("alice", first.ended_ms),
        ("bob", None),
    ]
    assert 0 < told[0]["started_at"] <= told[0]["ended_at"]
    assert [each["statement_id"] for each in statements.busy("bob", 0)] == [second.statement_id]
    assert statements.busy("alice", told[0]["ended_at"] + 1) == []
    second.end("FAILED")
    statements.stop()


def test_many_ends_at_once_are_one() -> None:
    statement = Statement("1", "alice", StatementRequest("SELECT 1"))
    threads = [threading.Thread(target=statement.end, args=(f"S{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statement.state.startswith("S") and statement.done.done()


@pytest.fixture
def statements(workspace: RunningWorkspace) -> Statements:
    """Statements on the session's Spark server."""
    return Statements(workspace.folder, SparkSessions(workspace.remote))


def test_a_statement_is_its_owners_and_an_admins(statements: Statements) -> None:
    statement = statements.submit(ALICE, StatementRequest("SELECT 1 AS one"))
    statement.done.result(60)
    assert statements.find(ALICE, statement.statement_id).state == "SUCCEEDED"
    assert statements.find(ADMIN, statement.statement_id).result == Result(
        [{"name": "one", "type_text": "INT", "type_name": "INT", "position": 0}], [[["1"]]], False
    )
    with pytest.raises(PermissionDenied):
        statements.find(BOB, statement.statement_id)
    with pytest.raises(DoesNotExist):
        statements.find(ALICE, "nonsense")


def test_an_old_result_is_forgotten_its_state_is_not(
    statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = statements.submit(ALICE, StatementRequest("SELECT 1"))
    old.done.result(60)
    monkeypatch.setattr(statement_store, "KEEP_RESULTS_SECONDS", -1.0)
    statements.submit(ALICE, StatementRequest("SELECT 2")).done.result(60)
    found = statements.find(ALICE, old.statement_id)
    assert (found.state, found.result) == ("CLOSED", None)


def test_a_stop_ends_the_wait_for_an_engine_that_is_not_there(tmp_path: Path) -> None:
    statements = Statements(tmp_path, SparkSessions(NOWHERE, patience=1))
    statement = statements.submit(ALICE, StatementRequest("SELECT 1"))
    statements.stop()
    statement.done.result(60)
    assert statement.state == "CANCELED"


def test_an_engine_that_stays_away_fails_the_statement_and_keeps_no_other_from_its_own(
    tmp_path: Path, statements: Statements
) -> None:
    waiting = Statements(tmp_path, SparkSessions(NOWHERE, patience=3)).submit(
        ALICE, StatementRequest("SELECT 1")
    )
    statements.submit(ALICE, StatementRequest("SELECT 2")).done.result(60)
    assert not waiting.done.done(), "the other one had to wait for the end of this one"
    waiting.done.result(60)
    assert waiting.state == "FAILED"
    assert waiting.error == {"error_code": "TEMPORARILY_UNAVAILABLE", "message": UNREACHABLE}
