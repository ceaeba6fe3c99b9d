"""People are told of each directory once in a period, in words that say which and why."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.notices import (
    DIRECTORIES_NAMED,
    Kind,
    held_too_long,
    next_held_too_long,
    notice,
    of_kind,
)
from databricks_file_arrivals.core.outcomes import LogRow, Status

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def row(status: Status = Status.UNMAPPED, directory: str = "/in/a", **changes: Any) -> LogRow:
    return LogRow(status=status, consumer="default", claim_id="c", epoch=3, directory=directory, **changes)


def test_outcomes_are_of_a_kind() -> None:
    rows = [row(status) for status in Status]
    said = {kind: {r.status for r in of_kind(rows, kind)} for kind in Kind}
    assert said == {
        Kind.UNMAPPED: {Status.UNMAPPED, Status.INACTIVE},
        Kind.ERROR: {Status.ERROR, Status.NO_SUCH_WORKFLOW},
        Kind.OVERDUE: {Status.OVERDUE},
        Kind.HELD_TOO_LONG: set(),
    }


def test_a_message_names_directories_and_reasons() -> None:
    rows = [
        row(Status.ERROR, "/in/b", workflow_name="load", file_count=2, error="403: no"),
        row(Status.NO_SUCH_WORKFLOW, "/in/a", workflow_name="gone", file_count=1, error="no job"),
        row(Status.ERROR, "/in/told"),
    ]
    told = notice(Kind.ERROR, rows, {"/in/told"})
    assert told is not None and told.message == (
        "2 directories: workflows could not be started\n"
        "  /in/a → gone (1 file): no job\n"
        "  /in/b → load (2 files): 403: no"
    )
    assert told.as_dict() == {
        "kind": "error",
        "message": told.message,
        "directories": ["/in/a", "/in/b"],
        "total": 2,
    }


def test_many_directories_are_counted() -> None:
    told = notice(Kind.UNMAPPED, [row(directory=f"/in/{n:03}") for n in range(50)])
    assert told is not None and told.message.splitlines()[-1] == "  and 30 more"
    assert len(told.message.splitlines()) == DIRECTORIES_NAMED + 2
    assert (len(told.as_dict()["directories"]), told.as_dict()["total"]) == (DIRECTORIES_NAMED, 50)


def test_nothing_to_tell_is_no_message() -> None:
    assert notice(Kind.UNMAPPED, []) is None
    assert notice(Kind.UNMAPPED, [row()], {"/in/a"}) is None


def test_a_hold_is_told_of_when_it_is_too_long_and_once_in_each_period() -> None:
    hold = row(Status.HELD, first_arrival_at=NOON, waits_for=("min_files",), file_count=1)

    def told(looked: timedelta, now: timedelta) -> bool:
        return bool(held_too_long([hold], 6 * HOUR, DAY, NOON + looked, NOON + now))

    assert not told(HOUR, 5 * HOUR)
    assert told(5 * HOUR, 6 * HOUR)
    assert not told(6 * HOUR, 29 * HOUR)
    assert told(29 * HOUR, 30 * HOUR)
    assert held_too_long([hold], 6 * HOUR, DAY, None, NOON + 7 * HOUR) == [hold]
    assert held_too_long([row(Status.HELD)], HOUR, DAY, None, NOON) == []
    message = notice(Kind.HELD_TOO_LONG, [hold])
    assert message is not None and message.message.endswith("/in/a (1 file): waits for min_files")


@given(st.lists(st.integers(0, 400), min_size=1).map(sorted))
def test_however_often_it_is_looked_at_each_period_tells_at_most_once(hours: list[int]) -> None:
    hold = row(Status.HELD, first_arrival_at=NOON)
    times = [NOON + n * HOUR for n in hours]
    looked: datetime | None = NOON
    told = 0
    for now in times:
        told += len(held_too_long([hold], 6 * HOUR, DAY, looked, now))
        looked = now
    boundaries = max((times[-1] - NOON - 6 * HOUR) // DAY + 1, 0)
    assert told <= boundaries and (told > 0) == (boundaries > 0)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=3), st.integers(0, 300))
def test_who_looks_when_the_next_hold_is_due_tells_of_each_in_each_period(
    arrived: list[int], begins: int
) -> None:
    holds = [row(Status.HELD, first_arrival_at=NOON + n * HOUR, file_count=1) for n in arrived]
    looked, end, told = NOON + begins * HOUR, NOON + 600 * HOUR, 0
    while (now := next_held_too_long(holds, 6 * HOUR, DAY, looked)) is not None and now <= end:
        assert now > looked
        found = held_too_long(holds, 6 * HOUR, DAY, looked, now)
        assert found, "nobody looks in vain"
        told, looked = told + len(found), now
    assert told == len(held_too_long_at_all(holds, NOON + begins * HOUR, end))


def held_too_long_at_all(holds: list[LogRow], after: datetime, until: datetime) -> list[datetime]:
    """Each time at which one of the holds is to be told of."""
    firsts = [hold.first_arrival_at + 6 * HOUR for hold in holds if hold.first_arrival_at]
    times = [first + n * DAY for first in firsts for n in range(100)]
    return [time for time in times if after < time <= until]


def test_without_holds_nobody_has_to_look() -> None:
    assert next_held_too_long([], HOUR, DAY, NOON) is None
    assert next_held_too_long([row(Status.HELD)], HOUR, DAY, NOON) is None
