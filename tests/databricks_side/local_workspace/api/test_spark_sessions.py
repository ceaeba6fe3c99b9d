"""Sessions of statements, and what their errors say."""

import pytest

from local_workspace.api.spark_sessions import UNREACHABLE, SparkSessions, engine_lost, error_text
from local_workspace.testing import RunningWorkspace


def test_sessions_share_nothing_but_the_catalog(workspace: RunningWorkspace) -> None:
    sessions = SparkSessions(workspace.remote)
    with sessions.one() as first, sessions.one() as second:
        assert first.session_id != second.session_id
        first.sql("CREATE TEMPORARY VIEW mine AS SELECT 1")
        assert first.catalog.tableExists("mine") and not second.catalog.tableExists("mine")


def test_a_session_is_released_after_an_error_too(workspace: RunningWorkspace) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException), SparkSessions(workspace.remote).one() as spark:
        spark.sql("SELEC 1")
    assert spark.is_stopped


def test_errors_say_what_is_wrong_and_no_more() -> None:
    text = (
        "[TABLE_OR_VIEW_NOT_FOUND] The table `spark_catalog`.`a`.`b` cannot be found. "
        "SQLSTATE: 42P01; line 1 pos 14;\n"
        "'Project [*]\n+- 'UnresolvedRelation [spark_catalog, a, b]\n\nJVM stacktrace:\norg.apache..."
    )
    assert error_text(Exception(text)) == (
        "[TABLE_OR_VIEW_NOT_FOUND] The table `main`.`a`.`b` cannot be found. SQLSTATE: 42P01; line 1 pos 14"
    )
    syntax = "\n[PARSE_SYNTAX_ERROR] Syntax error. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\nselec\n^^^"
    assert error_text(Exception(syntax)) == syntax.strip()
    conflict = "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected."
    assert error_text(Exception(f"(io.delta.exceptions.ConcurrentAppendException) {conflict}")) == conflict


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("<_InactiveRpcError of RPC that terminated with: status = StatusCode.UNAVAILABLE", True),
        ("[NO_ACTIVE_SESSION] No active Spark session found. Please create a new Spark session", True),
        ("[RESPONSE_ALREADY_RECEIVED] INVALID_HANDLE.SESSION_NOT_FOUND on the server but ...", True),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table `a` cannot be found.", False),
    ],
)
def test_an_engine_that_died_is_told_as_one(text: str, lost: bool) -> None:
    assert engine_lost(Exception(text)) is lost
    assert (error_text(Exception(text)) == UNREACHABLE) is lost
