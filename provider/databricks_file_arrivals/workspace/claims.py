"""The claim protocol: finish the last claim, plan, take the epoch, start the runs, record. Exactly once,
and why:

The plan is appended before it counts, read back and counted, and counts from the compare-and-swap on. Who
wins the epoch starts the runs, each with a token that is a function of its stored row. Whoever comes later,
for whatever reason, first finishes the claim that was won last, from its rows alone. So a crash, a lost
answer, a repeated task or a second operator at the same time changes nothing but who does the work.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from databricks_file_arrivals.core.errors import ClaimContended, FileArrivalsError, LedgerError
from databricks_file_arrivals.core.expectations import REMEMBERED, expecting, overdue
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from databricks_file_arrivals.core.planning import (
    Arrivals,
    Claim,
    Decision,
    Route,
    RunKey,
    Situation,
    decide,
    gaps,
    kept,
    large,
    matched,
    next_due,
    plan,
    route,
    wanted,
    workflows,
)
from databricks_file_arrivals.core.signals import ConsumerPointer
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog, Batch
from databricks_file_arrivals.workspace.ledger import FAILING, Consumer, Ledger
from databricks_file_arrivals.workspace.starts import HandOut, Report, Starter, Starts

log = logging.getLogger(__name__)

_CONTENDED = 5
_TO_START = (Status.PLANNED, *FAILING)
_SWAPS = 5


@dataclass(frozen=True, slots=True)
class Options:
    """How a claim is made. `stamp` goes into every row that is written: who wrote it."""

    consumer: str
    log_table: str
    start_from: str | Mapping[str, int] = "latest"
    give_up_after: timedelta = timedelta(days=1)
    max_directories: int = 10_000
    max_requests: int = 10_000
    dry_run: bool = False
    hand_out: int = 0
    """Hand out so many requests at most, for tasks of their own; 0: start them."""
    last_try: bool = True
    stamp: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    """What jobs are told of who started them, where they declare it."""
    tell_of_holds: Callable[[Sequence[LogRow], datetime], datetime | None] = lambda holds, now: None
    """When the next of these holds is to be told of, after now."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was not written yet: its rows, how far it reads, and what it leaves open."""

    claim: Claim
    rows: tuple[LogRow, ...]
    up_to: Mapping[str, int]
    next_due: datetime | None = None
    held: tuple[LogRow, ...] = ()
    """All that is held once it counts: what stays as it is stored, and its own rows."""


def side_by_side(reads: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make reads that depend on nothing but what is known, in threads: what each gave, in their order. Raises
    the first error in that order.

    They ask the workspace and never Airflow, whose channel to a task's supervisor threads may not share
    before 3.3: what the connection says is known once it was used.
    """
    with ThreadPoolExecutor(len(reads)) as pool:
        futures = [pool.submit(read) for read in reads]
    failures = [future.exception() for future in futures if future.exception()]
    for failure in failures[1:]:
        log.warning("another read failed too: %s", failure)
    return [future.result() for future in futures]


class Claimer:
    """One operator's pass over the ledger; may be repeated, doubled or killed at any point."""

    def __init__(
        self,
        ledger: Ledger,
        arrival_log: ArrivalLog,
        starter: Starter,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
        at_once: Callable[[Sequence[Callable[[], Any]]], list[Any]] = side_by_side,
    ) -> None:
        self._ledger = ledger
        self._arrival_log = arrival_log
        self._starter = starter
        self._options = options
        self._clock = clock
        self._at_once = at_once
        self._read: tuple[datetime, float] | None = None
        self.report = Report()
        self.pointer: ConsumerPointer | None = None
        """How far the consumer is now, for the signal volume; None where that is not known."""

    def _now(self) -> datetime:
        """The warehouse's time: one clock decides what is due, here and for the sensor."""
        assert self._read is not None, "the consumer's row tells the time"
        now, at = self._read
        return now + timedelta(seconds=self._clock() - at)

    def _starts(self) -> Starts:
        given = self._options
        begin = partial(HandOut, given.hand_out) if given.hand_out else Starts
        return begin(
            self._ledger,
            self._starter,
            self.report,
            self._now,
            consumer=given.consumer,
            give_up_after=given.give_up_after,
            stamp=given.stamp,
        )

    def run(self) -> Report:
        """Do all that is due. Raises ClaimContended, and what the ledger and the Jobs API raise before a
        claim."""
        for _ in range(_CONTENDED):
            row = self._consumer()
            starts = self._starts()
            open_rows, batches = self._reads(row)
            open_rows += self._finish(row, starts, open_rows)
            waits = any(r.status in _TO_START for r in latest(open_rows).values())
            idle = not batches and not waits and row.next_due is None and row.open_from >= row.epoch
            if idle:
                self._point(row.epoch, row.cursor, None)
            if idle or self._pass(row, starts, open_rows, batches):
                self.report.handed_out = list(starts.given)
                return self.report
            log.info("another operator took epoch %d of consumer %s", row.epoch + 1, row.consumer)
        raise ClaimContended(self._options.consumer, _CONTENDED)

    def _consumer(self) -> Consumer:
        """The consumer's row, read once before anything of the ledger: its epoch is the one that is
        swapped."""
        consumer = self._options.consumer
        try:
            row = self._ledger.consumer(consumer)
        except (FileArrivalsError, KeyError):
            self._ledger.check_version()  # tables of another version have other columns
            raise
        if row is None:
            self._ledger.check_version()
            self._ledger.make_consumer(consumer, self._options.start_from)
            row = self._ledger.consumer(consumer)
            log.info("made the consumer %s, starting from %s", consumer, self._options.start_from)
        if row is None:
            table = self._ledger.names.consumers
            raise LedgerError(
                f"The consumer {consumer!r} was made and is not there: is {table} being replaced?"
            )
        self._read = (row.now, self._clock())
        self.report.looked, self.report.now = row.updated_at if row.claim_id else None, row.now
        return row

    def _reads(self, row: Consumer) -> tuple[list[LogRow], list[Batch]]:
        """What is open, and the batches that are new, read at once."""
        _, open_rows, batches = self._at_once(
            [
                self._ledger.check_version,
                partial(self._ledger.open_rows, row),
                partial(self._arrival_log.new_batches, row.cursor),
            ]
        )
        return open_rows, batches

    def finish_last(self, row: Consumer, starts: Starts) -> None:
        """Finish the claim that was won last unless that was done; it reads rows and plans nothing again."""
        self._finish(row, starts, self._ledger.open_rows(row))

    def _finish(self, row: Consumer, starts: Starts, open_rows: Sequence[LogRow]) -> list[LogRow]:
        """Finish the last claim, given what is open: the rows that it has written, none if it was finished
        before."""
        claim = [r for r in open_rows if r.claim_id == row.claim_id]
        if row.claim_id is None or any(r.status is Status.CLAIMED for r in claim):
            return []
        log.info("finishing epoch %d of consumer %s, which another try left", row.epoch, row.consumer)
        self.report.decided(claim)  # whoever planned it has told nobody
        self._count(latest(claim).values())
        leave = not self._options.last_try
        return starts.finish(row.epoch, row.claim_id, claim, leave=leave)

    def _pass(self, row: Consumer, starts: Starts, open_rows: list[LogRow], batches: Sequence[Batch]) -> bool:
        """Look after what was started, plan, and claim what came of it. False: another operator took the
        epoch."""
        waiting = batches
        up_to = capped(batches, self._options.max_directories)
        # Holds are read after the last claim was seen to be finished, because its own count only then; the
        # mapping after the batches, so that a rule counts that was there before they were.
        new = partial(self._arrival_log.arrivals, row.cursor, up_to) if batches else list
        holds: list[LogRow]
        arrivals: list[Arrivals]
        mapping: WorkflowMapping
        holds, arrivals, mapping = self._at_once(
            [partial(self._ledger.holds, row), new, self._ledger.mapping]
        )
        # Queues are looked at after the arrivals were read: what is queued by then will see them.
        outcomes, queued = starts.look(open_rows)
        open_rows += outcomes
        tried = starts.try_again(open_rows)
        open_rows += tried
        accepted = (r for r in tried if r.status is Status.TRIGGERED)
        queued |= {_run_key(r): r.job_trigger_time or self._now() for r in accepted}
        handed = {_run_key(r): self._now() for r in starts.given}
        if starts.room == 0:  # what has arrived stays unclaimed until there are tasks for it
            batches, arrivals, up_to = (), [], {}
        claim = Claim(
            row.consumer,
            uuid.uuid4().hex,
            row.epoch + 1,
            self._options.log_table,
            self._options.dry_run,
            self._options.lineage,
        )
        with large():
            planner = _Planner(
                self._ledger, self._arrival_log, self._starter, mapping, self._now(), queued, handed, waiting
            )
            planned = planner.plan(claim, arrivals, holds, up_to)
            while self._too_many(planned, starts.room) and (less := _halved(batches, planned.up_to)):
                arrivals = self._arrival_log.arrivals(row.cursor, less)
                planned = planner.plan(claim, arrivals, holds, less)
        self.report.mapping_problems = len(mapping.problems)
        if not batches and not planned.rows:
            self._settle(row.epoch, row.cursor, starts, planned, open_rows)
            return True
        if not self.claim(row, starts, planned, open_rows):
            return False
        taken = (b for b in waiting if b.batch_id <= planned.up_to.get(b.stream_id, -1))
        self.report.stream_lag = max((b.stream_lag for b in taken), default=None)
        return True

    def _too_many(self, planned: Planned, room: int | None) -> bool:
        most = self._options.max_requests
        return len(planned.rows) > (most if room is None else min(most, room))

    def _point(self, epoch: int, cursor: Mapping[str, int], next_due: datetime | None) -> None:
        log_table = str(self._ledger.names.log)
        self.pointer = ConsumerPointer(log_table, self._options.consumer, epoch, cursor, next_due)

    def _settle(
        self,
        epoch: int,
        cursor: Mapping[str, int],
        starts: Starts,
        planned: Planned,
        open_rows: Sequence[LogRow],
    ) -> None:
        """Tell who waits when to look again though nothing arrives."""
        left = starts.left(open_rows)
        # What is due by then is told of by this pass; the next one begins there.
        looked = self.report.now
        assert looked is not None, "the consumer's row tells the time"
        told_at = self._options.tell_of_holds(planned.held, looked)
        due = [t for t in (planned.next_due, left.next_due, told_at) if t is not None]
        epochs = [hold.epoch for hold in planned.held]
        epochs += [left.open_from] if left.open_from is not None else []
        self.report.holds = list(planned.held)
        look_at = min(due, default=None)
        self._ledger.settle(self._options.consumer, epoch, look_at, min(epochs, default=epoch), looked)
        self._point(epoch, cursor, look_at)

    def _count(self, rows: Iterable[LogRow]) -> None:
        """Count the files of a claim; those of a replay have arrived before."""
        for row in rows:
            self.report.files += row.file_count or 0
            self.report.arrived += (row.file_count or 0) if row.replay_of is None else 0

    def claim(
        self,
        row: Consumer,
        starts: Starts,
        planned: Planned,
        open_rows: Sequence[LogRow] | None,
        valid: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Write a plan, take the epoch and finish the claim. False: another operator took it, or the plan is
        not `valid` any more, which is asked last.

        Without `open_rows` nothing is settled: the next operator comes at once.
        """
        claim = planned.claim
        cursor = {**row.cursor, **planned.up_to}
        starts.write_plan(planned.rows)
        if not valid() or not self._take(row, claim, cursor):
            return False
        self.report.epoch = claim.epoch
        self._count(planned.rows)
        self.report.decided(planned.rows)
        for r in planned.rows:
            self.report.counts[r.status.value] += 1
        leave = not self._options.last_try
        outcomes = starts.finish(claim.epoch, claim.claim_id, planned.rows, leave=leave)
        if open_rows is not None:
            self._settle(claim.epoch, cursor, starts, planned, [*open_rows, *planned.rows, *outcomes])
        return True

    def _take(self, row: Consumer, claim: Claim, cursor: Mapping[str, int]) -> bool:
        """Take the epoch by compare-and-swap. Unless the statement says that it has changed the row, the row
        itself tells who has it."""
        failed: FileArrivalsError | None = None
        for _ in range(_SWAPS):
            failed = None
            try:
                if self._ledger.swap(row, claim.claim_id, cursor):
                    return True
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
        raise failed or ClaimContended(self._options.consumer, _SWAPS)


class _Planner:
    """Reads what a plan depends on, and plans."""

    def __init__(
        self,
        ledger: Ledger,
        arrival_log: ArrivalLog,
        starter: Starter,
        mapping: WorkflowMapping,
        as_of: datetime,
        queued: Mapping[RunKey, datetime],
        handed: Mapping[RunKey, datetime],
        waiting: Sequence[Batch],
    ) -> None:
        self._ledger = ledger
        self._arrival_log = arrival_log
        self._starter = starter
        self._as_of = as_of
        self._queued = queued
        self._handed = handed
        self._waiting = waiting
        self._mapping = mapping
        for problem in mapping.problems:
            log.warning("mapping table: %s", problem)

    def plan(
        self, claim: Claim, arrivals: Sequence[Arrivals], holds: Sequence[LogRow], up_to: Mapping[str, int]
    ) -> Planned:
        """The plan of these arrivals and of all that is held."""
        matches = matched(arrivals, self._mapping)
        asked = wanted(matches)
        picks = self._arrival_log.picks(asked) if asked else {}
        for a, _ in asked:
            if (a.stream_id, a.directory, a.after) not in picks:
                raise LedgerError(f"The arrivals of {a.directory} were there and are not: who edits the log?")
        routes = route(matches, picks)
        decisions = self._decide(claim, routes, holds)
        names = workflows(decisions)
        rows = plan(claim, decisions, self._starter.jobs_named(names) if names else {})
        # Of what is logged and not read yet nobody knows which directories it came to.
        behind = any(batch.batch_id > up_to.get(batch.stream_id, -1) for batch in self._waiting)
        silent, silence_due = ((), None) if behind else self._overdue(claim, routes)
        due = [t for t in (next_due(decisions), silence_due) if t is not None]
        held = kept(decisions) + tuple(row for row in rows if row.status is Status.HELD)
        return Planned(claim, rows + silent, up_to, min(due, default=None), held)

    def _decide(self, claim: Claim, routes: Sequence[Route], holds: Sequence[LogRow]) -> tuple[Decision, ...]:
        between = gaps(routes, holds)
        apart = {r.rule_id: r.min_interval_seconds for r in self._mapping.by_id.values()}
        asked = {
            rule_id
            for rule_id in (*(h.rule_id for h in holds), *(r.rule.rule_id for r in routes if r.rule))
            if rule_id is not None and apart.get(rule_id)
        }
        starts: dict[RunKey, datetime] = {}
        if asked:
            since = self._as_of - timedelta(seconds=max(apart[rule_id] for rule_id in asked))
            starts = self._ledger.last_starts(claim.consumer, asked, since)
        return decide(
            routes,
            self._mapping,
            Situation(
                as_of=self._as_of,
                holds=holds,
                occupied=self._arrival_log.occupied(between) if between else frozenset(),
                queued=frozenset(self._queued),
                last_starts={**self._queued, **starts, **self._handed},
            ),
        )

    def _overdue(self, claim: Claim, routes: Sequence[Route]) -> tuple[tuple[LogRow, ...], datetime | None]:
        rules = expecting(self._mapping)
        if not rules:
            return (), None
        longest = timedelta(seconds=max(r.expect_every_seconds for r in rules))
        since = self._as_of - max(REMEMBERED, 2 * longest)
        seen = self._ledger.seen(claim.consumer, [r.rule_id for r in rules], since)
        return overdue(claim, rules, seen, routes, self._as_of)


def _run_key(row: LogRow) -> RunKey:
    return row.rule_id or "", row.directory or ""


def capped(batches: Sequence[Batch], max_directories: int) -> dict[str, int]:
    """How far a claim goes in each stream: whole batches, in order, up to so many directories, and at least
    one."""
    up_to: dict[str, int] = {}
    taken = 0
    full: set[str] = set()
    for batch in _in_turn(batches):
        if up_to and taken + batch.directories > max_directories:
            full.add(batch.stream_id)
        if batch.stream_id not in full:
            taken += batch.directories
            up_to[batch.stream_id] = batch.batch_id
    return up_to


def _halved(batches: Sequence[Batch], up_to: Mapping[str, int]) -> dict[str, int]:
    """About half of the batches that a claim reads; none when it is one already."""
    taken = [b for b in batches if b.batch_id <= up_to.get(b.stream_id, -1)]
    return {b.stream_id: b.batch_id for b in _in_turn(taken)[: len(taken) // 2]}


def _in_turn(batches: Sequence[Batch]) -> list[Batch]:
    """The first batch of each stream, then the second of each, …: no stream waits for another to be done."""
    nth: Counter[str] = Counter()
    turns = []
    for batch in sorted(batches, key=lambda b: (b.stream_id, b.batch_id)):
        turns.append((nth[batch.stream_id], batch))
        nth[batch.stream_id] += 1
    return [batch for _, batch in sorted(turns, key=lambda turn: (turn[0], turn[1].stream_id))]
