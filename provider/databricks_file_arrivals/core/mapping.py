"""The mapping table's rows as rules, and which rule a directory belongs to."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.tables import MAPPING

ACTIVE = "Y"
_NOT_YET = (
    "file_pattern",
    "settle_seconds",
    "min_files",
    "completion_marker",
    "min_interval_seconds",
    "when_queued",
    "expect_every_seconds",
)
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class MappingRule:
    """A row of the mapping table that can be used: files of `directory` and below start `workflow_name`."""

    directory: str
    workflow_name: str
    active: bool
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def rule_id(self) -> str:
        """A hash of directory, file pattern and workflow: an edit of the rest leaves it the same rule."""
        key = json.dumps([paths.canonical(self.directory), None, self.workflow_name])
        return hashlib.sha256(key.encode()).hexdigest()[:16]


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

    @classmethod
    def read(cls, rows: Iterable[Mapping[str, Any]]) -> WorkflowMapping:
        """Read rows of the mapping table in any order: a bad one is reported and left out, and the rest work.

        Of rows with one `rule_id` the newest counts, and the others are reported.
        """
        kept: dict[str, tuple[tuple[object, ...], MappingRule]] = {}
        problems = []
        for row in rows:
            reason = _unusable(row)
            if reason:
                problems.append(RowProblem(_describe(row), reason))
                continue
            rule = MappingRule(
                row["directory"].strip(),
                row["workflow_name"].strip(),
                row["active_ind"].strip() == ACTIVE,
                dict(row.get("parameters") or {}),
            )
            age = (
                row.get("last_updated_ts") or _NEVER,
                rule.active,
                json.dumps(rule.parameters, sort_keys=True),
            )
            known = kept.get(rule.rule_id)
            if known is not None:
                problems.append(RowProblem(_describe(row), "stands twice; the newer of the two counts"))
            if known is None or age > known[0]:
                kept[rule.rule_id] = (age, rule)
        rules = sorted((rule for _, rule in kept.values()), key=lambda r: (r.directory, r.workflow_name))
        return cls(tuple(rules), tuple(sorted(problems, key=str)))


def _describe(row: Mapping[str, Any]) -> str:
    return f"directory={row.get('directory')!r} workflow_name={row.get('workflow_name')!r}"


def _unusable(row: Mapping[str, Any]) -> str:
    """Why a row cannot be used, or ""."""
    for column in MAPPING.columns:
        if not column.nullable and not isinstance(row.get(column.name), str):
            return f"{column.name} is null"
        if not column.nullable and not row[column.name].strip():
            return f"{column.name} is empty"
    asked = [name for name in _NOT_YET if row.get(name) is not None]
    return f"this version has no {', '.join(asked)} yet: set to null to use the row" if asked else ""


class Router:
    """Finds the rules of a directory: those of the nearest rule directory, itself or above it."""

    def __init__(self, mapping: WorkflowMapping, roots: Iterable[str]) -> None:
        self._rules: dict[tuple[str, str], list[MappingRule]] = defaultdict(list)
        relative = [rule for rule in mapping.rules if paths.is_relative(rule.directory)]
        for rule in mapping.rules:
            if not paths.is_relative(rule.directory):
                self._rules["", paths.canonical(rule.directory)].append(rule)
        for root in set(roots):
            for rule in relative:
                self._rules[root, paths.canonical(rule.directory, root)].append(rule)

    def match(self, directory: str, root: str) -> tuple[str, tuple[MappingRule, ...]]:
        """The rule directory that takes `directory`, and its rules.

        All active rules of the nearest directory that has any; else all inactive ones of the nearest that
        has those; else `("", ())`.
        """
        inactive: tuple[str, tuple[MappingRule, ...]] = ("", ())
        for candidate in paths.ancestry(paths.canonical(directory)):
            here = [*self._rules.get(("", candidate), ()), *self._rules.get((root, candidate), ())]
            rules = {rule.rule_id: rule for rule in here if rule.active}
            if rules:
                return candidate, tuple(rules.values())
            if here and not inactive[1]:
                inactive = candidate, tuple(here)
        return inactive
