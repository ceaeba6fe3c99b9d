"""Waiting for runs: what is left of them, poll by poll in few calls, and what is recorded at the end.

What a task waits for is read from the log each time, by who wrote its rows. So a task that is tried again,
cleared or killed at any point waits for what is still going on, and starts nothing a second time.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.workspace.claims import Options
from databricks_file_arrivals.workspace.exchange import Exchange
from databricks_file_arrivals.workspace.jobs import active_among, completed, completed_among, get_run
from databricks_file_arrivals.workspace.ledger import Ledger, Requested
from databricks_file_arrivals.workspace.starts import Report, Starter, Starts

log = logging.getLogger(__name__)

_NAMED = 20  # run ids in one line


class Awaited:
    """Runs that are waited for: `left` are those that may go on, `gone` those that cannot be seen any more.

    `since`: when the first of them was started, at the earliest; older runs are not looked through.
    """

    def __init__(self, run_ids: Iterable[int], since: datetime | None = None) -> None:
        self.left = set(run_ids)
        self.gone: set[int] = set()
        self._since = since
        self._pages = 1
        """What the last look at the list of active runs took: fewer runs than that are asked one by one."""
        self._strange: set[str] = set()

    def poll(self) -> Exchange[None]:
        """Look once at all that are left, and drop those that have ended or are gone.

        A run is believed to have ended when it says so itself: one that is missing in the list of active
        runs may have moved between two of its pages, or be in a state that the list leaves out. Raises
        Refused when not one of them may be seen any more (403): then nothing is known of any.
        """
        unseen = set(self.left)
        if len(unseen) > self._pages:
            active, self._pages = yield from active_among(unseen, self._since, most=len(self.left))
            unseen -= self._seen(active.values())
            if self._pages < len(self.left):  # the list was read to its end: most of the others have ended
                ended = yield from completed_among(unseen, completed(self._since))
                unseen -= self._seen(ended.values())
        refused = yield from self._ask(unseen)
        if refused and len(refused) == len(self.left) and all(e.status == 403 for e in refused.values()):
            raise _none_to_see(refused)
        self._drop(refused)

    def _ask(self, run_ids: Collection[int]) -> Exchange[dict[int, Refused]]:
        """Look at each of these: what was said of those that cannot be seen."""
        refused = {}
        for run_id in sorted(run_ids):
            try:
                self._seen([(yield from get_run(run_id))])
            except Refused as error:
                refused[run_id] = error
        return refused

    def _seen(self, runs: Iterable[Run]) -> set[int]:
        """Take note of runs as they are now: their ids."""
        ids = set()
        for run in runs:
            ids.add(run.run_id)
            if run.ended:
                self.left.discard(run.run_id)
            elif not run.known and run.state not in self._strange:
                self._strange.add(run.state)
                log.warning("%s, a state that this version does not know: it is waited for", run)
        return ids

    def _drop(self, refused: dict[int, Refused]) -> None:
        for run_id, error in refused.items():
            log.warning("run %d was deleted, or may not be seen any more (%s)", run_id, error)
        self.left -= refused.keys()
        self.gone |= refused.keys()


def _none_to_see(refused: dict[int, Refused]) -> Refused:
    some = next(iter(refused.values()))
    return Refused(
        some.status,
        some.code,
        f"none of the runs {listed(refused)} may be seen any more ({some}). Grant the connection's principal "
        "CAN_VIEW on their jobs",
    )


def listed(run_ids: Collection[int]) -> str:
    """Run ids for a person: the first of many, and how many more there are."""
    shown = ", ".join(str(run_id) for run_id in sorted(run_ids)[:_NAMED])
    return shown if len(run_ids) <= _NAMED else f"{shown} and {len(run_ids) - _NAMED} more"


_UNSUCCESSFUL = (Status.FAILED, Status.NOT_RUN)
"""States of runs that are known to have ended and to be followed by another one, if anybody asks for it."""

_NOT_STARTED = (Status.PLANNED, Status.ERROR)


@dataclass(frozen=True, slots=True)
class Standing:
    """How requests stand, each in its newest state."""

    rows: Sequence[LogRow]
    missing: frozenset[int] = frozenset()
    """Ids of runs that were started and cannot be seen: deleted, or the grant is gone."""

    @property
    def going(self) -> list[LogRow]:
        """Those whose runs have not ended, as far as is known."""
        return [r for r in self.rows if r.status is Status.TRIGGERED and r.started_run_id not in self.missing]

    @property
    def lost(self) -> list[LogRow]:
        """Those whose runs cannot be seen any more."""
        return [r for r in self.rows if r.started_run_id in self.missing]

    @property
    def unsuccessful(self) -> list[LogRow]:
        """Those whose runs have ended without success."""
        return [r for r in self.rows if r.status in _UNSUCCESSFUL]

    @property
    def not_started(self) -> list[LogRow]:
        """Those that have no run."""
        return [r for r in self.rows if r.status in _NOT_STARTED]


class AwaitedRequests:
    """A task's looks at the requests that it waits for, before and after the wait. `found` is what the log
    has of them."""

    def __init__(
        self,
        ledger: Ledger,
        starter: Starter,
        options: Options,
        found: Requested,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._starter = starter
        self._options = options
        self._found = found
        self._clock, self._read_at = clock, clock()
        self._rows = latest(found.rows)
        self._missing: set[int] = set()
        self.report = Report()

    def run_again(self) -> Standing:
        """Start a new attempt of each request whose run is known to have ended without success, and what an
        earlier try has left without a run.

        Ended ones are asked once more before: a failed run may be under repair. Raises what the Jobs API
        raises that may pass while there are more tries; the next one then starts what is left.
        """
        self._look([r for r in self._rows.values() if r.status in _UNSUCCESSFUL])
        states = [r for r in self._rows.values() if r.status in (*_UNSUCCESSFUL, *_NOT_STARTED)]
        if states:
            replayed = self._ledger.replayed(self._options.consumer, states)
            states = [r for r in states if r.trigger_id not in replayed]
            starts = self._starts()
            attempts = starts.attempts(r for r in states if r.status in _UNSUCCESSFUL)
            self._know(attempts)
            left = [r for r in states if r.status in _NOT_STARTED]
            log.info("%d runs are known to have failed, %d are left to start", len(attempts), len(left))
            leave = not self._options.last_try
            self._know(starts.start_alone([*left, *attempts], self._found.rows, leave=leave))
        return self.standing()

    def look(self, *, over: bool) -> Standing:
        """Look at the runs that were going, and record those that have ended. `over`: nearly all have, as
        far as is known, so there is no use in a list of those that have not.

        Failed ones are asked once more: they may be under repair, or have been repaired.
        """
        going = [r for r in self._rows.values() if r.status in (Status.TRIGGERED, Status.FAILED)]
        self._look(going, {} if over or len(going) < 2 else self._starter.active_runs())
        return self.standing()

    def standing(self) -> Standing:
        """How the requests stand now; the report says the same."""
        rows = list(self._rows.values())
        self.report.epoch = max((r.epoch for r in rows), default=None)
        self.report.files = sum(r.file_count or 0 for r in rows)
        self.report.counts = Counter(r.status.value for r in rows)
        self.report.outcomes = rows
        return Standing(rows, frozenset(self._missing))

    def _look(self, rows: Sequence[LogRow], active: Mapping[int, Run] | None = None) -> None:
        """Take note of what became of these runs, and record it where it is news."""
        rest = [r for r in rows if r.started_run_id not in (active or {})]
        runs = self._starter.ended_runs(rest) if rest else {}
        starts, news = self._starts(), []
        for row in rest:
            run = runs.get(row.started_run_id or 0)
            if run is None:
                self._missing |= {row.started_run_id or 0} if row.status is Status.TRIGGERED else set()
            elif not run.ended:  # it goes on, or is under repair
                self._rows[row.trigger_id or ""] = replace(row, status=Status.TRIGGERED, error=None)
            elif (now := starts.ended(row, run)).status is not row.status:
                news.append(now)
        starts.record(news)
        self._know(news)

    def _know(self, rows: Iterable[LogRow]) -> None:
        self._rows = latest([*self._rows.values(), *rows])

    def _starts(self) -> Starts:
        return Starts(
            self._ledger,
            self._starter,
            self.report,
            self._now,
            consumer=self._options.consumer,
            give_up_after=self._options.give_up_after,
            stamp=self._options.stamp,
        )

    def _now(self) -> datetime:
        assert self._found.now is not None, "rows tell the time"
        return self._found.now + timedelta(seconds=self._clock() - self._read_at)
