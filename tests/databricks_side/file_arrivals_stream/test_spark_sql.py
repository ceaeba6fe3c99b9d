"""Statements over a session: values bound, and errors with Spark's own condition."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from databricks_file_arrivals.core.errors import StatementFailed
from file_arrivals_stream.spark_sql import SparkSql, current_session, error_condition, first_line
from tests.databricks_side.file_arrivals_stream.conftest import Log

ODD = "x'; DROP TABLE t; --\n\"`%_東京\\"


def test_values_are_bound(log: Log) -> None:
    sql = SparkSql(log.spark)
    when = datetime(2026, 1, 31, 8, tzinfo=timezone.utc)
    (row,) = sql.query(
        "SELECT :a AS a, :b AS b, :t AS t, :n AS n", {"a": ODD, "b": 2**40, "t": when, "n": None}
    )
    assert (row["a"], row["b"], row["n"]) == (ODD, 2**40, None)
    assert row["t"].astimezone(timezone.utc) == when


def test_a_statement_without_rows_has_none(log: Log) -> None:
    name = log.names.log.derive("_small")
    assert list(SparkSql(log.spark).query(f"CREATE TABLE {name.sql} (a INT) USING delta")) == []
    assert log.query(f"DROP TABLE {name.sql}") == []


@pytest.mark.parametrize(
    ("statement", "condition"),
    [
        ("SELECT * FROM no_such_schema.no_such_table", "TABLE_OR_VIEW_NOT_FOUND"),
        ("SELEC 1", "PARSE_SYNTAX_ERROR"),
        ("SELECT raise_error('so it is')", "USER_RAISED_EXCEPTION"),
        ("SELECT 1 / 0", "DIVIDE_BY_ZERO"),
    ],
)
def test_a_failure_has_its_condition(log: Log, statement: str, condition: str) -> None:
    with pytest.raises(StatementFailed) as raised:
        SparkSql(log.spark).query(statement)
    assert raised.value.condition == condition
    assert not raised.value.retryable
    assert "JVM stacktrace" not in str(raised.value) and "\tat org" not in str(raised.value)


def test_an_error_of_delta_has_its_condition(log: Log) -> None:
    """Classic Spark has no Python class for it: it comes as Py4J's own error."""
    with pytest.raises(StatementFailed) as raised:
        SparkSql(log.spark).query("DESCRIBE DETAIL '/no/such/directory'")
    assert raised.value.condition == "DELTA_FILE_NOT_FOUND"
    assert "/no/such/directory" in str(raised.value)


def test_a_frame_that_cannot_be_is_an_error_too(classic: Log) -> None:
    with pytest.raises(StatementFailed, match="no_such_table"):
        SparkSql(classic.spark).frame("SELECT * FROM no_such_table")


def test_errors_of_others_have_no_condition() -> None:
    assert error_condition(ValueError("x")) == ""
    assert first_line(ValueError()) == "ValueError"


def test_the_current_session_is_the_one_at_hand(classic: Log) -> None:
    assert current_session() is classic.spark
