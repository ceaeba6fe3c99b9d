"""The trigger log's rows, what their statuses mean, and the identity of a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum


class Status(str, Enum):
    """What a row of the trigger log says."""

    PLANNED = "PLANNED"
    HELD = "HELD"
    UNMAPPED = "UNMAPPED"
    INACTIVE = "INACTIVE"
    NO_SUCH_WORKFLOW = "NO_SUCH_WORKFLOW"
    COALESCED = "COALESCED"
    OVERDUE = "OVERDUE"
    DRY_RUN = "DRY_RUN"
    ERROR = "ERROR"
    TRIGGERED = "TRIGGERED"
    NOT_RUN = "NOT_RUN"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"
    CLAIMED = "CLAIMED"

    def __str__(self) -> str:
        return self.value


RANK: Mapping[Status, int] = {
    Status.PLANNED: 1,
    Status.ERROR: 2,
    Status.TRIGGERED: 3,
    Status.NOT_RUN: 4,
    Status.FAILED: 5,
    Status.SUCCEEDED: 6,
}
"""Of the rows of one attempt the highest counts: an order of states, never of clocks."""

UNMATCHED, ERROR_CODE, QUEUED_ALREADY = -1, -2, 1
"""The seed's codes in `run_id`."""

RUN_ID: Mapping[Status, int] = {
    Status.UNMAPPED: UNMATCHED,
    Status.INACTIVE: UNMATCHED,
    Status.NO_SUCH_WORKFLOW: UNMATCHED,
    Status.COALESCED: QUEUED_ALREADY,
    Status.ERROR: ERROR_CODE,
    Status.NOT_RUN: ERROR_CODE,
}


@dataclass(frozen=True, slots=True)
class Range:
    """The batches of one parent directory that count: `after` < batch_id <= `up_to`."""

    after: int
    up_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A row of the trigger log; its fields are the table's columns."""

    status: Status
    consumer: str
    claim_id: str
    epoch: int
    directory: str | None = None
    table_name: str | None = None
    workflow_name: str | None = None
    run_id: int | None = None
    job_trigger_time: datetime | None = None
    trigger_id: str | None = None
    attempt: int | None = None
    rule_id: str | None = None
    stream_id: str | None = None
    from_batch: int | None = None
    to_batch: int | None = None
    directories: Mapping[str, Range] | None = None
    file_pattern: str | None = None
    excluded_patterns: tuple[str, ...] | None = None
    file_count: int | None = None
    total_bytes: int | None = None
    first_arrival_at: datetime | None = None
    last_arrival_at: datetime | None = None
    job_id: int | None = None
    job_parameters: Mapping[str, str] | None = None
    started_run_id: int | None = None
    replay_of: str | None = None
    waits_for: tuple[str, ...] | None = None
    completion_marker: str | None = None
    error: str | None = None
    recorded_at: datetime | None = None
    dag_id: str | None = None
    dag_run_id: str | None = None
    task_id: str | None = None
    try_number: int | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """What makes the request one within its claim, whatever the attempt."""
        key = (self.rule_id, self.stream_id, self.directory, self.from_batch, self.to_batch)
        return (*key, self.excluded_patterns, self.replay_of)


def trigger_id(row: LogRow, attempt: int) -> str:
    """The identity of one attempt of a request: 64 hex characters, which is all that an idempotency token
    may have.

    Who computes it from the stored row gets the same, whoever it is. The epoch leads, so that Delta can
    skip files.
    """
    return identity(row.claim_id, row.epoch, row.place, attempt)


def trigger_ids(row: LogRow) -> list[str]:
    """Of this attempt of a request, and of those before it."""
    earlier = [trigger_id(row, attempt) for attempt in range(1, row.attempt or 1)]
    return [*earlier, row.trigger_id] if row.trigger_id else earlier


def identity(claim_id: str, epoch: int, place: tuple[object, ...], attempt: int) -> str:
    """The same, of a row that is not written yet."""
    text = json.dumps([claim_id, place, attempt], ensure_ascii=True)
    return f"{epoch:012x}{hashlib.sha256(text.encode()).hexdigest()[:52]}"


_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def latest(rows: Iterable[LogRow]) -> dict[str, LogRow]:
    """The state of each request, by `trigger_id` of its newest attempt: highest attempt, then the highest
    rank."""
    best: dict[tuple[object, ...], LogRow] = {}
    for row in rows:
        if row.trigger_id is None:
            continue
        key = (row.claim_id, *row.place)
        known = best.get(key)
        if known is None or _order(row) > _order(known):
            best[key] = row
    return {row.trigger_id: row for row in best.values() if row.trigger_id is not None}


def _order(row: LogRow) -> tuple[int, int, datetime, str]:
    """Attempt and rank decide. The rest only picks one of several rows that say the same, so that all
    readers pick the same one, whatever order they read the log in."""
    return (row.attempt or 0, RANK.get(row.status, 0), row.recorded_at or _LONG_AGO, repr(row))


FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


def retry_at(errors: Iterable[datetime], give_up_after: timedelta) -> datetime | None:
    """When a request that ended as ERROR at these times is tried again, or None when it is given up.

    Pauses double from a minute to an hour, and it is given up when they amount to more than `give_up_after`:
    times in which nobody tried, because Airflow was down, do not count. An ERROR that stands twice (a write
    that was repeated) counts as one.
    """
    times = sorted(set(errors))
    if not times:
        return None
    pauses = [min(FIRST_PAUSE * 2 ** min(n, 10), LONGEST_PAUSE) for n in range(len(times))]
    return times[-1] + pauses[-1] if sum(pauses, timedelta()) <= give_up_after else None
