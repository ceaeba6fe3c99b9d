"""Telling people of outcomes of a kind, through any notifier of Airflow's, once for each directory and
period."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from databricks_file_arrivals.compat import Context
from databricks_file_arrivals.core.deployment import Sql
from databricks_file_arrivals.core.errors import BadInput, FileArrivalsError
from databricks_file_arrivals.core.notices import (
    STATUSES,
    Kind,
    Notice,
    held_too_long,
    next_held_too_long,
    notice,
    of_kind,
)
from databricks_file_arrivals.core.outcomes import LogRow, latest
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.notices import Task, told_before, written_by

log = logging.getLogger(__name__)

Notifier: TypeAlias = "Callable[[Context], Any]"
"""A notifier of Airflow's, or any callable that takes the task's context."""

HELD_TOO_LONG = timedelta(hours=6)
"""The default; `max_wait_seconds` ends a hold after a day, unless its rule says otherwise."""

VARIABLE = "file_arrivals"
"""Under which name templates and callables find what is told."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one operator's pass found, and when.

    `looked` is when the consumer was looked at before; `now` is the warehouse's time. `given` are the
    requests that the task was given, where mapped siblings have others.
    """

    consumer: str
    rows: Sequence[LogRow]
    holds: Sequence[LogRow]
    looked: datetime | None
    now: datetime
    given: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Notifications:
    """Whom to tell of what, and how often."""

    notifiers: Mapping[Kind, tuple[Notifier, ...]] = field(default_factory=dict)
    every: timedelta = timedelta(days=1)
    held_too_long: timedelta = HELD_TOO_LONG

    @classmethod
    def of(
        cls, notifiers: Mapping[Kind, Notifier | Sequence[Notifier] | None], every: timedelta, held: timedelta
    ) -> Notifications:
        """Read what a user gives: for each kind a notifier, several, or none. Raises BadInput."""
        found = {kind: _several(kind, given) for kind, given in notifiers.items() if given}
        if every <= timedelta() or held < timedelta():
            raise BadInput(f"notify_every is {every} and held_too_long {held}: write times above zero.")
        return cls(found, every, held)

    def next_hold(self, holds: Sequence[LogRow], now: datetime) -> datetime | None:
        """When the next of these holds is to be told of, after `now`; None when nobody is told of holds."""
        if Kind.HELD_TOO_LONG not in self.notifiers:
            return None
        return next_held_too_long(holds, self.held_too_long, self.every, now)

    def tell(self, context: Context, sql: Sql, names: Names, found: Pass) -> list[Notice]:
        """Tell what is to be told of a pass: the notices that were told.

        A directory is told of once in a period, as the ledger's rows of the period before say; those of this
        task do not count, so that a retry tells again what the try before it may not have told. Mapped
        siblings count as others do: of those that fail together for a directory the first tells.

        Whatever goes wrong is logged: what was claimed and started stays so.
        """
        if not self.notifiers:
            return []
        try:
            notices = self._notices(sql, names, found, Task.of(context["ti"], found.given))
        except FileArrivalsError:
            log.exception("nobody was notified: the ledger did not say who was told what")
            return []
        for each in notices:
            for notifier in self.notifiers[each.kind]:
                _tell(context, notifier, each)
        return notices

    def _notices(self, sql: Sql, names: Names, found: Pass, task: Task) -> list[Notice]:
        statuses = {s for kind in self.notifiers for s in STATUSES.get(kind, ())}
        rows = list(found.rows)
        if task.try_number > 1 and statuses:
            written = written_by(sql, names, found.consumer, task, statuses, found.now - self.every)
            rows = list(latest([*written, *rows]).values())
        rows = [row for row in rows if row.status in statuses]
        told = told_before(sql, names, found.consumer, rows, task, found.now - self.every) if rows else {}
        notices = []
        for kind in self.notifiers:
            concerned: Sequence[LogRow] = of_kind(rows, kind)
            if kind is Kind.HELD_TOO_LONG:
                concerned = held_too_long(
                    found.holds, self.held_too_long, self.every, found.looked, found.now
                )
            notices.append(notice(kind, concerned, told.get(kind, ())))
        return [each for each in notices if each is not None]


def _several(kind: Kind, given: Notifier | Sequence[Notifier]) -> tuple[Notifier, ...]:
    several = (given,) if callable(given) else tuple(given)
    for each in several:
        if not callable(each):
            raise BadInput(
                f"on_{kind} has {each!r}: give notifiers, or functions that take the task's context."
            )
    return several


def _tell(context: Context, notifier: Notifier, told: Notice) -> None:
    """Tell one notifier. Its failure is logged, and stops nothing."""
    own: Any = copy.copy(context)
    own[VARIABLE] = told.as_dict()
    try:
        # Rendering changes a notifier for good: each message has a copy of its own.
        copy.copy(notifier)(own)
    except Exception:
        log.exception("a notifier of on_%s failed; it was to tell: %s", told.kind, told.message)
