"""The plan of a claim: values in, values out. No clock, no I/O, no logging.

Every arrival that is handed in is covered, for each rule that picked it, by exactly one row: a request
(PLANNED, DRY_RUN, NO_SUCH_WORKFLOW or COALESCED), a hold (HELD), or else one UNMAPPED or INACTIVE row. The
files of a row are a function of the row alone: of its stream, those whose parent directory is a key of
`directories`, whose batch is in that key's range, and whose name matches `file_pattern` and none of
`excluded_patterns`.

A plan is made in three steps, so that only what is needed is asked for in between: `route` sorts arrivals by
the rules that take them; `decide` says which of them go now, together with what was held before; `plan`
writes the rows, once the jobs of those that go are known.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from databricks_file_arrivals.core import parameters, paths
from databricks_file_arrivals.core.holds import BROKEN, LONGEST_LOOK, START_NOW, Verdict, Waiting, judge
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import RUN_ID, LogRow, Range, Status, identity
from databricks_file_arrivals.core.routing import Match, Router


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Arrivals of one parent directory of one stream in the batches `after` < batch_id <= `up_to`.

    Nothing else of that directory is in those batches. `first_batch` and `last_batch` are those that have
    files.
    """

    stream_id: str
    root: str
    directory: str
    after: int
    up_to: int
    first_batch: int
    last_batch: int
    file_count: int
    total_bytes: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A Databricks job: its id and the names of the parameters that it declares."""

    job_id: int
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose plan it is: the identity that all of its rows carry."""

    consumer: str
    claim_id: str
    epoch: int
    log_table: str
    dry_run: bool = False
    lineage: Mapping[str, str] = field(default_factory=dict)
    """More that jobs are told, where they declare it and their rule does not say otherwise."""


class Key(NamedTuple):
    """What a hold is kept by, within a consumer."""

    rule_id: str
    stream_id: str
    directory: str


RunKey: TypeAlias = "tuple[str, str]"
"""A rule's id and a directory: what runs are started for."""


class Gap(NamedTuple):
    """Batches of a parent directory between two ranges that may become one: `after` < batch_id <= `up_to`."""

    stream_id: str
    directory: str
    after: int
    up_to: int


class Wanted(NamedTuple):
    """Arrivals whose files have to be told apart by name: how many of them each pattern picks is asked."""

    arrivals: Arrivals
    patterns: tuple[str, ...]


Picks: TypeAlias = "Mapping[tuple[str, str, int], Mapping[str | None, Arrivals]]"
"""By stream, parent directory and `after`: the files that each pattern picks; under None those of none."""


@dataclass(frozen=True, slots=True)
class Route:
    """Arrivals that go together: those of one stream that one rule (or none, or only inactive ones) takes."""

    status: Status
    stream_id: str
    directory: str
    rule: MappingRule | None = None
    arrivals: tuple[Arrivals, ...] = ()
    excluded: tuple[str, ...] = ()
    marker_seen: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on beside the arrivals, all of it read after them.

    `occupied` are the gaps in which the log has files. `queued` and `last_starts` are by rule and directory.
    """

    as_of: datetime
    holds: Sequence[LogRow] = ()
    occupied: frozenset[Gap] = frozenset()
    queued: frozenset[RunKey] = frozenset()
    last_starts: Mapping[RunKey, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of all arrivals of a route, held ones included: the columns of its rows, and a verdict.

    `changed` is false of a hold that stays as it is stored: no row is written for it.
    """

    status: Status
    parts: tuple[LogRow, ...]
    rule: MappingRule | None = None
    verdict: Verdict = START_NOW
    changed: bool = True
    note: str = ""


@contextmanager
def large() -> Iterator[None]:
    """Plan without the garbage collector: a plan makes very many objects and no cycle of them, and the
    collector would walk over all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# Routes.


def matched(arrivals: Iterable[Arrivals], mapping: WorkflowMapping) -> list[tuple[Arrivals, Match]]:
    """The rules of each directory."""
    router = Router(mapping)
    return [(a, router.match(a.directory, a.root)) for a in arrivals]


def wanted(matches: Iterable[tuple[Arrivals, Match]]) -> list[Wanted]:
    """Which files have to be told apart by name, and by which patterns: markers are names too."""
    asked = ((a, _patterns(match)) for a, match in matches if match.active)
    return [Wanted(a, patterns) for a, patterns in asked if patterns]


def _patterns(match: Match) -> tuple[str, ...]:
    named = {rule.file_pattern for rule in match.rules} | {rule.completion_marker for rule in match.rules}
    return tuple(sorted(p for p in named if p is not None))


def route(matches: Iterable[tuple[Arrivals, Match]], picks: Picks) -> tuple[Route, ...]:
    """Sort arrivals by the rule that takes them. The result does not depend on the order of either input.

    `picks` answers `wanted(matches)`.
    """
    taken: dict[tuple[Status, str, str, str, tuple[str, ...]], list[Arrivals]] = defaultdict(list)
    rules: dict[str, MappingRule] = {}
    seen: set[Key] = set()
    notes: dict[str, str] = {}
    for a, match in matches:
        if not match.active:
            status = Status.INACTIVE if match.rules else Status.UNMAPPED
            directory = match.directory or _subdirectory(a)
            if match.rules:
                named = ", ".join(sorted({rule.workflow_name for rule in match.rules}))
                notes[directory] = f"only inactive rows of the mapping table name this directory: {named}"
            taken[status, a.stream_id, directory, "", ()].append(a)
            continue
        patterns = _patterns(match)
        by_pattern = picks.get((a.stream_id, a.directory, a.after), {}) if patterns else {}
        for rule in match.rules:
            picked = by_pattern.get(rule.file_pattern) if rule.file_pattern is not None else a
            marked = rule.completion_marker is not None and rule.completion_marker in by_pattern
            if picked is not None or marked:
                rules[rule.rule_id] = rule
                group = taken[Status.PLANNED, a.stream_id, match.directory, rule.rule_id, ()]
                group += [picked] if picked is not None else []
            if marked:
                seen.add(Key(rule.rule_id, a.stream_id, match.directory))
        if None in by_pattern and all(rule.file_pattern is not None for rule in match.rules):
            taken[Status.UNMAPPED, a.stream_id, _subdirectory(a), "", patterns].append(by_pattern[None])
    return tuple(
        Route(
            status,
            stream,
            directory,
            rules.get(rule_id),
            tuple(sorted(group, key=_place_of) if len(group) > 1 else group),
            excluded,
            Key(rule_id, stream, directory) in seen,
            notes.get(directory, "") if status is Status.INACTIVE else "",
        )
        for (status, stream, directory, rule_id, excluded), group in sorted(taken.items())
    )


def _place_of(a: Arrivals) -> tuple[str, int]:
    return a.directory, a.first_batch


def _subdirectory(a: Arrivals) -> str:
    return paths.below(paths.canonical(a.root), paths.canonical(a.directory))


# Decisions.


def gaps(routes: Iterable[Route], holds: Iterable[LogRow]) -> list[Gap]:
    """The gaps that have to be looked into, so that new arrivals may join a held range of their directory."""
    held = _by_key(holds)
    found = set()
    for r in routes:
        for row in held.get(_key(r), ()):
            for a in r.arrivals:
                known = (row.directories or {}).get(a.directory)
                if known is not None and known.up_to < a.after:
                    found.add(Gap(r.stream_id, a.directory, known.up_to, a.after))
    return sorted(found)


def decide(routes: Iterable[Route], mapping: WorkflowMapping, situation: Situation) -> tuple[Decision, ...]:
    """Say of all arrivals, new and held, what becomes of them. Does not depend on the order of its inputs."""
    held = _by_key(situation.holds)
    decisions = []
    for r in routes:
        if r.status is not Status.PLANNED or r.rule is None:
            decisions.append(Decision(r.status, _parts(r, (), situation), r.rule, note=r.note))
            continue
        parts = _parts(r, held.pop(_key(r), ()), situation)
        if parts:
            decisions.append(_judged(parts, r.rule, True, situation))
    rules = mapping.by_id
    for key, rows in sorted(held.items()):
        rule = rules.get(key.rule_id)
        if rule is None and key.rule_id in mapping.broken:
            look = situation.as_of + LONGEST_LOOK
            decisions.append(Decision(Status.HELD, tuple(rows), None, Verdict((BROKEN,), look), False))
        elif rule is None:
            note = "held until its row of the mapping table was deleted or made inactive"
            decisions.append(Decision(Status.INACTIVE, tuple(rows), note=note))
        else:
            decisions.append(_judged(tuple(rows), rule, False, situation))
    return tuple(decisions)


def _by_key(holds: Iterable[LogRow]) -> dict[Key, list[LogRow]]:
    held: dict[Key, list[LogRow]] = defaultdict(list)
    for row in holds:
        held[Key(row.rule_id or "", row.stream_id or "", row.directory or "")].append(row)
    for rows in held.values():
        rows.sort(key=lambda row: (row.from_batch or 0, row.to_batch or 0, row.trigger_id or ""))
    return held


def _key(r: Route) -> Key:
    return Key(r.rule.rule_id if r.rule else "", r.stream_id, r.directory)


def _judged(parts: tuple[LogRow, ...], rule: MappingRule, changed: bool, situation: Situation) -> Decision:
    run_key = (rule.rule_id, parts[0].directory or "")
    if not rule.waits and run_key not in situation.queued:
        return Decision(Status.PLANNED, parts, rule)
    waiting = Waiting(
        file_count=sum(row.file_count or 0 for row in parts),
        first_at=min(row.first_arrival_at or situation.as_of for row in parts),
        last_at=max(row.last_arrival_at or situation.as_of for row in parts),
        marker_seen=any(row.completion_marker == rule.completion_marker for row in parts),
        last_start=situation.last_starts.get(run_key),
        queued=run_key in situation.queued,
    )
    verdict = judge(rule, waiting, situation.as_of)
    if verdict.waits_for:
        return Decision(Status.HELD, parts, rule, verdict, changed)
    return Decision(Status.COALESCED if verdict.coalesced else Status.PLANNED, parts, rule, verdict)


def _parts(r: Route, held: Sequence[LogRow], situation: Situation) -> tuple[LogRow, ...]:
    """The held rows with the new arrivals joined to them, as far as the ranges of a directory allow it.

    Ranges of one parent directory join only where the log has no file of it between them; otherwise they stay
    two rows.
    """
    if not held:
        # Most often: each directory once, so all of them fit into one row.
        return (_first(r),) if r.arrivals else ()
    parts: list[LogRow | None] = list(held)
    added: list[list[Arrivals]] = [[] for _ in parts]
    for a in r.arrivals:
        place = _place(parts, a, situation.occupied)
        if place == len(parts):
            parts.append(None)
            added.append([])
        added[place].append(a)
    joined = [
        _joined(row, more) if row is not None else _first(replace(r, arrivals=tuple(more)))
        for row, more in zip(parts, added, strict=True)
    ]
    if r.marker_seen and r.rule is not None:
        marker = r.rule.completion_marker
        joined = [
            row if row.completion_marker == marker else replace(row, completion_marker=marker)
            for row in joined
        ]
    return tuple(joined)


def _place(parts: Sequence[LogRow | None], a: Arrivals, occupied: frozenset[Gap]) -> int:
    """The part that arrivals may join; the number of parts where there is none."""
    free = len(parts)
    for i in range(len(parts) - 1, -1, -1):
        part = parts[i]
        known = (part.directories or {}).get(a.directory) if part is not None else None
        if known is None:
            free = i
        elif known.up_to == a.after or (
            known.up_to < a.after and Gap(a.stream_id, a.directory, known.up_to, a.after) not in occupied
        ):
            return i
    return free


def _first(r: Route) -> LogRow:
    """The row of arrivals that join no hold; whose row it is comes last."""
    rule, arrivals = r.rule, r.arrivals
    first = arrivals[0]
    more = len(arrivals) > 1
    return LogRow(
        status=Status.HELD,
        consumer="",
        claim_id="",
        epoch=0,
        directory=r.directory,
        table_name=paths.last_segment(r.directory),
        workflow_name=rule.workflow_name if rule else None,
        rule_id=rule.rule_id if rule else None,
        stream_id=r.stream_id,
        from_batch=min(a.first_batch for a in arrivals) if more else first.first_batch,
        to_batch=max(a.last_batch for a in arrivals) if more else first.last_batch,
        directories={a.directory: Range(a.after, a.up_to) for a in arrivals},
        file_pattern=rule.file_pattern if rule else None,
        excluded_patterns=r.excluded or None,
        file_count=sum(a.file_count for a in arrivals) if more else first.file_count,
        total_bytes=sum(a.total_bytes for a in arrivals) if more else first.total_bytes,
        first_arrival_at=min(a.first_at for a in arrivals) if more else first.first_at,
        last_arrival_at=max(a.last_at for a in arrivals) if more else first.last_at,
        completion_marker=rule.completion_marker if rule and r.marker_seen else None,
    )


def _joined(row: LogRow, arrivals: Sequence[Arrivals]) -> LogRow:
    """A row that covers these arrivals too."""
    if not arrivals:
        return row
    ranges = dict(row.directories or {})
    for a in arrivals:
        known = ranges.get(a.directory)
        ranges[a.directory] = Range(known.after if known else a.after, a.up_to)
    first, last = row.first_arrival_at, row.last_arrival_at
    firsts = [a.first_at for a in arrivals] + ([first] if first else [])
    lasts = [a.last_at for a in arrivals] + ([last] if last else [])
    from_batch = min(a.first_batch for a in arrivals)
    to_batch = max(a.last_batch for a in arrivals)
    return replace(
        row,
        from_batch=from_batch if row.from_batch is None else min(row.from_batch, from_batch),
        to_batch=to_batch if row.to_batch is None else max(row.to_batch, to_batch),
        directories=ranges,
        file_count=(row.file_count or 0) + sum(a.file_count for a in arrivals),
        total_bytes=(row.total_bytes or 0) + sum(a.total_bytes for a in arrivals),
        first_arrival_at=min(firsts),
        last_arrival_at=max(lasts),
    )


def workflows(decisions: Iterable[Decision]) -> frozenset[str]:
    """The names of all workflows that are to be started."""
    return frozenset(
        row.workflow_name
        for d in decisions
        if d.status is Status.PLANNED
        for row in d.parts
        if row.workflow_name
    )


def next_due(decisions: Iterable[Decision]) -> datetime | None:
    """When the first of the holds is to be looked at again though nothing arrives."""
    looks = (d.verdict.look_at for d in decisions if d.status is Status.HELD)
    return min((look for look in looks if look is not None), default=None)


def kept(decisions: Iterable[Decision]) -> tuple[LogRow, ...]:
    """The holds that stay as they are stored."""
    return tuple(row for d in decisions if d.status is Status.HELD and not d.changed for row in d.parts)


# Rows.


def plan(
    claim: Claim, decisions: Iterable[Decision], jobs: Mapping[str, Sequence[Job]]
) -> tuple[LogRow, ...]:
    """The rows of the claim, all of them, none of them started.

    `jobs` has, for each name in `workflows(decisions)`, the jobs of that name that are visible: none and
    several are both outcomes, and stop no other row.
    """
    return tuple(_row(claim, d, part, jobs) for d in decisions if d.changed for part in d.parts)


def _row(claim: Claim, d: Decision, part: LogRow, jobs: Mapping[str, Sequence[Job]]) -> LogRow:
    status, error, job = d.status, _reason(d), None
    if status is Status.PLANNED:
        found = jobs.get(part.workflow_name or "", ())
        if len(found) == 1:
            job = found[0]
            status = Status.DRY_RUN if claim.dry_run else status
        else:
            status, error = Status.NO_SUCH_WORKFLOW, _missing(part.workflow_name or "", found)
    mine = identity(claim.claim_id, claim.epoch, part.place, 1)
    own = d.rule.parameters if d.rule else part.job_parameters or {}
    # Without a job they stay as they are, so that a replay can fill them in though the rule be gone.
    told: Mapping[str, str] | None = dict(own) or None
    if job is not None:
        known = {"trigger_id": mine, "consumer": claim.consumer, "log_table": claim.log_table}
        told = parameters.told(part, {**claim.lineage, **own}, job.parameters, known)
    return replace(
        part,
        status=status,
        consumer=claim.consumer,
        claim_id=claim.claim_id,
        epoch=claim.epoch,
        trigger_id=mine,
        run_id=RUN_ID.get(status),
        attempt=1,
        job_id=job.job_id if job is not None else None,
        job_parameters=told,
        waits_for=d.verdict.waits_for or None,
        error=error,
        recorded_at=None,
    )


def _reason(d: Decision) -> str | None:
    if d.status is Status.UNMAPPED:
        picked = any(part.excluded_patterns for part in d.parts)
        if picked:
            return "no row of the mapping table for this directory picks these files"
        return "no row of the mapping table names this directory or one above it"
    if d.status is Status.COALESCED:
        return "a run for this directory is queued already, and is to find these files"
    return d.note or None


def _missing(name: str, found: Sequence[Job]) -> str:
    if not found:
        return f"no job of the name {name!r}, or it is not visible to this principal (CAN_VIEW)"
    ids = ", ".join(str(job.job_id) for job in sorted(found, key=lambda j: j.job_id)[:5])
    return f"{len(found)} jobs have the name {name!r} ({ids}): rename all but one"
