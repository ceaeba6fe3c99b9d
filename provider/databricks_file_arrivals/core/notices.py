"""What people are told of: outcomes of a kind, once for each directory and period."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from databricks_file_arrivals.core.outcomes import LogRow, Status

DIRECTORIES_NAMED = 20


class Kind(str, Enum):
    """Of what people are told."""

    UNMAPPED = "unmapped"
    ERROR = "error"
    OVERDUE = "overdue"
    HELD_TOO_LONG = "held_too_long"

    def __str__(self) -> str:
        return self.value


STATUSES: Mapping[Kind, frozenset[Status]] = {
    Kind.UNMAPPED: frozenset({Status.UNMAPPED, Status.INACTIVE}),
    Kind.ERROR: frozenset({Status.ERROR, Status.NO_SUCH_WORKFLOW}),
    Kind.OVERDUE: frozenset({Status.OVERDUE}),
}
"""Which outcomes are of which kind; a hold is of none before it is too long."""

_SENTENCE: Mapping[Kind, str] = {
    Kind.UNMAPPED: "files arrived that no active row of the mapping table takes",
    Kind.ERROR: "workflows could not be started",
    Kind.OVERDUE: "nothing arrived in time",
    Kind.HELD_TOO_LONG: "files have been held for too long",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told: of which directories, in words."""

    kind: Kind
    directories: tuple[str, ...]
    message: str

    def as_dict(self) -> dict[str, Any]:
        """What templates and callables find as `file_arrivals`."""
        return {
            "kind": self.kind.value,
            "message": self.message,
            "directories": list(self.directories[:DIRECTORIES_NAMED]),
            "total": len(self.directories),
        }


def of_kind(rows: Iterable[LogRow], kind: Kind) -> list[LogRow]:
    """The outcomes of a kind."""
    return [row for row in rows if row.status in STATUSES.get(kind, ())]


def held_too_long(
    holds: Iterable[LogRow], limit: timedelta, every: timedelta, looked: datetime | None, now: datetime
) -> list[LogRow]:
    """The holds to tell of: `limit` after their first arrival, and after each period from then on.

    `looked` is when the consumer was last looked at: who looked then has told of all that was due by then.
    """
    return [
        hold
        for hold in holds
        if hold.first_arrival_at is not None
        and _periods(hold.first_arrival_at + limit, every, now)
        > (_periods(hold.first_arrival_at + limit, every, looked) if looked is not None else 0)
    ]


def next_held_too_long(
    holds: Iterable[LogRow], limit: timedelta, every: timedelta, now: datetime
) -> datetime | None:
    """When the next of the holds is to be told of, if it is still there: after `now`."""
    firsts = [hold.first_arrival_at + limit for hold in holds if hold.first_arrival_at is not None]
    return min((first + _periods(first, every, now) * every for first in firsts), default=None)


def _periods(first: datetime, every: timedelta, at: datetime) -> int:
    """How many times it was to be told by then."""
    return (at - first) // every + 1 if at >= first else 0


def notice(kind: Kind, rows: Sequence[LogRow], told: Collection[str] = ()) -> Notice | None:
    """What to say of these outcomes, or None: not of directories that were told of already."""
    lines: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: (row.directory or "", row.workflow_name or "")):
        if row.directory is not None and row.directory not in told:
            lines.setdefault(row.directory, _line(row))
    if not lines:
        return None
    named = [f"\n  {line}" for line in list(lines.values())[:DIRECTORIES_NAMED]]
    more = f"\n  and {len(lines) - len(named)} more" if len(lines) > len(named) else ""
    count = "1 directory" if len(lines) == 1 else f"{len(lines)} directories"
    return Notice(kind, tuple(lines), f"{count}: {_SENTENCE[kind]}{''.join(named)}{more}")


def _line(row: LogRow) -> str:
    words = [row.directory or ""]
    if row.workflow_name:
        words.append(f"→ {row.workflow_name}")
    if row.file_count:
        words.append(f"({row.file_count} file{'' if row.file_count == 1 else 's'})")
    reason = row.error or (f"waits for {', '.join(row.waits_for)}" if row.waits_for else "")
    return " ".join(words) + (f": {reason}" if reason else "")
