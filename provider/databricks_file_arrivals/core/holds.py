"""When a rule wants its arrivals started, and what it waits for until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from databricks_file_arrivals.core.mapping import MappingRule, WhenQueued

BROKEN = "mapping"
"""What a hold waits for whose row of the mapping table cannot be used as it stands."""

SETTLE, MIN_FILES, MARKER, INTERVAL, QUEUED = (
    "settle_seconds",
    "min_files",
    "completion_marker",
    "min_interval_seconds",
    "when_queued",
)
"""What a hold waits for, as the column `waits_for` says it."""

FIRST_LOOK, LONGEST_LOOK = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """All arrivals of one rule and directory that are not started yet."""

    file_count: int
    first_at: datetime
    last_at: datetime
    marker_seen: bool
    last_start: datetime | None
    queued: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of them: started when nothing is waited for, unless a queued run is to take them."""

    waits_for: tuple[str, ...] = ()
    look_at: datetime | None = None
    coalesced: bool = False


START_NOW = Verdict()


def judge(rule: MappingRule, waiting: Waiting, as_of: datetime) -> Verdict:
    """Whether a rule lets its arrivals go at `as_of`, and else when to look again.

    `max_wait_seconds` after the first of them nothing is waited for any more.
    """
    deadline = waiting.first_at + timedelta(seconds=rule.max_wait_seconds)
    if as_of < deadline:
        reasons, look_at = _reasons(rule, waiting, as_of)
        if reasons:
            return Verdict(tuple(reasons), min(deadline, look_at or deadline))
    if not waiting.queued or rule.when_queued is WhenQueued.START:
        return START_NOW
    if rule.when_queued is WhenQueued.SKIP:
        return Verdict(coalesced=True)
    if as_of >= deadline:
        return START_NOW
    return Verdict((QUEUED,), min(deadline, next_look(waiting.last_start or as_of, as_of)))


def _reasons(rule: MappingRule, waiting: Waiting, as_of: datetime) -> tuple[list[str], datetime | None]:
    """What is waited for beside queues, and when time alone ends it; None when it takes more than time."""
    quiet_at = waiting.last_at + timedelta(seconds=rule.settle_seconds)
    apart_at = as_of
    if waiting.last_start is not None:
        apart_at = waiting.last_start + timedelta(seconds=rule.min_interval_seconds)
    reasons = [reason for reason, at in ((SETTLE, quiet_at), (INTERVAL, apart_at)) if at > as_of]
    more = []
    if waiting.file_count < rule.min_files:
        more.append(MIN_FILES)
    if rule.completion_marker and not waiting.marker_seen:
        more.append(MARKER)
    return reasons + more, None if more else max(quiet_at, apart_at)


def next_look(since: datetime, as_of: datetime) -> datetime:
    """When to look again at a run that was accepted at `since`: soon at first, then ever more rarely."""
    return as_of + min(max(as_of - since, FIRST_LOOK), LONGEST_LOOK)
