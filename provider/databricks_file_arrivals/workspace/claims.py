"""The claim protocol: finish the last claim, plan, take the epoch, start the runs, record. Exactly once,
and why:

The plan is appended before it counts, read back and counted, and counts from the compare-and-swap on. Who
wins the epoch starts the runs, each with a token that is a function of its stored row. Whoever comes later,
for whatever reason, first finishes the claim that was won last, from its rows alone. So a crash, a lost
answer, a repeated task or a second operator at the same time changes nothing but who does the work.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from databricks_file_arrivals.core.errors import (
    ClaimContended,
    FileArrivalsError,
    LedgerError,
)
from databricks_file_arrivals.core.outcomes import ERROR_CODE, LogRow, Status, latest, retry_at
from databricks_file_arrivals.core.planning import Claim, Job, plan, route, workflows
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.workspace.ledger import Batch, Consumer, Ledger

log = logging.getLogger(__name__)

_CONTENDED = 5
_SWAPS = 5


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
    counts: Counter[str] = field(default_factory=Counter)
    mapping_problems: int = 0
    epoch: int | None = None
    refused: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)

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
class Options:
    """How a claim is made. `stamp` goes into every row that is written: who wrote it."""

    consumer: str
    log_table: str
    start_from: str | Mapping[str, int] = "latest"
    give_up_after: timedelta = timedelta(days=1)
    max_directories: int = 10_000
    last_try: bool = True
    stamp: Mapping[str, Any] = field(default_factory=dict)


class Claimer:
    """One operator's pass over the ledger; may be repeated, doubled or killed at any point."""

    def __init__(self, ledger: Ledger, starter: Starter, options: Options) -> None:
        self._ledger = ledger
        self._starter = starter
        self._options = options
        self._ahead = timedelta()
        self.report = Report()

    def _now(self) -> datetime:
        """The warehouse's time: one clock decides what is due, here and for the sensor."""
        return datetime.now(timezone.utc) + self._ahead

    def run(self) -> Report:
        """Do all that is due. Raises ClaimContended, and what the ledger and the Jobs API raise before a
        claim."""
        self._ledger.check_version()
        for _ in range(_CONTENDED):
            row = self._consumer()
            open_rows = self._finish_last(row)
            tried = self._try_again(open_rows)
            open_rows += tried
            batches = self._ledger.new_batches(row.cursor)
            if not batches:
                if row.overdue or tried:
                    self._settle(row.epoch, open_rows)
                return self.report
            if self._claim(row, batches, open_rows):
                return self.report
            log.info("another operator took epoch %d of consumer %s", row.epoch + 1, row.consumer)
        raise ClaimContended(self._options.consumer, _CONTENDED)

    def _consumer(self) -> Consumer:
        """The consumer's row, read once before anything of the ledger: its epoch is the one that is
        swapped."""
        consumer = self._options.consumer
        row = self._ledger.consumer(consumer)
        if row is None:
            self._ledger.make_consumer(consumer, self._options.start_from)
            row = self._ledger.consumer(consumer)
            log.info("made the consumer %s, starting from %s", consumer, self._options.start_from)
        if row is None:
            table = self._ledger.names.consumers
            raise LedgerError(
                f"The consumer {consumer!r} was made and is not there: is {table} being replaced?"
            )
        return row

    # Finishing: reads rows, plans nothing again.

    def _finish_last(self, row: Consumer) -> list[LogRow]:
        """Finish the claim that was won last unless that was done. Returns the rows that are still open."""
        closed = self._ledger.is_closed(row)
        open_rows = self._ledger.open_rows(row, with_claim=not closed)
        if closed or row.claim_id is None:
            return open_rows
        log.info("finishing epoch %d of consumer %s, which another try left", row.epoch, row.consumer)
        claim = [r for r in open_rows if r.claim_id == row.claim_id]
        return open_rows + self._finish(row.epoch, row.claim_id, claim)

    def _finish(self, epoch: int, claim_id: str, claim: Sequence[LogRow]) -> list[LogRow]:
        """Start what is planned and has no run, and record the outcomes together with the claim's CLAIMED
        row."""
        planned = [r for r in latest(claim).values() if r.status is Status.PLANNED]
        outcomes = self._start(planned, leave=not self._options.last_try)
        closing = LogRow(
            status=Status.CLAIMED, consumer=self._options.consumer, claim_id=claim_id, epoch=epoch
        )
        self._record([*outcomes, closing], claim_id, epoch)
        return [*outcomes, closing]

    def _record(self, rows: Sequence[LogRow], claim_id: str, epoch: int) -> None:
        """Append rows of one claim and read them back. Raises LedgerError when they are not there."""
        self._ledger.append([replace(r, **self._options.stamp) for r in rows])
        there = set(self._ledger.statuses(claim_id, epoch))
        missing = [r for r in rows if (r.status, r.trigger_id) not in there]
        if missing:
            raise LedgerError(f"{len(missing)} rows of the claim {claim_id} were written and are not there")
        for r in rows:
            if r.status is not Status.CLAIMED:
                self.report.counts[r.status.value] += 1

    def _start(self, planned: Sequence[LogRow], *, leave: bool) -> list[LogRow]:
        """Start the requests concurrently; a failing one never stops the others.

        With `leave` the first failure that may pass is raised: the claim then stays as it is, and the next
        try starts what is left. Without, every failure is an outcome.
        """
        answers = self._starter.start(planned)
        results = [self._outcome(row, answer) for row, answer in zip(planned, answers, strict=True)]
        passing = [error for _, error in results if error is not None and error.retryable]
        if passing and leave:
            started = sum(error is None for _, error in results)
            log.warning("%d of %d runs started; the next try starts the others", started, len(planned))
            raise passing[0]
        for row, error in results:
            if error is not None:
                line = f"{row.workflow_name} for {row.directory}: {error}"
                (self.report.unavailable if error.retryable else self.report.refused).append(line)
        return [row for row, _ in results]

    def _outcome(
        self, row: LogRow, answer: int | FileArrivalsError
    ) -> tuple[LogRow, FileArrivalsError | None]:
        if isinstance(answer, FileArrivalsError):
            log.error("%s for %s did not start: %s", row.workflow_name, row.directory, answer)
            failed = replace(
                row, status=Status.ERROR, run_id=ERROR_CODE, error=str(answer), recorded_at=self._now()
            )
            return failed, answer
        log.info("%s for %s: run %d, %s files", row.workflow_name, row.directory, answer, row.file_count)
        return (
            replace(
                row,
                status=Status.TRIGGERED,
                run_id=answer,
                started_run_id=answer,
                job_trigger_time=self._now(),
                error=None,
                recorded_at=self._now(),
            ),
            None,
        )

    # Errors are tried again, with growing pauses.

    def _errors(self, rows: Iterable[LogRow]) -> list[tuple[LogRow, datetime, bool]]:
        """The requests whose state is ERROR and that are not given up: when each is due, and whether it is
        now."""
        rows = list(rows)
        found = []
        for trigger_id, row in latest(rows).items():
            if row.status is Status.ERROR:
                times = [
                    r.recorded_at or self._now()
                    for r in rows
                    if r.trigger_id == trigger_id and r.status is Status.ERROR
                ]
                due = retry_at(times, self._options.give_up_after)
                if due is not None:
                    found.append((row, due, due <= self._now()))
        return found

    def _try_again(self, open_rows: Sequence[LogRow]) -> list[LogRow]:
        """Start requests again whose last start failed a while ago, with the same tokens: the outcomes."""
        planned_at = {r.trigger_id: r.recorded_at for r in open_rows if r.status is Status.PLANNED}
        due = [
            replace(request, recorded_at=planned_at.get(request.trigger_id))
            for request, _, now in self._errors(open_rows)
            if now
        ]
        if not due:
            return []
        log.info("trying %d starts again that failed before", len(due))
        outcomes = self._start(due, leave=False)
        for claim_id, epoch in sorted({(r.claim_id, r.epoch) for r in outcomes}):
            self._record([r for r in outcomes if r.claim_id == claim_id], claim_id, epoch)
        return outcomes

    def _settle(self, epoch: int, open_rows: Iterable[LogRow]) -> None:
        """Tell the sensor when to look again though nothing arrives."""
        errors = self._errors(open_rows)
        next_due = min((due for _, due, _ in errors), default=None)
        open_from = min((request.epoch for request, _, _ in errors), default=epoch)
        self._ledger.settle(self._options.consumer, epoch, next_due, open_from)

    # Planning and claiming.

    def _claim(self, row: Consumer, batches: Sequence[Batch], open_rows: Sequence[LogRow]) -> bool:
        """Plan the new batches, take the epoch and finish the claim. False: another operator took it."""
        up_to = capped(batches, self._options.max_directories)
        claim = Claim(self._options.consumer, uuid.uuid4().hex, row.epoch + 1, self._options.log_table)
        rows = self._plan(claim, row, up_to)
        stamped = [replace(r, **self._options.stamp) for r in rows]
        self._ledger.append(stamped)
        there = Counter(self._ledger.statuses(claim.claim_id, claim.epoch))
        wanted = Counter((r.status, r.trigger_id) for r in rows)
        if any(there[key] < n for key, n in wanted.items()):
            raise LedgerError(
                f"The plan {claim.claim_id} was written and is not all there; nothing was started"
            )
        if not self._take(row, claim, {**row.cursor, **up_to}):
            return False
        self.report.epoch = claim.epoch
        self.report.files = sum(r.file_count or 0 for r in rows)
        for r in rows:
            self.report.counts[r.status.value] += 1
            if r.status is not Status.PLANNED:
                log.warning("%s %s: %s", r.status, r.directory, r.error)
        outcomes = self._finish(claim.epoch, claim.claim_id, rows)
        self._settle(claim.epoch, [*open_rows, *rows, *outcomes])
        return True

    def _plan(self, claim: Claim, row: Consumer, up_to: Mapping[str, int]) -> tuple[LogRow, ...]:
        arrivals = self._ledger.arrivals(row.cursor, up_to)
        mapping = self._ledger.mapping()
        self.report.mapping_problems = len(mapping.problems)
        for problem in mapping.problems:
            log.warning("mapping table: %s", problem)
        routes = route(arrivals, mapping)
        return plan(claim, routes, self._starter.jobs_named(workflows(routes)))

    def _take(self, row: Consumer, claim: Claim, cursor: Mapping[str, int]) -> bool:
        """Take the epoch by compare-and-swap. The row itself tells who has it, whatever the statement
        answered."""
        for _ in range(_SWAPS):
            failed: FileArrivalsError | None = None
            try:
                self._ledger.swap(row, claim.claim_id, cursor)
            except FileArrivalsError as error:
                failed = error
                log.info("the compare-and-swap was not answered with success (%s); reading the row", error)
            now = self._ledger.consumer(row.consumer)
            if now is None:
                raise LedgerError(
                    f"The row of the consumer {row.consumer!r} was deleted while it was claimed"
                )
            if now.epoch == claim.epoch and now.claim_id == claim.claim_id:
                return True
            if now.epoch != row.epoch:
                return False
            if failed is not None and not failed.retryable:
                raise failed
        raise ClaimContended(self._options.consumer, _SWAPS)


def capped(batches: Sequence[Batch], max_directories: int) -> dict[str, int]:
    """How far a claim goes in each stream: whole batches, in order, up to so many directories, and at least
    one."""
    up_to: dict[str, int] = {}
    taken = 0
    full: set[str] = set()
    for batch in sorted(batches, key=lambda b: (b.batch_id, b.stream_id)):
        if up_to and taken + batch.directories > max_directories:
            full.add(batch.stream_id)
        if batch.stream_id not in full:
            taken += batch.directories
            up_to[batch.stream_id] = batch.batch_id
    return up_to
