"""Directories from which something is to come regularly, and those from which nothing came in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, trigger_id
from databricks_file_arrivals.core.planning import Claim, Route, RunKey

REMEMBERED = timedelta(days=31)
"""How far back the log is asked: a silence that lasts longer is told of again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the log remembers of a rule's directory: its last arrival, and when its silence was last told
    of."""

    last_arrival_at: datetime | None = None
    overdue_at: datetime | None = None


def expecting(mapping: WorkflowMapping) -> tuple[MappingRule, ...]:
    """The rules that expect arrivals in time."""
    return tuple(rule for rule in mapping.rules if rule.active and rule.expect_every_seconds)


def overdue(
    claim: Claim,
    rules: Iterable[MappingRule],
    seen: Mapping[RunKey, Seen],
    routes: Iterable[Route],
    as_of: datetime,
) -> tuple[tuple[LogRow, ...], datetime | None]:
    """The directories whose silence is to be told of now, and when the next one may be.

    A silence is told of once. Each real directory that a pattern has matched is watched by itself; a rule
    that has seen none, as a whole. A rule that was changed after its last arrival has its time from then on.
    """
    arrived: dict[RunKey, datetime] = {}
    for route in routes:
        if route.rule is not None and route.arrivals:
            arrived[route.rule.rule_id, route.directory] = max(a.last_at for a in route.arrivals)
    known: dict[str, set[str]] = defaultdict(set)
    # What was told of a rule as a whole names no directory from which something came.
    came = (key for key, at in seen.items() if at.last_arrival_at is not None)
    for rule_id, directory in (*came, *arrived):
        known[rule_id].add(directory)
    rows, looks = [], []
    for rule in rules:
        for directory in sorted(known[rule.rule_id]) or [paths.canonical(rule.directory)]:
            key = (rule.rule_id, directory)
            due = _due(rule, seen.get(key, Seen()), arrived.get(key), as_of)
            if due is not None and due <= as_of:
                rows.append(_row(claim, rule, directory))
            elif due is not None:
                looks.append(due)
    return tuple(rows), min(looks, default=None)


def _due(rule: MappingRule, seen: Seen, arrived: datetime | None, as_of: datetime) -> datetime | None:
    """When a directory is overdue; None when that has been told."""
    times = [t for t in (seen.last_arrival_at, arrived, rule.updated_at) if t is not None]
    last = max(times, default=as_of - timedelta(seconds=rule.expect_every_seconds))
    if seen.overdue_at is not None and last <= seen.overdue_at:
        return None
    return last + timedelta(seconds=rule.expect_every_seconds)


def _row(claim: Claim, rule: MappingRule, directory: str) -> LogRow:
    row = LogRow(
        status=Status.OVERDUE,
        consumer=claim.consumer,
        claim_id=claim.claim_id,
        epoch=claim.epoch,
        directory=directory,
        table_name=paths.last_segment(directory),
        workflow_name=rule.workflow_name,
        rule_id=rule.rule_id,
        file_pattern=rule.file_pattern,
        file_count=0,
        attempt=1,
        error=f"nothing came for {rule.expect_every_seconds} s",
    )
    return replace(row, trigger_id=trigger_id(row, 1))
