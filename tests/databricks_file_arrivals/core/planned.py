"""A log in memory and what the warehouse answers of it: planning without tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.patterns import matches
from databricks_file_arrivals.core.planning import (
    Arrivals,
    Claim,
    Decision,
    Gap,
    Job,
    Picks,
    Situation,
    Wanted,
    decide,
    gaps,
    matched,
    plan,
    route,
    wanted,
)
from databricks_file_arrivals.core.routing import Router

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
ROOTS = {"s1": "/in", "s2": "s3://bucket/land/", "s3": "dbfs:/in/a"}
REQUESTED = (Status.PLANNED, Status.NO_SUCH_WORKFLOW, Status.COALESCED)


@dataclass(frozen=True)
class File:
    """A row of the arrival log."""

    stream_id: str
    batch_id: int
    directory: str
    name: str
    size: int = 1
    logged_at: datetime = NOON

    @property
    def root(self) -> str:
        return ROOTS[self.stream_id]


Window = Mapping[str, tuple[int, int]]
"""By stream: the batches after one and up to another."""


def inside(f: File, window: Window) -> bool:
    after, up_to = window.get(f.stream_id, (0, -1))
    return after < f.batch_id <= up_to


def totals(group: Sequence[File], after: int, up_to: int) -> Arrivals:
    return Arrivals(
        stream_id=group[0].stream_id,
        root=group[0].root,
        directory=group[0].directory,
        after=after,
        up_to=up_to,
        first_batch=min(f.batch_id for f in group),
        last_batch=max(f.batch_id for f in group),
        file_count=len(group),
        total_bytes=sum(f.size for f in group),
        first_at=min(f.logged_at for f in group),
        last_at=max(f.logged_at for f in group),
    )


def aggregate(log: Iterable[File], window: Window) -> list[Arrivals]:
    """What the warehouse answers for a window of the arrival log."""
    groups: dict[tuple[str, str], list[File]] = defaultdict(list)
    for f in log:
        if inside(f, window):
            groups[f.stream_id, f.directory].append(f)
    return [totals(group, *window[stream]) for (stream, _), group in groups.items()]


def picked(log: Iterable[File], asked: Iterable[Wanted]) -> Picks:
    """What the warehouse answers when files are to be told apart by name."""
    log = list(log)
    found: dict[tuple[str, str, int], dict[str | None, Arrivals]] = {}
    for a, patterns in asked:
        groups: dict[str | None, list[File]] = defaultdict(list)
        for f in log:
            if (f.stream_id, f.directory) == (a.stream_id, a.directory) and a.after < f.batch_id <= a.up_to:
                hits: list[str | None] = [p for p in patterns if matches(f.name, p)]
                for pattern in hits or [None]:
                    groups[pattern].append(f)
        found[a.stream_id, a.directory, a.after] = {
            pattern: totals(group, a.after, a.up_to) for pattern, group in groups.items()
        }
    return found


def occupied(log: Iterable[File], between: Iterable[Gap]) -> frozenset[Gap]:
    """The gaps in which the log has files."""
    log = list(log)
    return frozenset(
        gap
        for gap in between
        if any(
            (f.stream_id, f.directory) == (gap.stream_id, gap.directory)
            and gap.after < f.batch_id <= gap.up_to
            for f in log
        )
    )


def selected(row: LogRow, log: Sequence[File]) -> list[int]:
    """The places in the log of a row's files, by the design's sentence on what the files of a row are."""
    return [
        i
        for i, f in enumerate(log)
        if f.stream_id == row.stream_id
        and (found := (row.directories or {}).get(f.directory)) is not None
        and found.after < f.batch_id <= found.up_to
        and (row.file_pattern is None or matches(f.name, row.file_pattern))
        and not any(matches(f.name, pattern) for pattern in row.excluded_patterns or ())
    ]


def takers(f: File, router: Router) -> set[str]:
    """Who a file belongs to: the ids of the rules that pick it, else UNMAPPED or INACTIVE; nobody takes a
    marker that no pattern picks."""
    match = router.match(f.directory, f.root)
    if not match.active:
        return {"INACTIVE" if match.rules else "UNMAPPED"}
    rules = {r.rule_id for r in match.rules if r.file_pattern is None or matches(f.name, r.file_pattern)}
    marker = any(r.completion_marker == f.name for r in match.rules)
    return rules or (set() if marker else {"UNMAPPED"})


def owner(row: LogRow) -> str:
    """Whom a row stands for."""
    return str(row.rule_id or row.status)


@dataclass
class Planned:
    """A consumer's claims, one after the other, on a log in memory."""

    log: list[File] = field(default_factory=list)
    rows: list[LogRow] = field(default_factory=list)
    cursor: dict[str, int] = field(default_factory=dict)
    epoch: int = 0
    meant: Counter[tuple[str, int]] = field(default_factory=Counter)
    """For each owner and file, how often it has to be covered in the end."""

    def holds(self) -> list[LogRow]:
        """The open holds: of each key the rows of the newest epoch, where those are holds."""
        newest: dict[tuple[object, ...], list[LogRow]] = {}
        for row in self.rows:
            if row.rule_id is not None and row.replay_of is None and row.file_count:
                key = (row.rule_id, row.stream_id, row.directory)
                same = newest.get(key)
                if same and same[0].epoch == row.epoch:
                    same.append(row)
                elif not same or same[0].epoch < row.epoch:
                    newest[key] = [row]
        return [row for same in newest.values() for row in same if row.status is Status.HELD]

    def decided(self, mapping: WorkflowMapping, now: datetime, window: Window) -> tuple[Decision, ...]:
        pairs = matched(aggregate(self.log, window), mapping)
        routes = route(pairs, picked(self.log, wanted(pairs)))
        holds = self.holds()
        situation = Situation(now, holds, occupied(self.log, gaps(routes, holds)))
        return decide(routes, mapping, situation)

    def claim(
        self, mapping: WorkflowMapping, now: datetime, up_to: Mapping[str, int] | None = None
    ) -> tuple[LogRow, ...]:
        """Plan all that is new, or up to some batches."""
        newest: dict[str, int] = {}
        for f in self.log:
            newest[f.stream_id] = max(f.batch_id, newest.get(f.stream_id, -1))
        goal = newest if up_to is None else {s: min(up_to.get(s, -1), last) for s, last in newest.items()}
        window = {s: (self.cursor.get(s, -1), last) for s, last in goal.items()}
        self.epoch += 1
        claim = Claim("default", f"c{self.epoch}", self.epoch, "main.ingest.file_log")
        decisions = self.decided(mapping, now, window)
        jobs = {d.rule.workflow_name: [Job(1)] for d in decisions if d.rule}
        rows = plan(claim, decisions, jobs)
        router = Router(mapping)
        for i, f in enumerate(self.log):
            if inside(f, window):
                self.meant.update((taker, i) for taker in takers(f, router))
        self.rows += rows
        self.cursor |= {s: last for s, (_, last) in window.items()}
        return rows

    def covered(self) -> Counter[tuple[str, int]]:
        """For each owner and file, how often it is covered: by requests, ends and what is still held."""
        ended = [row for row in self.rows if row.status is not Status.HELD]
        return Counter((owner(row), i) for row in [*ended, *self.holds()] for i in selected(row, self.log))


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)
