"""The plan of a claim: values in, values out. No clock, no I/O, no logging.

Every arrival that is handed in is covered, for each rule that matched it, by exactly one row: a request
(PLANNED or NO_SUCH_WORKFLOW), or else one UNMAPPED or INACTIVE row. The files of a row are a function of
the row alone: of its stream, those whose parent directory is a key of `directories` and whose batch is in
that key's range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.mapping import MappingRule, Router, WorkflowMapping
from databricks_file_arrivals.core.outcomes import RUN_ID, LogRow, Range, Status, trigger_id


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The new arrivals of one parent directory of one stream, in batches `first_batch` to `last_batch`."""

    stream_id: str
    root: str
    directory: str
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


@dataclass(frozen=True, slots=True)
class Route:
    """Arrivals that go together: those of one stream that one rule (or none, or only inactive ones) takes."""

    status: Status
    directory: str
    rule: MappingRule | None
    arrivals: tuple[Arrivals, ...]


def route(arrivals: Iterable[Arrivals], mapping: WorkflowMapping) -> tuple[Route, ...]:
    """Sort arrivals by the rule that takes them. The result does not depend on the order of either input."""
    arrivals = tuple(arrivals)
    router = Router(mapping, {a.root for a in arrivals})
    taken: dict[tuple[Status, str, str, str], list[Arrivals]] = defaultdict(list)
    rules: dict[str, MappingRule] = {}
    for a in arrivals:
        directory, matched = router.match(a.directory, a.root)
        if not matched:
            subdirectory = paths.below(paths.canonical(a.root), paths.canonical(a.directory))
            taken[Status.UNMAPPED, a.stream_id, subdirectory, ""].append(a)
            continue
        active = matched[0].active
        status = Status.PLANNED if active else Status.INACTIVE
        # Inactive rows are told of once for a directory, by the first of them.
        for rule in matched if active else matched[:1]:
            rules[rule.rule_id] = rule
            taken[status, a.stream_id, directory, rule.rule_id].append(a)
    return tuple(
        Route(
            status,
            directory,
            rules.get(rule_id),
            tuple(sorted(group, key=lambda a: (a.directory, a.first_batch))),
        )
        for (status, _, directory, rule_id), group in sorted(taken.items())
    )


def workflows(routes: Iterable[Route]) -> frozenset[str]:
    """The names of all workflows that the routes ask for."""
    return frozenset(
        r.rule.workflow_name for r in routes if r.rule is not None and r.status is Status.PLANNED
    )


def plan(claim: Claim, routes: Sequence[Route], jobs: Mapping[str, Sequence[Job]]) -> tuple[LogRow, ...]:
    """Decide what becomes of each route: the rows of the claim, all of them, none of them started.

    `jobs` has, for each name in `workflows(routes)`, the jobs of that name that are visible: none and
    several are both outcomes, and stop no other row.
    """
    return tuple(_decide(claim, _describe(claim, r), r, jobs) for r in routes)


def _describe(claim: Claim, r: Route) -> LogRow:
    """The columns that tell which arrivals a row covers."""
    return LogRow(
        status=r.status,
        consumer=claim.consumer,
        claim_id=claim.claim_id,
        epoch=claim.epoch,
        directory=r.directory,
        table_name=paths.last_segment(r.directory),
        workflow_name=r.rule.workflow_name if r.rule else None,
        run_id=RUN_ID.get(r.status),
        rule_id=r.rule.rule_id if r.rule else None,
        stream_id=r.arrivals[0].stream_id,
        from_batch=min(a.first_batch for a in r.arrivals),
        to_batch=max(a.last_batch for a in r.arrivals),
        directories=_ranges(r.arrivals),
        file_count=sum(a.file_count for a in r.arrivals),
        total_bytes=sum(a.total_bytes for a in r.arrivals),
        first_arrival_at=min(a.first_at for a in r.arrivals),
        last_arrival_at=max(a.last_at for a in r.arrivals),
    )


def _ranges(arrivals: Sequence[Arrivals]) -> dict[str, Range]:
    """The batches of each parent directory. Those of one directory join: a claim reads all batches between
    two cursors, so whatever the log has between its first and its last is of this claim and this rule."""
    ranges: dict[str, Range] = {}
    for a in arrivals:
        known = ranges.get(a.directory, Range(a.first_batch - 1, a.last_batch))
        ranges[a.directory] = Range(min(known.after, a.first_batch - 1), max(known.up_to, a.last_batch))
    return ranges


def _decide(claim: Claim, row: LogRow, r: Route, jobs: Mapping[str, Sequence[Job]]) -> LogRow:
    if r.status is Status.UNMAPPED:
        return replace(row, error="no row of the mapping table names this directory or one above it")
    if r.status is Status.INACTIVE or r.rule is None:
        return replace(row, error="only inactive rows of the mapping table name this directory")
    row = replace(row, attempt=1)
    row = replace(row, trigger_id=trigger_id(row, 1))
    found = jobs.get(r.rule.workflow_name, ())
    if len(found) != 1:
        return replace(
            row,
            status=Status.NO_SUCH_WORKFLOW,
            run_id=RUN_ID[Status.NO_SUCH_WORKFLOW],
            error=_missing(r, found),
        )
    job = found[0]
    return replace(row, job_id=job.job_id, job_parameters=_parameters(claim, row, r.rule, job))


def _missing(r: Route, found: Sequence[Job]) -> str:
    name = r.rule.workflow_name if r.rule else ""
    if not found:
        return f"no job of the name {name!r}, or it is not visible to this principal (CAN_VIEW)"
    ids = ", ".join(str(job.job_id) for job in sorted(found, key=lambda j: j.job_id)[:5])
    return f"{len(found)} jobs have the name {name!r} ({ids}): rename all but one"


def _parameters(claim: Claim, row: LogRow, rule: MappingRule, job: Job) -> dict[str, str]:
    """What the run is told: the rule's own parameters and ours, only those that the job declares."""
    ours = {
        "trigger_id": row.trigger_id or "",
        "log_table": claim.log_table,
        "directory": row.directory or "",
        "file_count": str(row.file_count),
    }
    return {
        name: value for name, value in sorted({**rule.parameters, **ours}.items()) if name in job.parameters
    }
