"""The log may hold a row twice and in any order: states, identities and pauses are the same for all."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.outcomes import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RANK,
    RUN_ID,
    LogRow,
    Range,
    Status,
    latest,
    retry_at,
    trigger_id,
    trigger_ids,
)
from databricks_file_arrivals.core.tables import REQUEST, TRIGGER_LOG

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
REQUESTED = LogRow(
    status=Status.PLANNED,
    consumer="default",
    claim_id="c1",
    epoch=5,
    attempt=1,
    rule_id="r1",
    stream_id="s1",
    directory="/in/größe it's",
    from_batch=1,
    to_batch=4,
    directories={"/in/größe it's/x": Range(0, 4)},
)


def test_a_row_has_the_columns_of_the_table() -> None:
    assert {field.name for field in fields(LogRow)} == {column.name for column in TRIGGER_LOG.columns}


def test_the_codes_are_those_of_the_first_version() -> None:
    assert {str(status): code for status, code in RUN_ID.items()} == {
        "UNMAPPED": -1,
        "INACTIVE": -1,
        "NO_SUCH_WORKFLOW": -1,
        "COALESCED": 1,
        "ERROR": -2,
        "NOT_RUN": -2,
    }


def test_the_identity_is_64_hex_characters_that_lead_with_the_epoch() -> None:
    identity = trigger_id(REQUESTED, 1)
    # A run that was started by another version must be found again: the formula is part of the protocol.
    assert identity == "000000000005d09d72ffe1db7c6d789f6a12339074a006df147f0e1c54831ebf"
    assert trigger_id(replace(REQUESTED, epoch=2**48 - 1), 1)[:12] == "f" * 12
    assert len(trigger_id(replace(REQUESTED, epoch=2**48 - 1), 1)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"claim_id": "c2"},
        {"epoch": 6},
        {"rule_id": "r2"},
        {"stream_id": "s2"},
        {"directory": "/in/other"},
        {"from_batch": 2},
        {"to_batch": 5},
        {"excluded_patterns": ("*.tmp",)},
        {"replay_of": "0" * 64},
    ],
)
def test_another_request_has_another_identity(change: dict[str, Any]) -> None:
    assert trigger_id(replace(REQUESTED, **change), 1) != trigger_id(REQUESTED, 1)


def test_each_attempt_has_its_own_identity() -> None:
    assert len({trigger_id(REQUESTED, attempt) for attempt in range(20)}) == 20


@given(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(Status),
            "attempt": st.integers(0, 5),
            "run_id": st.none() | st.integers(),
            "error": st.none() | st.text(),
            "recorded_at": st.none() | st.just(NOON),
            "trigger_id": st.none() | st.just("other"),
            "job_id": st.none() | st.integers(),
            "try_number": st.none() | st.integers(1, 9),
            "file_count": st.none() | st.integers(),
        }
    )
)
def test_what_comes_of_a_request_does_not_change_its_identity(change: dict[str, Any]) -> None:
    assert trigger_id(replace(REQUESTED, **change), 3) == trigger_id(REQUESTED, 3)


def test_an_attempt_knows_the_identities_of_those_before_it() -> None:
    first = replace(REQUESTED, attempt=1, trigger_id=trigger_id(REQUESTED, 1))
    third = replace(REQUESTED, attempt=3, trigger_id=trigger_id(REQUESTED, 3))
    assert trigger_ids(first) == [first.trigger_id]
    assert trigger_ids(third) == [trigger_id(REQUESTED, attempt) for attempt in (1, 2, 3)]
    assert trigger_ids(replace(REQUESTED, attempt=None, trigger_id=None)) == []


def test_the_place_is_what_the_views_group_by() -> None:
    """SQL and this must agree on what one request is: REQUEST without claim and consumer is the place."""
    columns: dict[str, Any] = {name: f"<{name}>" for name in REQUEST}
    numbered = replace(REQUESTED, **columns)
    assert set(numbered.place) == {f"<{name}>" for name in REQUEST} - {"<claim_id>", "<consumer>"}


def attempt(status: Status, number: int = 1, request: int = 0, second: int = 0) -> LogRow:
    row = replace(REQUESTED, to_batch=request, status=status, attempt=number)
    recorded_at = NOON + timedelta(seconds=second) if second else None
    return replace(row, trigger_id=trigger_id(row, number), recorded_at=recorded_at)


attempts = st.builds(
    attempt,
    st.sampled_from([*RANK, Status.NO_SUCH_WORKFLOW]),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 3),
)


@given(st.lists(attempts, max_size=12), st.randoms(use_true_random=False))
def test_the_state_does_not_depend_on_order_or_on_rows_that_stand_twice(
    rows: list[LogRow], chance: Any
) -> None:
    again = [*rows, *chance.choices(rows, k=3)] if rows else []
    chance.shuffle(again)
    assert latest(again) == latest(rows)


@given(st.lists(attempts, max_size=12))
def test_the_state_is_the_highest_rank_of_the_highest_attempt(rows: list[LogRow]) -> None:
    order = "NO_SUCH_WORKFLOW PLANNED ERROR TRIGGERED NOT_RUN FAILED SUCCEEDED".split()
    expected = {}
    for request in {row.to_batch for row in rows}:
        mine = [row for row in rows if row.to_batch == request]
        number = max(row.attempt or 0 for row in mine)
        state = max((str(row.status) for row in mine if row.attempt == number), key=order.index)
        expected[request] = (number, state)
    found = latest(rows)
    assert {row.to_batch: (row.attempt, str(row.status)) for row in found.values()} == expected
    assert all(trigger_id(row, row.attempt or 0) == identity for identity, row in found.items())


def test_a_late_word_of_a_zombie_changes_nothing() -> None:
    done = attempt(Status.SUCCEEDED, second=1)
    assert list(latest([done, attempt(Status.TRIGGERED, second=9)]).values()) == [done]
    again = attempt(Status.PLANNED, number=2, second=1)
    assert list(latest([again, attempt(Status.FAILED, number=1, second=9)]).values()) == [again]


def test_rows_of_two_claims_are_two_requests() -> None:
    other = replace(REQUESTED, claim_id="c2", trigger_id="other")
    assert len(latest([attempt(Status.PLANNED, request=4), other])) == 2


def test_rows_that_are_no_requests_have_no_state() -> None:
    assert (
        latest([replace(REQUESTED, status=Status.UNMAPPED), replace(REQUESTED, status=Status.CLAIMED)]) == {}
    )


def tries(give_up_after: timedelta) -> list[datetime]:
    """The times at which a request fails that is tried again whenever it is due, and never works."""
    errors = [NOON]
    while (due := retry_at(errors, give_up_after)) is not None:
        errors.append(due)
        assert len(errors) < 1000
    return errors


def test_pauses_double_to_an_hour_and_end_after_a_day() -> None:
    errors = tries(DAY)
    pauses = [later - earlier for earlier, later in pairwise(errors)]
    assert pauses[0] == FIRST_PAUSE == timedelta(minutes=1)
    assert pauses[:6] == [FIRST_PAUSE * 2**i for i in range(6)]
    assert set(pauses[6:]) == {LONGEST_PAUSE} == {timedelta(hours=1)}
    assert DAY - LONGEST_PAUSE < errors[-1] - errors[0] <= DAY


@given(st.timedeltas(timedelta(0), timedelta(days=3)))
def test_trying_again_grows_and_ends(give_up_after: timedelta) -> None:
    errors = tries(give_up_after)
    pauses = [later - earlier for earlier, later in pairwise(errors)]
    assert pauses == sorted(pauses)
    assert errors[-1] - errors[0] <= give_up_after


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_an_error_that_stands_twice_counts_once(minutes: list[int], chance: Any) -> None:
    errors = [NOON + timedelta(minutes=m) for m in minutes]
    again = [*errors, *chance.choices(errors, k=3)]
    chance.shuffle(again)
    due = retry_at(again, DAY)
    assert due == retry_at(errors, DAY)
    assert due is None or due > max(errors)


def test_what_never_failed_is_not_tried_again() -> None:
    assert retry_at([], DAY) is None


def test_the_last_try_is_at_the_very_end() -> None:
    assert retry_at([NOON], FIRST_PAUSE) == NOON + FIRST_PAUSE
    assert retry_at([NOON], FIRST_PAUSE - timedelta(microseconds=1)) is None


def test_very_many_errors_still_pause_an_hour() -> None:
    errors = [NOON + timedelta(seconds=i) for i in range(5000)]
    assert retry_at(errors, 5000 * LONGEST_PAUSE) == errors[-1] + LONGEST_PAUSE
    assert retry_at(errors, DAY) is None


def test_time_in_which_nobody_tried_gives_nothing_up() -> None:
    assert retry_at([NOON, NOON + 3 * DAY], DAY) == NOON + 3 * DAY + 2 * FIRST_PAUSE
