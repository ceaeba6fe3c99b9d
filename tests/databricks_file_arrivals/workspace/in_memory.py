"""The protocol's world in memory: tables, a Jobs API and operators that are stopped at each of their calls.

It is driven one call at a time: each operator waits on a thread of its own until it is told how its next call
ends. So every interleaving, crash, lost answer and late write can be played, and played again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, TypeVar

from databricks_file_arrivals.core.errors import (
    ClaimContended,
    FileArrivalsError,
    LedgerError,
    Refused,
    StatementFailed,
    WorkspaceUnavailable,
)
from databricks_file_arrivals.core.expectations import Seen
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from databricks_file_arrivals.core.planning import Arrivals, Gap, Job, Picks, RunKey, Wanted
from databricks_file_arrivals.core.replays import Known, Selection
from databricks_file_arrivals.core.routing import Router
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog, Batch
from databricks_file_arrivals.workspace.awaiting import AwaitedRequests
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.ledger import ENDED, FAILING, TAKEN_ON, Consumer, Ledger, Requested
from databricks_file_arrivals.workspace.replays import ChosenOutcomes, Replayer
from databricks_file_arrivals.workspace.requests import OneRequest
from tests.databricks_file_arrivals.core.planned import (
    NOON,
    ROOTS,
    File,
    aggregate,
    inside,
    occupied,
    picked,
    selected,
    takers,
)

T = TypeVar("T")
CONSUMER = "default"


class Died(BaseException):
    """What a killed process is: nothing catches it."""


class Fate(str, Enum):
    """How a call ends."""

    DONE = "done"
    REFUSED = "no effect, and an error that may pass"
    LOST = "the effect, and no answer"
    LATE = "an error, and the effect later"
    TWICE = "the effect twice"
    VANISHED = "an answer, and no effect (of what is read back)"
    DIED_BEFORE = "killed before the effect"
    DIED_AFTER = "killed after the effect"


@dataclass
class Claimed:
    """A claim that was won: what it read, by which rules."""

    claim_id: str
    window: dict[str, tuple[int, int]]
    mapping: WorkflowMapping


@dataclass
class World:
    """The tables and the Jobs API. `meant` is what has to be started, or ended, for each file."""

    now: datetime = NOON
    log: list[File] = field(default_factory=list)
    rows: list[LogRow] = field(default_factory=list)
    consumer: Consumer = field(default_factory=lambda: Consumer(CONSUMER, 0, None, {}, 0, None, False, NOON))
    mapping: WorkflowMapping = field(default_factory=WorkflowMapping)
    runs: dict[str, Run] = field(default_factory=dict)
    """By token."""
    won: list[Claimed] = field(default_factory=list)
    late: list[Callable[[], object]] = field(default_factory=list)
    handed_out: list[str] = field(default_factory=list)
    """The trigger_ids that tasks were to start, in the order in which plans gave them."""

    def closed(self) -> set[str]:
        return {r.claim_id for r in self.rows if r.status is Status.CLAIMED}

    def trusted(self) -> list[LogRow]:
        """The rows that count."""
        claims = {*self.closed(), self.consumer.claim_id}
        return [r for r in self.rows if r.claim_id in claims]

    def open_holds(self, since: int = 0) -> list[LogRow]:
        closed = self.closed()
        newest: dict[tuple[object, ...], list[LogRow]] = {}
        for row in self.rows:
            if not row.rule_id or row.replay_of or not row.file_count or row.epoch < since:
                continue
            if row.claim_id in closed:
                key = (row.rule_id, row.stream_id, row.directory)
                same = newest.setdefault(key, [row])
                if row.epoch > same[0].epoch:
                    newest[key] = [row]
                elif row.epoch == same[0].epoch:
                    same.append(row)
        held = {r.trigger_id: r for same in newest.values() for r in same if r.status is Status.HELD}
        return list(held.values())

    def meant(self) -> Counter[tuple[str, int]]:
        """For each rule (or UNMAPPED, INACTIVE) and file, how often it has to be covered: once."""
        found: Counter[tuple[str, int]] = Counter()
        for claimed in self.won:
            router = Router(claimed.mapping)
            for i, f in enumerate(self.log):
                if inside(f, claimed.window):
                    found.update((taker, i) for taker in takers(f, router))
        return found

    def executed(self) -> Counter[tuple[str, int]]:
        """For each rule and file, how many runs were executed that were told of it: a job reads the PLANNED
        row of its trigger_id. A run that has failed and is followed by another attempt, or by a replay,
        does not count."""
        told = {r.trigger_id: r for r in reversed(self.rows) if r.status is Status.PLANNED}

        def origin(row: LogRow) -> object:
            return origin(told[row.replay_of]) if row.replay_of else (row.claim_id, row.place)

        newest = {origin(told[token]): token for token in self.runs}
        found: Counter[tuple[str, int]] = Counter()
        for token, run in self.runs.items():
            row = told[token]
            followed = newest[origin(row)] != token
            if not run.never_ran and not (run.ended and not run.succeeded and followed):
                found.update((str(row.rule_id), i) for i in selected(row, self.log))
        return found

    def ended(self) -> Counter[tuple[str, int]]:
        """For each rule and file, in how many ends without a run it is, in claims that count."""
        ends = (Status.UNMAPPED, Status.INACTIVE, Status.NO_SUCH_WORKFLOW, Status.COALESCED)
        rows = {r.trigger_id: r for r in self.rows if r.status in ends and r.claim_id in self.closed()}
        return Counter((str(r.rule_id or r.status), i) for r in rows.values() for i in selected(r, self.log))


class MemoryLedger(Ledger):
    """The trigger log and the consumers, by the words of the ledger's statements."""

    def __init__(self, world: World, operator: Operator) -> None:
        self.names = Names.of("main.ingest.file_log")
        self._world = world
        self._call = operator.call
        self._read = WorkflowMapping()

    def check_version(self) -> None:
        pass

    def consumer(self, consumer: str) -> Consumer | None:
        def read() -> Consumer:
            row, now = self._world.consumer, self._world.now
            return replace(row, now=now, overdue=row.next_due is not None and row.next_due <= now)

        return self._call(read)

    def mapping(self) -> WorkflowMapping:
        self._read = self._call(lambda: self._world.mapping)
        return self._read

    def open_rows(self, row: Consumer) -> list[LogRow]:
        def read() -> list[LogRow]:
            later = {
                (r.claim_id, r.place)
                for r in self._world.rows
                if (r.attempt or 0) > 1 and (r.recorded_at or row.now) >= row.seen_up_to
            }
            open_from = min(row.open_from, row.epoch)
            older = [r for r in self._world.rows if r.epoch < open_from and (r.claim_id, r.place) in later]
            rows = [r for r in self._world.rows if r.epoch >= open_from]
            failed = {r.trigger_id for r in rows if r.status in FAILING}
            over = {r.trigger_id for r in rows if r.status in ENDED}
            closing = [r for r in rows if r.claim_id == row.claim_id and r.status is Status.CLAIMED]
            closed = {r.claim_id for r in rows if r.status is Status.CLAIMED}
            begun = {r.trigger_id for r in rows if r.status is not Status.PLANNED}
            return older + [
                r
                for r in rows
                if (r.attempt or 0) > 1
                or (r.trigger_id and r.trigger_id in failed)
                or (r.status is Status.TRIGGERED and r.trigger_id not in over)
                or (r.status is Status.PLANNED and r.claim_id in closed and r.trigger_id not in begun)
                or r in closing
                or (r.claim_id == row.claim_id and not closing)
            ]

        return self._call(read)

    def holds(self, row: Consumer) -> list[LogRow]:
        return self._call(lambda: self._world.open_holds(min(row.open_from, row.epoch)))

    def request(self, trigger_id: str) -> Requested:
        def read() -> Requested:
            rows = self._world.rows
            places = {(r.claim_id, r.place) for r in rows if r.trigger_id == trigger_id}
            claims = {claim for claim, _ in places}
            found = (
                r
                for r in rows
                if (r.claim_id, r.place) in places or (r.status is Status.CLAIMED and r.claim_id in claims)
            )
            return Requested(tuple(found), self._world.now)

        return self._call(read)

    def of_task(self, consumer: str, task: Mapping[str, str], since: datetime) -> Requested:
        def read() -> Requested:
            mine = {
                (r.claim_id, r.place)
                for r in self._world.rows
                if r.status in TAKEN_ON
                and all(getattr(r, key) == value for key, value in task.items())
                and (r.recorded_at or since) >= since
            }
            closed = self._world.closed()
            rows = (r for r in self._world.rows if r.claim_id in closed and (r.claim_id, r.place) in mine)
            return Requested(tuple(rows), self._world.now)

        return self._call(read)

    def last_starts(self, consumer: str, rule_ids: Iterable[str], since: datetime) -> dict[RunKey, datetime]:
        wanted = set(rule_ids)

        def read() -> dict[RunKey, datetime]:
            found: dict[RunKey, datetime] = {}
            for r in self._world.rows:
                if r.status is Status.TRIGGERED and r.rule_id in wanted and r.recorded_at:
                    key = (str(r.rule_id), str(r.directory))
                    found[key] = max(r.recorded_at, found.get(key, r.recorded_at))
            return {key: at for key, at in found.items() if at > since}

        return self._call(read)

    def seen(self, consumer: str, rule_ids: Iterable[str], since: datetime) -> dict[RunKey, Seen]:
        return self._call(dict)

    def _replays(self, consumer: str, ids: Sequence[str]) -> set[str]:
        return self._call(lambda: {str(r.replay_of) for r in self._world.trusted()} & set(ids))

    def append(self, rows: Iterable[LogRow]) -> None:
        rows = list(rows)

        def write() -> None:
            self._world.rows += [replace(r, recorded_at=self._world.now) for r in rows]

        self._call(write, writes=True, read_back=True)

    def statuses(self, claims: Mapping[str, int]) -> list[tuple[str, Status, str | None]]:
        def read() -> list[tuple[str, Status, str | None]]:
            return [(r.claim_id, r.status, r.trigger_id) for r in self._world.rows if r.claim_id in claims]

        return self._call(read)

    def swap(self, row: Consumer, claim_id: str, cursor: Mapping[str, int]) -> bool:
        mapping = self._read

        def write() -> bool:
            world = self._world
            if world.consumer.epoch != row.epoch:
                return False
            before = world.consumer.cursor
            window = {s: (before.get(s, -1), last) for s, last in cursor.items()}
            world.won.append(Claimed(claim_id, window, mapping))
            world.consumer = replace(
                world.consumer,
                epoch=row.epoch + 1,
                claim_id=claim_id,
                cursor=dict(cursor),
                next_due=world.now,
            )
            return True

        return self._call(write, writes=True)

    def settle(
        self, consumer: str, epoch: int, next_due: datetime | None, open_from: int, at: datetime
    ) -> None:
        def write() -> None:
            if self._world.consumer.epoch == epoch:
                changed = replace(self._world.consumer, next_due=next_due, open_from=open_from, updated_at=at)
                self._world.consumer = changed

        self._call(write, writes=True)

    def look_by(self, consumer: str, due: datetime) -> None:
        def write() -> None:
            before = self._world.consumer.next_due
            self._world.consumer = replace(self._world.consumer, next_due=min(before or due, due))

        self._call(write, writes=True)


class MemoryArrivalLog(ArrivalLog):
    """The arrival log."""

    def __init__(self, world: World, operator: Operator) -> None:
        self._world = world
        self._call = operator.call

    def new_batches(self, cursor: Mapping[str, int]) -> list[Batch]:
        def read() -> list[Batch]:
            new = sorted({(f.stream_id, f.batch_id) for f in self._world.log})
            return [Batch(s, b, 1) for s, b in new if b > cursor.get(s, -1)]

        return self._call(read)

    def arrivals(self, after: Mapping[str, int], up_to: Mapping[str, int]) -> list[Arrivals]:
        window = {stream: (after.get(stream, -1), last) for stream, last in up_to.items()}
        return self._call(lambda: aggregate(self._world.log, window))

    def picks(self, wanted: Sequence[Wanted]) -> Picks:  # type: ignore[override]  # a mapping is enough
        return self._call(lambda: picked(self._world.log, wanted))

    def occupied(self, gaps: Sequence[Gap]) -> frozenset[Gap]:
        return self._call(lambda: occupied(self._world.log, gaps))


class MemoryJobs:
    """A Jobs API whose runs the test moves on: a token is one run, whoever sends it."""

    def __init__(self, world: World, operator: Operator) -> None:
        self._world = world
        self._call = operator.call

    def jobs_named(self, names: Iterable[str]) -> Mapping[str, Sequence[Job]]:
        return self._call(lambda: {name: [] if name == "missing" else [Job(1)] for name in names})

    def start(self, rows: Sequence[LogRow]) -> Sequence[int | FileArrivalsError]:
        return [self._one(row) for row in rows]

    def _one(self, row: LogRow) -> int | FileArrivalsError:
        def accept() -> int:
            token = str(row.trigger_id)
            runs = self._world.runs
            if token not in runs:
                runs[token] = Run(len(runs) + 1, 1, "QUEUED")
            return runs[token].run_id

        if row.workflow_name == "refused":
            return Refused(403, "PERMISSION_DENIED", "no")
        try:
            return self._call(accept, writes=True)
        except FileArrivalsError as error:
            return WorkspaceUnavailable(str(error))

    def active_runs(self) -> Mapping[int, Run]:
        return self._call(lambda: {r.run_id: r for r in self._world.runs.values() if not r.ended})

    def ended_runs(self, rows: Sequence[LogRow]) -> Mapping[int, Run]:
        wanted = {row.started_run_id for row in rows}
        return self._call(lambda: {r.run_id: r for r in self._world.runs.values() if r.run_id in wanted})


class MemoryOutcomes(ChosenOutcomes):
    """What a person may choose: requests whose runs have failed."""

    def __init__(self, world: World, operator: Operator) -> None:
        self._world = world
        self._call = operator.call

    def chosen(self, selection: Selection) -> list[LogRow]:
        def read() -> list[LogRow]:
            return [r for r in latest(self._world.trusted()).values() if r.status is Status.FAILED]

        return self._call(read)

    def plans_dry_runs(self, consumer: str) -> bool:
        return False

    def failures(self, rows: Sequence[LogRow]) -> dict[str, Known]:
        return {}


class MemoryReplayer(Replayer):
    """The replayer over these parts."""

    def __init__(self, world: World, operator: Operator, options: Options) -> None:
        ledger, arrivals = MemoryLedger(world, operator), MemoryArrivalLog(world, operator)
        Claimer.__init__(self, ledger, arrivals, MemoryJobs(world, operator), options, clock=lambda: 0.0)
        self._outcomes = MemoryOutcomes(world, operator)

    def _started(self, rows: Sequence[LogRow], known: Mapping[str, Known]) -> dict[str, str]:
        assert not rows, "a run that has failed is known"
        return {}


def in_order(reads: Sequence[Callable[[], Any]]) -> list[Any]:
    """What is read at once, one after the other: an operator stops at its calls one by one."""
    return [read() for read in reads]


def last_first(reads: Sequence[Callable[[], Any]]) -> list[Any]:
    """The same in the other order, because threads may take any."""
    return [read() for read in reversed(reads)][::-1]


class Operator:
    """A pass of a claimer, stopped at each of its calls. With `hand_out` it is one that plans for tasks."""

    def __init__(
        self,
        world: World,
        last_try: bool,
        hand_out: int = 0,
        at_once: Callable[[Sequence[Callable[[], Any]]], list[Any]] = in_order,
    ) -> None:
        self._world = world
        self._at_once = at_once
        self._asks = threading.Semaphore(0)
        self._answers = threading.Semaphore(0)
        self._fate = Fate.DONE
        self.writes = False
        self.ended = False
        self.error: BaseException | None = None
        self._options = Options(
            CONSUMER,
            "main.ingest.file_log",
            give_up_after=timedelta(hours=2),
            last_try=last_try,
            hand_out=hand_out,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._asks.acquire()

    def _work(self) -> None:
        ledger, arrivals = MemoryLedger(self._world, self), MemoryArrivalLog(self._world, self)
        jobs = MemoryJobs(self._world, self)
        claimer = Claimer(ledger, arrivals, jobs, self._options, lambda: 0.0, at_once=self._at_once)
        report = claimer.run()
        self._world.handed_out += [str(row.trigger_id) for row in report.handed_out]

    def _run(self) -> None:
        try:
            self._work()
        except (Died, FileArrivalsError) as error:
            self.error = error
        except BaseException as error:  # whatever else it is fails the test, in `step`
            self.error = AssertionError(f"the operator broke: {error!r}").with_traceback(error.__traceback__)
        self.ended = True
        self._asks.release()

    def call(self, effect: Callable[[], T], writes: bool = False, read_back: bool = False) -> T:
        """A call of the operator, on its own thread: it waits for its fate."""
        self.writes = writes
        self._asks.release()
        self._answers.acquire()
        fate = self._fate
        if fate is Fate.DIED_BEFORE:
            raise Died
        if fate is Fate.LATE and writes:
            self._world.late.append(effect)
        if fate in (Fate.REFUSED, Fate.LATE):
            raise StatementFailed("FAILED", "", "no answer", retryable=True)
        if fate is Fate.VANISHED and read_back:
            return None  # type: ignore[return-value]  # what is read back answers nothing
        value = effect()
        if fate is Fate.TWICE and writes:
            value = effect()
        if fate is Fate.LOST:
            raise StatementFailed("FAILED", "", "the answer was lost", retryable=True)
        if fate is Fate.DIED_AFTER:
            raise Died
        return value

    def step(self, fate: Fate) -> None:
        """Let the next call happen, and wait for the one after it or the end."""
        assert not self.ended
        self._fate = fate
        self._answers.release()
        self._asks.acquire()
        if isinstance(self.error, AssertionError):
            raise self.error


class RunTask(Operator):
    """A task that starts one request, stopped at each of its calls."""

    def __init__(self, world: World, trigger_id: str, last_try: bool = True, again: bool = False) -> None:
        self._trigger_id = trigger_id
        self._again = again
        super().__init__(world, last_try)

    def _work(self) -> None:
        task = OneRequest(
            MemoryLedger(self._world, self),
            MemoryJobs(self._world, self),
            self._options,
            clock=lambda: 0.0,
        )
        task.run(self._trigger_id, again=self._again)


class WaitingTask(Operator):
    """A try of a task that claims, waits and records, stopped at each of its calls. With `again` it is not
    the first one."""

    TASK: ClassVar[Mapping[str, str]] = {"dag_id": "d", "dag_run_id": "r", "task_id": "t"}

    def __init__(self, world: World, last_try: bool, again: bool = False) -> None:
        self._again = again
        super().__init__(world, last_try)

    def _work(self) -> None:
        self._options = replace(self._options, stamp=self.TASK)
        super()._work()
        if self._again:
            self._awaited().run_again()
        self._awaited().look(over=False)  # however far the runs are by then

    def _awaited(self) -> AwaitedRequests:
        ledger = MemoryLedger(self._world, self)
        found = ledger.of_task(CONSUMER, self.TASK, NOON - timedelta(days=1))
        jobs = MemoryJobs(self._world, self)
        return AwaitedRequests(ledger, jobs, self._options, found, clock=lambda: 0.0)


class PersonReplays(Operator):
    """A person's replay of all that has failed, stopped at each of its calls."""

    def _work(self) -> None:
        MemoryReplayer(self._world, self, self._options).replay(Selection(consumer=CONSUMER))


EXPECTED_ERRORS = (Died, ClaimContended, LedgerError, StatementFailed, WorkspaceUnavailable)


def ended(operator: Operator) -> None:
    """Let an operator come to its end without faults."""
    while not operator.ended:
        operator.step(Fate.DONE)
    if operator.error is not None:
        raise operator.error


def finish(world: World, last_try: bool = True) -> None:
    """One pass without faults."""
    ended(Operator(world, last_try))


def plan_and_run(world: World, most: int = 2) -> None:
    """The same by tasks: one that plans, and one for each request that it hands out."""
    before = len(world.handed_out)
    ended(Operator(world, True, hand_out=most))
    for trigger_id in world.handed_out[before:]:
        ended(RunTask(world, trigger_id))


def recover(world: World, mapped: bool = False) -> None:
    """All that was late lands, every run goes on, and operators of one form come whenever something is
    due."""
    for effect in world.late:
        effect()
    world.late.clear()
    for _ in range(400):  # two requests a pass, where tasks start them
        (plan_and_run if mapped else finish)(world)
        for token, run in world.runs.items():
            if not run.ended:
                world.runs[token] = replace(run, state="TERMINATED", result="SUCCESS")
        due = world.consumer.next_due
        newest = {s: max((f.batch_id for f in world.log if f.stream_id == s), default=-1) for s in ROOTS}
        behind = any(last > world.consumer.cursor.get(s, -1) for s, last in newest.items())
        if due is None and not behind:
            return
        world.now = max(world.now, due or world.now) + timedelta(seconds=1)
    raise AssertionError(f"it never comes to rest: {world.consumer}")
