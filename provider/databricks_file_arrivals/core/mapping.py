"""The mapping table's rows as rules, and what is wrong with the others."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from databricks_file_arrivals.core import parameters, paths, patterns
from databricks_file_arrivals.core.tables import MAPPING

ACTIVE = "Y"
DAY = 86_400
_LARGEST = 100 * 365 * DAY  # a hundred years: what is later than any time cannot be waited for
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class WhenQueued(str, Enum):
    """What becomes of arrivals while a run for the same rule and directory is still queued."""

    HOLD = "hold"  # kept for the next run
    SKIP = "skip"  # left to the queued run: for jobs that scan their directory
    START = "start"  # one more run


@dataclass(frozen=True, slots=True)
class MappingRule:
    """A usable row of the mapping table: files of `directory` and below start `workflow_name`.

    `directory` and `file_pattern` may hold wildcards. All times are in seconds; zero means at once.
    """

    directory: str
    workflow_name: str
    active: bool = True
    file_pattern: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    settle_seconds: int = 0
    min_files: int = 0
    max_wait_seconds: int = DAY
    completion_marker: str | None = None
    min_interval_seconds: int = 0
    when_queued: WhenQueued = WhenQueued.HOLD
    expect_every_seconds: int = 0
    updated_at: datetime | None = None
    place: str = field(init=False, compare=False)
    """The directory in its canonical form."""
    rule_id: str = field(init=False)
    """A hash of directory, file pattern and workflow: an edit of the rest leaves it the same rule."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", paths.canonical(self.directory))
        key = json.dumps([self.place, self.file_pattern, self.workflow_name])
        object.__setattr__(self, "rule_id", hashlib.sha256(key.encode()).hexdigest()[:16])

    @property
    def waits(self) -> bool:
        """Whether it may hold its arrivals for any other reason than a queued run."""
        return bool(
            self.settle_seconds or self.min_files or self.completion_marker or self.min_interval_seconds
        )

    def __str__(self) -> str:
        pattern = f" {self.file_pattern}" if self.file_pattern else ""
        return f"{self.directory}{pattern} → {self.workflow_name}"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of the mapping table that is not used as it stands, and why."""

    row: str
    reason: str

    def __str__(self) -> str:
        return f"{self.row}: {self.reason}"


@dataclass(frozen=True, slots=True)
class WorkflowMapping:
    """All usable rows, and the problems of the others. Made by `read`."""

    rules: tuple[MappingRule, ...] = ()
    problems: tuple[RowProblem, ...] = ()
    broken: frozenset[str] = frozenset()
    """The `rule_id`s of rows that cannot be used as they stand: what they hold waits for their mending."""

    @classmethod
    def read(cls, rows: Iterable[Mapping[str, Any]]) -> WorkflowMapping:
        """Read rows of the mapping table in any order: a bad one is reported and left out, and the rest work.

        Of rows with one `rule_id` the newest counts, and the others are reported.
        """
        usable: dict[str, list[tuple[MappingRule, Mapping[str, Any]]]] = defaultdict(list)
        problems: list[RowProblem] = []
        broken = set()
        for row in rows:
            reason = _unusable(row)
            if reason:
                problems.append(RowProblem(_describe(row), reason))
                broken |= _identity(row)
            else:
                rule = _rule(row)
                usable[rule.rule_id].append((rule, row))
        rules = []
        for same in usable.values():
            if len(same) > 1:
                same.sort(key=lambda entry: (_age(entry[0]), _describe(entry[1])))
                twice = "stands twice; the newest row counts"
                problems += [RowProblem(_describe(row), twice) for _, row in same[:-1]]
            rules.append(same[-1][0])
        rules.sort(key=lambda r: (r.directory, r.workflow_name, r.file_pattern or ""))
        return cls(tuple(rules), tuple(sorted(problems, key=str)), frozenset(broken))

    @property
    def by_id(self) -> dict[str, MappingRule]:
        """The active rules by `rule_id`."""
        return {rule.rule_id: rule for rule in self.rules if rule.active}


def _identity(row: Mapping[str, Any]) -> set[str]:
    """The `rule_id` of a row that has a problem, where it can be told."""
    if _required(row) or _types(row) or row["active_ind"].strip() != ACTIVE:
        return set()
    pattern = _text(row, "file_pattern")
    return {MappingRule(row["directory"].strip(), row["workflow_name"].strip(), True, pattern).rule_id}


def _rule(row: Mapping[str, Any]) -> MappingRule:
    """A row that has no problem, as a rule."""
    updated = row.get("last_updated_ts")
    if updated is not None and updated.tzinfo is None:
        updated = updated.replace(tzinfo=timezone.utc)
    longest = row.get("max_wait_seconds")
    return MappingRule(
        directory=row["directory"].strip(),
        workflow_name=row["workflow_name"].strip(),
        active=row["active_ind"].strip() == ACTIVE,
        file_pattern=_text(row, "file_pattern"),
        parameters=dict(row.get("parameters") or {}),
        settle_seconds=row.get("settle_seconds") or 0,
        min_files=row.get("min_files") or 0,
        max_wait_seconds=DAY if longest is None else longest,
        completion_marker=_text(row, "completion_marker"),
        min_interval_seconds=row.get("min_interval_seconds") or 0,
        when_queued=WhenQueued((_text(row, "when_queued") or WhenQueued.HOLD.value).lower()),
        expect_every_seconds=row.get("expect_every_seconds") or 0,
        updated_at=updated,
    )


def _text(row: Mapping[str, Any], column: str) -> str | None:
    return (row.get(column) or "").strip() or None


def _age(rule: MappingRule) -> tuple[datetime, bool, str]:
    """What the newest of several rows has most of; where times tell nothing, anything that all readers
    agree on."""
    return (rule.updated_at or _NEVER, rule.active, repr((rule, sorted(rule.parameters.items()))))


def _describe(row: Mapping[str, Any]) -> str:
    pattern = f" file_pattern={row['file_pattern']!r}" if row.get("file_pattern") else ""
    return f"directory={row.get('directory')!r} workflow_name={row.get('workflow_name')!r}{pattern}"


def _unusable(row: Mapping[str, Any]) -> str:
    """Why a row cannot be used, or ""."""
    return next((reason for check in _CHECKS if (reason := check(row))), "")


_WAYS = tuple(way.value for way in WhenQueued)
_REQUIRED = tuple(c.name for c in MAPPING.columns if not c.nullable)
_KINDS: Mapping[str, type] = {
    "file_pattern": str,
    "completion_marker": str,
    "when_queued": str,
    "parameters": Mapping,
    "last_updated_ts": datetime,
}
_NUMBERS = tuple(c.name for c in MAPPING.columns if c.type == "BIGINT")


def _required(row: Mapping[str, Any]) -> str:
    for name in _REQUIRED:
        if not isinstance(row.get(name), str):
            return f"{name} is null"
        if not row[name].strip():
            return f"{name} is empty"
    return ""


def _numbers(row: Mapping[str, Any]) -> str:
    for name in _NUMBERS:
        value = row.get(name)
        if value is not None and (not isinstance(value, int) or not 0 <= value <= _LARGEST):
            return f"{name} is {value!r}: write a number of at least 0 and at most {_LARGEST}, or null"
    return ""


def _types(row: Mapping[str, Any]) -> str:
    """A table that was replaced may have columns of other types."""
    for name, kind in _KINDS.items():
        if row.get(name) is not None and not isinstance(row[name], kind):
            return f"{name} is {row[name]!r}, and no {kind.__name__}: compare the table with `deploy`"
    return ""


def _directory(row: Mapping[str, Any]) -> str:
    if not patterns.has_wildcard(row["directory"]):
        return ""
    directory = paths.canonical(row["directory"].strip())
    problem = patterns.directory_problem(directory, paths.top(directory))
    return f"directory {problem}" if problem else ""


def _file_pattern(row: Mapping[str, Any]) -> str:
    problem = patterns.file_pattern_problem(row.get("file_pattern") or "")
    return f"file_pattern {problem}" if problem else ""


def _marker(row: Mapping[str, Any]) -> str:
    marker = row.get("completion_marker") or ""
    if "/" in marker or patterns.has_wildcard(marker):
        return "completion_marker is not the name of one file: it may hold no /, * or ?"
    return ""


def _when_queued(row: Mapping[str, Any]) -> str:
    text = (row.get("when_queued") or "").strip().lower()
    if not text or text in _WAYS:
        return ""
    return f"when_queued is {text!r}: write {', '.join(_WAYS)} or null"


def _parameters(row: Mapping[str, Any]) -> str:
    return parameters.problem(row.get("parameters") or {})


_CHECKS: tuple[Callable[[Mapping[str, Any]], str], ...] = (
    _required,
    _types,
    _numbers,
    _directory,
    _file_pattern,
    _marker,
    _when_queued,
    _parameters,
)
