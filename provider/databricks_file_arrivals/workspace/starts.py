"""Starting what was planned, and looking after it: outcomes are recorded, failures tried again.

Nothing here plans. Everything is a function of stored rows, so whoever does it does the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from databricks_file_arrivals.core.errors import FileArrivalsError, LedgerError
from databricks_file_arrivals.core.holds import next_look
from databricks_file_arrivals.core.outcomes import (
    ERROR_CODE,
    FIRST_PAUSE,
    RUN_ID,
    LogRow,
    Status,
    latest,
    retry_at,
    trigger_id,
)
from databricks_file_arrivals.core.parameters import retold
from databricks_file_arrivals.core.planning import Job, RunKey
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.workspace.ledger import FAILING, Ledger

log = logging.getLogger(__name__)

_REPLAYED = "it was replayed meanwhile: this attempt is not started"


class Starter(Protocol):
    """What a claim needs of the Jobs API."""

    def jobs_named(self, names: Iterable[str]) -> Mapping[str, Sequence[Job]]:
        """The visible jobs of each name, exactly as it is written: none, one, or several."""
        ...

    def start(self, rows: Sequence[LogRow]) -> Sequence[int | FileArrivalsError]:
        """Start, or reach again, the run of each request: its id, or why it did not start, in the order of
        `rows`. Many at a time; a failing one never stops the others."""
        ...

    def active_runs(self) -> Mapping[int, Run]:
        """All visible runs that have not ended, by run id: one sweep."""
        ...

    def ended_runs(self, rows: Sequence[LogRow]) -> Mapping[int, Run]:
        """The runs of requests that were started and are not active any more, by run id.

        A run that cannot be seen any more (deleted, or the grant is gone) is not among them; one that has not
        ended after all is, and says so.
        """
        ...


@dataclass(slots=True)
class Report:
    """What one operator did. `refused` and `unavailable` are the starts that failed, for good or for now."""

    files: int = 0
    arrived: int = 0
    """Those of them that no outcome had before: of a replay none."""
    stream_lag: timedelta | None = None
    """The longest time from the last change of one of these files to its being logged."""
    counts: Counter[str] = field(default_factory=Counter)
    mapping_problems: int = 0
    epoch: int | None = None
    refused: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    outcomes: list[LogRow] = field(default_factory=list)
    """Every request that was decided or changed, once, in its newest state."""
    holds: list[LogRow] = field(default_factory=list)
    """All that is held at the end."""
    looked: datetime | None = None
    """When somebody looked at the consumer before."""
    now: datetime | None = None
    """When this one did, by the warehouse's clock."""
    handed_out: list[LogRow] = field(default_factory=list)
    """The requests that tasks of their own are to start."""

    def decided(self, rows: Iterable[LogRow]) -> None:
        """Note rows of the log: of each request the newest state stays."""
        self.outcomes = list(latest([*self.outcomes, *rows]).values())

    def as_dict(self) -> dict[str, Any]:
        """The counts, by status in lower case: small, and made of JSON's types."""
        counts = {status.lower(): n for status, n in sorted(self.counts.items())}
        return {
            "epoch": self.epoch,
            "files": self.files,
            "mapping_problems": self.mapping_problems,
            **counts,
        }


@dataclass(frozen=True, slots=True)
class Open:
    """What is left to be looked at: when next, and since which epoch."""

    next_due: datetime | None
    open_from: int | None


class Starts:
    """The requests of one consumer that are not over. `now` is the warehouse's time."""

    def __init__(
        self,
        ledger: Ledger,
        starter: Starter,
        report: Report,
        now: Callable[[], datetime],
        *,
        consumer: str,
        give_up_after: timedelta,
        stamp: Mapping[str, Any],
    ) -> None:
        self._ledger = ledger
        self._starter = starter
        self._report = report
        self._now = now
        self._consumer = consumer
        self._give_up_after = give_up_after
        self._stamp = stamp
        self._accepted: list[LogRow] = []
        self._replayed: frozenset[str] = frozenset()

    @property
    def room(self) -> int | None:
        """How many requests more can be taken on in this pass; None for any number."""
        return None

    @property
    def given(self) -> Sequence[LogRow]:
        """The requests that are handed out to tasks, those that were left over first."""
        return ()

    def finish(self, epoch: int, claim_id: str, claim: Iterable[LogRow], *, leave: bool) -> list[LogRow]:
        """Start what is planned and has no run, and record the outcomes together with the claim's CLAIMED
        row.

        With `leave` the first failure that may pass is raised: the claim then stays as it is, and the next
        try starts what is left. Without, every failure is an outcome.
        """
        planned = [r for r in latest(claim).values() if r.status is Status.PLANNED]
        outcomes = self._answered(planned, leave=leave)
        closing = LogRow(status=Status.CLAIMED, consumer=self._consumer, claim_id=claim_id, epoch=epoch)
        self.record([*outcomes, closing])
        return [*outcomes, closing]

    def write_plan(self, rows: Sequence[LogRow]) -> None:
        """Append the rows of a plan and read them back. Raises LedgerError when they are not all there."""
        self._write(rows, "The plan was written and is not all there; nothing was started")

    def record(self, rows: Sequence[LogRow]) -> None:
        """Append outcomes and read them back. Raises LedgerError when they are not there."""
        self._write(rows, "Outcomes were written and are not there")
        self._tell(rows)

    def _tell(self, rows: Sequence[LogRow]) -> None:
        self._report.counts.update(r.status.value for r in rows if r.status is not Status.CLAIMED)
        self._report.decided(rows)

    def _append(self, rows: Sequence[LogRow]) -> None:
        if rows:
            self._ledger.append([replace(r, **self._stamp) for r in rows])

    def _write(self, rows: Sequence[LogRow], otherwise: str) -> None:
        if not rows:
            return
        self._append(rows)
        there = Counter(self._ledger.statuses({r.claim_id: r.epoch for r in rows}))
        wanted = Counter((r.claim_id, r.status, r.trigger_id) for r in rows)
        missing = sum(there[key] < n for key, n in wanted.items())
        if missing:
            claims = ", ".join(sorted({r.claim_id for r in rows}))
            raise LedgerError(f"{otherwise}: {missing} rows of the claim {claims} are missing")

    def attempts(self, ended: Iterable[LogRow]) -> list[LogRow]:
        """New attempts of requests whose runs have ended without success, to be started. Their PLANNED rows
        are there before their runs, because the jobs read them.

        And before the log is asked for replays once more: a replay that was claimed meanwhile is seen here,
        and one that is claimed later sees these rows and leaves the request alone.
        """
        planned = [_next_attempt(row) for row in ended]
        if not planned:
            return []
        self.record(planned)
        replayed = self._ledger.replayed(self._consumer, planned)
        late = [row for row in planned if row.trigger_id in replayed]
        self.record([replace(row, status=Status.ERROR, run_id=ERROR_CODE, error=_REPLAYED) for row in late])
        return [row for row in planned if row.trigger_id not in replayed]

    def start(self, requests: Iterable[LogRow], known: Iterable[LogRow], *, leave: bool) -> list[LogRow]:
        """Start requests, by the token of their attempt, and record what came of it: the rows written.

        `known` tells when they were planned: old ones are looked for before they are started. `leave` is that
        of `finish`.
        """
        planned_at = {r.trigger_id: r.recorded_at for r in known if r.status is Status.PLANNED}
        outcomes = self._answered(
            [replace(row, recorded_at=planned_at.get(row.trigger_id)) for row in requests], leave=leave
        )
        # Not read back: a request whose outcome is not there is left over, and reaches the same run again.
        self._append(outcomes)
        self._tell(outcomes)
        return outcomes

    def start_alone(
        self, requests: Iterable[LogRow], known: Iterable[LogRow], *, leave: bool
    ) -> list[LogRow]:
        """The same by a task that has no claim. Later attempts that do not start are left to the operators,
        who may have seen the request end, and are told to look."""
        outcomes = self.start(requests, known, leave=leave)
        if any(row.status is Status.ERROR and (row.attempt or 1) > 1 for row in outcomes):
            try:
                self._ledger.look_by(self._consumer, self._now() + FIRST_PAUSE)
            except FileArrivalsError as error:
                log.warning("no operator was told to try it again; the next one does all the same: %s", error)
        return outcomes

    def _answered(self, planned: Sequence[LogRow], *, leave: bool) -> list[LogRow]:
        answers = self._starter.start(planned) if planned else []
        passing = [a for a in answers if isinstance(a, FileArrivalsError) and a.retryable]
        if passing and leave:
            started = sum(isinstance(answer, int) for answer in answers)
            log.warning("%d of %d runs started; the next try starts the others", started, len(planned))
            raise passing[0]
        return [self._outcome(row, answer) for row, answer in zip(planned, answers, strict=True)]

    def _outcome(self, row: LogRow, answer: int | FileArrivalsError) -> LogRow:
        row = replace(row, recorded_at=self._now())
        if isinstance(answer, int):
            log.debug("%s for %s: run %d, %s files", row.workflow_name, row.directory, answer, row.file_count)
            accepted = replace(
                row,
                status=Status.TRIGGERED,
                run_id=answer,
                started_run_id=answer,
                job_trigger_time=row.recorded_at,
                error=None,
            )
            self._accepted.append(accepted)
            return accepted
        line = f"{row.workflow_name} for {row.directory}: {answer}"
        log.debug("did not start: %s", line)
        (self._report.unavailable if answer.retryable else self._report.refused).append(line)
        return replace(row, status=Status.ERROR, run_id=ERROR_CODE, error=str(answer))

    # Accepted is not executed: runs are looked at once more.

    def look(self, open_rows: Iterable[LogRow]) -> tuple[list[LogRow], dict[RunKey, datetime]]:
        """Look at the accepted runs that are not known to have ended: the outcomes of those that have, and,
        by rule and directory, when those that are still queued were started."""
        accepted = [r for r in latest(open_rows).values() if r.status is Status.TRIGGERED]
        accepted = [r for r in accepted if r.started_run_id is not None]
        if not accepted:
            return [], {}
        active = self._starter.active_runs()
        gone = [r for r in accepted if r.started_run_id not in active]
        ended = self._starter.ended_runs(gone) if gone else {}
        outcomes, queued = [], {}
        for row in accepted:
            run = active.get(row.started_run_id or 0) or ended.get(row.started_run_id or 0)
            if run is None:  # deleted, or not to be seen for now
                self._look_again(row)
            elif run.ended:
                outcomes.append(self.ended(row, run))
            elif not run.executing:
                self._accepted.append(row)
            if run is not None and run.queued:
                queued[row.rule_id or "", row.directory or ""] = row.job_trigger_time or self._now()
        self.record(outcomes)
        return outcomes, queued

    def _look_again(self, row: LogRow) -> None:
        if row.job_trigger_time is None or self._now() - row.job_trigger_time <= self._give_up_after:
            self._accepted.append(row)

    def ended(self, row: LogRow, run: Run) -> LogRow:
        """The outcome of a request whose run has ended."""
        status = Status.NOT_RUN if run.never_ran else Status.SUCCEEDED if run.succeeded else Status.FAILED
        error = None if status is Status.SUCCEEDED else str(run)
        code = RUN_ID.get(status, row.run_id)
        return replace(row, status=status, run_id=code, error=error, recorded_at=self._now())

    # Failures are tried again, with growing pauses.

    def _failing(self, rows: Iterable[LogRow]) -> list[tuple[LogRow, datetime]]:
        """The requests that are to be started, and when: those that are left over, those that did not start,
        and those whose run was accepted and not executed."""
        rows = list(rows)
        times: dict[tuple[object, ...], list[datetime]] = {}
        for row in rows:
            if row.status in FAILING:
                times.setdefault((row.claim_id, *row.place), []).append(row.recorded_at or self._now())
        found = []
        for row in latest(rows).values():
            if row.status in FAILING:
                due = retry_at(times[(row.claim_id, *row.place)], self._give_up_after)
                if due is not None:
                    found.append((row, due))
            elif row.status is Status.PLANNED:
                found.append((row, row.recorded_at or self._now()))
        return found

    def try_again(self, open_rows: Sequence[LogRow]) -> list[LogRow]:
        """Start what is left over, and try again what failed a while ago, by the same token where no run is
        known: the rows written. A run that was accepted and not executed is followed by a new attempt."""
        due = [row for row, at in self._failing(open_rows) if at <= self._now()]
        if not due:
            return []
        self._replayed = self._ledger.replayed(self._consumer, due)
        due = [row for row in due if row.trigger_id not in self._replayed]
        log.info("starting what is left over or has failed before: %d", len(due))
        attempts = self.attempts(row for row in due if row.status is Status.NOT_RUN)
        again = [row for row in due if row.status is not Status.NOT_RUN]
        return attempts + self.start([*again, *attempts], open_rows, leave=False)

    def left(self, open_rows: Iterable[LogRow]) -> Open:
        """What is to be looked at again, after this pass: failures, and runs that were started in it or were
        still queued."""
        looks = [(row, next_look(row.job_trigger_time or self._now(), self._now())) for row in self._accepted]
        looks += [
            (row, self._due_again(row, due))
            for row, due in self._failing(open_rows)
            if row.trigger_id not in self._replayed
        ]
        return Open(
            min((due for _, due in looks), default=None), min((row.epoch for row, _ in looks), default=None)
        )

    def _due_again(self, row: LogRow, due: datetime) -> datetime:
        """When a request that is to be started at `due` is looked at."""
        return due


class HandOut(Starts):
    """The same requests, handed out instead of started: to tasks, each of which starts one.

    What is handed out stays PLANNED, and so is left over, until its task has recorded an outcome. A request
    that is handed out twice reaches one run all the same, by its token.
    """

    def __init__(self, most: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most = most
        self._given: dict[str | None, LogRow] = {}

    @property
    def room(self) -> int:
        return self._most - len(self._given)

    @property
    def given(self) -> Sequence[LogRow]:
        return tuple(self._given.values())

    def _answered(self, planned: Sequence[LogRow], *, leave: bool) -> list[LogRow]:
        new = [row for row in planned if row.trigger_id not in self._given]
        taken = new[: self.room]
        self._given |= {row.trigger_id: row for row in taken}
        if len(new) > len(taken):
            log.info("%d requests are left for the next operator", len(new) - len(taken))
        return []

    def _due_again(self, row: LogRow, due: datetime) -> datetime:
        given = row.trigger_id in self._given
        return next_look(row.recorded_at or self._now(), self._now()) if given else due


def _next_attempt(row: LogRow) -> LogRow:
    attempt = (row.attempt or 1) + 1
    row = replace(
        row,
        status=Status.PLANNED,
        attempt=attempt,
        run_id=None,
        started_run_id=None,
        job_trigger_time=None,
        error=None,
        recorded_at=None,
    )
    return retold(row, trigger_id(row, attempt))
