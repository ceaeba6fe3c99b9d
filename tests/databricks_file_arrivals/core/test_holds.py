"""A rule lets its arrivals go when nothing is waited for, and at the latest after max_wait_seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.holds import Verdict, Waiting, judge, next_look
from databricks_file_arrivals.core.mapping import DAY, MappingRule, WhenQueued

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
RULE = MappingRule("/in/a", "load")
WAITING = Waiting(3, NOON, NOON, marker_seen=False, last_start=None, queued=False)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_without_terms_everything_goes_at_once() -> None:
    assert judge(RULE, WAITING, NOON) == Verdict()


@pytest.mark.parametrize(
    ("rule", "waiting", "seconds", "verdict"),
    [
        ({"settle_seconds": 60}, {}, 59, Verdict(("settle_seconds",), at(60))),
        ({"settle_seconds": 60}, {}, 60, Verdict()),
        ({"min_files": 4}, {}, 5, Verdict(("min_files",), at(DAY))),
        ({"min_files": 3}, {}, 5, Verdict()),
        ({"completion_marker": "DONE"}, {}, 5, Verdict(("completion_marker",), at(DAY))),
        ({"completion_marker": "DONE"}, {"marker_seen": True}, 5, Verdict()),
        ({"min_interval_seconds": 60}, {}, 0, Verdict()),
        (
            {"min_interval_seconds": 60},
            {"last_start": at(-20)},
            0,
            Verdict(("min_interval_seconds",), at(40)),
        ),
        ({"min_interval_seconds": 60}, {"last_start": at(-60)}, 0, Verdict()),
        (
            {"settle_seconds": 60, "min_files": 9, "max_wait_seconds": 30},
            {},
            10,
            Verdict(("settle_seconds", "min_files"), at(30)),
        ),
        ({"settle_seconds": 60, "min_files": 9, "max_wait_seconds": 30}, {}, 30, Verdict()),
        ({"max_wait_seconds": 0, "min_files": 9}, {}, 0, Verdict()),
        ({}, {"queued": True, "last_start": at(-30)}, 0, Verdict(("when_queued",), at(60))),
        ({"max_wait_seconds": 10}, {"queued": True}, 10, Verdict()),
        ({"when_queued": WhenQueued.START}, {"queued": True}, 0, Verdict()),
        ({"when_queued": WhenQueued.SKIP}, {"queued": True}, 0, Verdict(coalesced=True)),
        (
            {"when_queued": WhenQueued.SKIP, "settle_seconds": 9},
            {"queued": True},
            0,
            Verdict(("settle_seconds",), at(9)),
        ),
        (
            {"when_queued": WhenQueued.SKIP, "max_wait_seconds": 9},
            {"queued": True},
            9,
            Verdict(coalesced=True),
        ),
    ],
)
def test_terms(rule: dict[str, Any], waiting: dict[str, Any], seconds: float, verdict: Verdict) -> None:
    changed = MappingRule("/in/a", "load", **rule)
    assert judge(changed, replace(WAITING, **waiting), at(seconds)) == verdict


few = st.integers(0, 100)
rules = st.builds(
    MappingRule,
    st.just("/in"),
    st.just("w"),
    settle_seconds=few,
    min_files=few,
    max_wait_seconds=few,
    completion_marker=st.sampled_from([None, "DONE"]),
    min_interval_seconds=few,
    when_queued=st.sampled_from(list(WhenQueued)),
)
waits = st.builds(
    Waiting,
    few,
    few.map(at),
    few.map(lambda s: at(100 + s)),
    st.booleans(),
    st.one_of(st.none(), few.map(lambda s: at(s - 100))),
    st.booleans(),
)


@given(rules, waits, st.integers(0, 400))
def test_nothing_waits_longer_than_it_may_and_every_wait_ends(
    rule: MappingRule, waiting: Waiting, seconds: int
) -> None:
    verdict = judge(rule, waiting, at(seconds))
    deadline = waiting.first_at + timedelta(seconds=rule.max_wait_seconds)
    if verdict.waits_for:
        assert at(seconds) < deadline, "held beyond max_wait_seconds"
        assert verdict.look_at is not None and at(seconds) < verdict.look_at <= deadline
        assert not judge(rule, waiting, deadline).waits_for
    else:
        assert verdict.look_at is None


@given(rules, waits, st.integers(0, 400))
def test_when_only_time_is_waited_for_the_next_look_is_when_it_goes(
    rule: MappingRule, waiting: Waiting, seconds: int
) -> None:
    waiting = replace(waiting, queued=False)
    verdict = judge(rule, waiting, at(seconds))
    if verdict.waits_for:
        assert verdict.look_at is not None
        assert not judge(rule, waiting, verdict.look_at).waits_for
        almost = verdict.look_at - timedelta(microseconds=1)
        if almost >= at(seconds):
            assert judge(rule, waiting, almost).waits_for


@pytest.mark.parametrize(("age", "pause"), [(0, 60), (30, 60), (600, 600), (90_000, 3600)])
def test_looks_grow_rarer(age: int, pause: int) -> None:
    assert next_look(NOON, at(age)) == at(age + pause)
