"""A silence is told of once, without any arrival."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from databricks_file_arrivals.core.expectations import Seen, expecting, overdue
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.planning import Arrivals, Claim, Route

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
CLAIM = Claim("default", "c1", 5, "log")
RULE = MappingRule("/in/*", "load", expect_every_seconds=60)
KEY = (RULE.rule_id, "/in/a")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def told(
    seen: dict[tuple[str, str], Seen], now: datetime, *routes: Route, rule: MappingRule = RULE
) -> tuple[list[str | None], datetime | None]:
    rows, due = overdue(CLAIM, [rule], seen, routes, now)
    assert all(r.status is Status.OVERDUE and r.file_count == 0 and r.trigger_id for r in rows)
    return [r.directory for r in rows], due


def test_only_active_rules_that_say_so_expect() -> None:
    rows = [
        {"directory": "a", "workflow_name": "w", "active_ind": "Y", "expect_every_seconds": 5},
        {"directory": "b", "workflow_name": "w", "active_ind": "N", "expect_every_seconds": 5},
        {"directory": "c", "workflow_name": "w", "active_ind": "Y", "expect_every_seconds": 0},
    ]
    assert [r.directory for r in expecting(WorkflowMapping.read(rows))] == ["a"]


def test_each_directory_of_a_pattern_is_watched_by_itself() -> None:
    seen = {KEY: Seen(at(-61)), (RULE.rule_id, "/in/b"): Seen(at(-50)), ("another", "/in/c"): Seen(at(-900))}
    assert told(seen, NOON) == (["/in/a"], at(10))


def test_a_silence_is_told_once_and_a_new_one_again() -> None:
    assert told({KEY: Seen(at(-90), at(-30))}, NOON) == ([], None)
    assert told({KEY: Seen(at(-20), at(-30))}, NOON) == ([], at(40))
    assert told({KEY: Seen(at(-61), at(-80))}, NOON) == (["/in/a"], None)


def test_what_arrives_now_counts() -> None:
    arrivals = Arrivals("s", "/in", "/in/a/x", -1, 0, 0, 0, 1, 1, NOON, NOON)
    route = Route(Status.PLANNED, "s", "/in/a", RULE, (arrivals,))
    assert told({KEY: Seen(at(-90))}, NOON, route) == ([], at(60))


def test_a_rule_that_has_seen_nothing_is_watched_as_a_whole() -> None:
    assert told({}, NOON) == (["/in/*"], None)
    new = MappingRule("/in/*", "load", expect_every_seconds=60, updated_at=at(-10))
    assert told({}, NOON, rule=new) == ([], at(50))
    whole = {(RULE.rule_id, "/in/*"): Seen(None, at(-5))}
    assert told(whole, NOON) == ([], None)
    assert told({**whole, KEY: Seen(at(-20))}, NOON) == ([], at(40)), (
        "something came: it is watched by itself"
    )
