"""Statements on a real warehouse: types both ways, changes, failures, chunks and time-outs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from databricks_file_arrivals.core.errors import StatementFailed, WarehouseMissing
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import Call, run
from databricks_file_arrivals.workspace.statements import _timestamp, execute
from tests.airflow_side import Log

NASTY = "it's; DROP TABLE x;-- \"`\\ \n %s é 名 {a}"


@pytest.mark.parametrize(
    "value",
    [
        NASTY,
        5,
        2**40,
        1.5,
        True,
        False,
        None,
        date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc),
    ],
    ids=repr,
)
def test_a_bound_value_comes_back_as_it_was(hook: FileArrivalsHook, value: Any) -> None:
    assert hook.query("SELECT :v AS v", {"v": value}) == [{"v": value}]


@pytest.mark.parametrize("fold", [0, 1])
def test_the_hour_that_comes_twice_is_two_hours(hook: FileArrivalsHook, fold: int) -> None:
    """A moment is a moment, whatever the zone of a DAG: the clocks of Berlin are set back that night."""
    given = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    (row,) = hook.query(
        "SELECT :v AS v, CAST(:text AS TIMESTAMP) AS t", {"v": given, "text": given.isoformat()}
    )
    assert row["v"] == row["t"] == datetime(2026, 10, 25, fold, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-25T00:30:00.000Z",
        "2026-10-25T02:30:00.000+02:00",
        "2026-10-25 01:30:00+01:00",
        "2026-10-25 00:30:00",
    ],
)
def test_a_moment_is_read_in_the_zone_of_the_warehouse_that_tells_it(text: str) -> None:
    assert _timestamp(text) == datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc)


def test_columns_have_the_types_of_the_manifest(hook: FileArrivalsHook) -> None:
    row = hook.query(
        "SELECT map('a', 1L) AS m, array('x') AS l, named_struct('b', 2) AS s, 1.50BD AS d, null AS n"
    )[0]
    assert row["m"].keys() == {"a"} and int(row["m"]["a"]) == 1
    assert row["l"] == ["x"] and int(row["s"]["b"]) == 2
    assert row["d"] == Decimal("1.50") and row["n"] is None


def test_a_value_that_cannot_be_bound_is_refused_by_name(hook: FileArrivalsHook) -> None:
    with pytest.raises(TypeError, match="rows is a list"):
        hook.query("SELECT :rows", {"rows": [1]})


def test_a_change_tells_how_many_rows_it_affected(log: Log) -> None:
    table = log.names.log.derive("_changed").sql
    log.hook.query(f"CREATE TABLE {table} (a INT) USING DELTA")
    assert log.hook.statement(f"INSERT INTO {table} VALUES (1), (2), (3)").affected == 3
    assert log.hook.statement(f"UPDATE {table} SET a = 0 WHERE a > :a", {"a": 1}).affected == 2
    assert log.hook.statement(f"SELECT * FROM {table}").affected is None


def test_a_failed_statement_tells_its_condition(hook: FileArrivalsHook) -> None:
    with pytest.raises(StatementFailed) as failed:
        hook.query("SELECT * FROM main.nowhere.nothing")
    assert failed.value.condition == "TABLE_OR_VIEW_NOT_FOUND" and not failed.value.retryable
    with pytest.raises(StatementFailed) as failed:
        hook.query("SELECT raise_error('on purpose')")
    assert "on purpose" in str(failed.value)


def test_an_unknown_warehouse_is_named(hook: FileArrivalsHook) -> None:
    with pytest.raises(WarehouseMissing, match="no-such-warehouse"):
        run(execute("SELECT 1", warehouse_id="no-such-warehouse"), hook.call)


def test_a_result_of_many_chunks_is_whole(hook: FileArrivalsHook) -> None:
    rows = hook.query("SELECT id, repeat('x', 100) AS x FROM range(60000)")
    assert [row["id"] for row in rows] == list(range(60000))


def test_a_statement_that_lasts_too_long_is_cancelled() -> None:
    calls: list[Call] = []

    def never_ending(call: Call) -> Mapping[str, Any]:
        calls.append(call)
        return {"statement_id": "s1", "status": {"state": "RUNNING"}}

    with pytest.raises(StatementFailed, match="not ended") as failed:
        run(execute("SELECT 1", warehouse_id="w", timeout=3), never_ending, sleep=lambda seconds: None)
    assert failed.value.retryable
    assert calls[-1].endpoint.endswith("/s1/cancel")


def test_a_truncated_result_is_an_error_and_never_taken_for_all() -> None:
    def truncated(call: Call) -> Mapping[str, Any]:
        return {"statement_id": "s1", "status": {"state": "SUCCEEDED"}, "manifest": {"truncated": True}}

    with pytest.raises(StatementFailed, match="truncated"):
        run(execute("SELECT 1", warehouse_id="w"), truncated)
