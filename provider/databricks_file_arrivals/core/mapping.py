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
        usable: dict[str, list[tuple[_Age, MappingRule, str]]] = defaultdict(list)
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
            usable[rule.rule_id].append((_age(row, rule), rule, _describe(row)))
        rules = []
        for same in usable.values():
            *older, (_, newest, _) = sorted(same, key=lambda entry: (entry[0], entry[2]))
            rules.append(newest)
            problems += [RowProblem(text, "stands twice; the newest row counts") for _, _, text in older]
        rules.sort(key=lambda r: (r.directory, r.workflow_name))
        return cls(tuple(rules), tuple(sorted(problems, key=str)))


_Age = tuple[datetime, bool, str]


def _age(row: Mapping[str, Any], rule: MappingRule) -> _Age:
    """What the newest of several rows has most of; where times tell nothing, anything that all readers
    agree on."""
    changed = row.get("last_updated_ts") or _NEVER
    if changed.tzinfo is None:
        changed = changed.replace(tzinfo=timezone.utc)
    return (changed, rule.active, json.dumps(rule.parameters, sort_keys=True))


def _describe(row: Mapping[str, Any]) -> str:
    return f"directory={row.get('directory')!r} workflow_name={row.get('workflow_name')!r}"


def _unusable(row: Mapping[str, Any]) -> str:
    """Why a row cannot be used, or ""."""
    for column in MAPPING.columns:
        if not column.nullable and not isinstance(row.get(column.name), str):
            return f"{column.name} is null"
        if not column.nullable and not row[column.name].strip():
            return f"{column.name} is empty"
    if any(value is None for value in (row.get("parameters") or {}).values()):
        return "parameters has a null value"
    asked = [name for name in _NOT_YET if row.get(name) is not None]
    if asked:
        return f"this version has no {', '.join(asked)} yet: set to null to use the row"
    if any(wildcard in row["directory"] for wildcard in "*?"):
        return "this version has no wildcards in directories yet: name the directory above them"
    return ""


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
            # One rule for each workflow: a row may stand there in its absolute and in its relative spelling.
            rules = {rule.workflow_name: rule for rule in here if rule.active}
            if rules:
                return candidate, tuple(rules.values())
            if here and not inactive[1]:
                inactive = candidate, tuple(here)
        return inactive
