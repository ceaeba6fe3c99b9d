"""The journey of one file: which rows of the mapping may take it, which does, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from databricks_file_arrivals.core import paths, patterns
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.routing import Match, Router


class Verdict(str, Enum):
    """What a row of the mapping has to do with a file."""

    TAKES = "takes it"
    NAME = "its file_pattern does not match"
    FARTHER = "a nearer directory has active rows"
    LESS_SPECIFIC = "a more specific row names the same directory"
    INACTIVE = "it is not active"
    BAD = "the row cannot be used"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the mapping that names the file's directory or one above it, and why it takes the file or
    not."""

    row: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One arrival of the file."""

    stream_id: str
    batch_id: int
    root: str
    directory: str
    path: str
    file_size: int | None
    logged_at: datetime | None


def spellings(path: str) -> tuple[str, ...]:
    """All ways in which the arrival log may hold a path. Spark's and people's ways differ in the scheme.

    >>> spellings("/mnt/a.csv")[:3]
    ('/mnt/a.csv', 'file:/mnt/a.csv', 'file:///mnt/a.csv')
    """
    canonical = paths.canonical(path)
    ways = [canonical, path]
    if canonical.startswith("/"):
        ways[1:1] = [f"{scheme}{canonical}" for scheme in ("file:", "file://", "dbfs:", "/dbfs")]
    return tuple(dict.fromkeys(ways))


_NOWHERE = "/\0"  # a root that nothing is below: no relative row counts


def candidates(rows: Sequence[Mapping[str, Any]], path: str, root: str) -> tuple[Candidate, ...]:
    """All rows of the mapping that have to do with a file of a stream with this root, the one that takes it
    first. Without a root no relative row has."""
    directory, name = paths.canonical(path).rsplit("/", 1)
    directory = directory or "/"
    mapping = WorkflowMapping.read(rows)
    found = _judged(list(Router(mapping).matches(directory, root or _NOWHERE)), name)
    return (*found, *_bad(rows, directory, root))


def _judged(matches: Sequence[Match], name: str) -> list[Candidate]:
    winner = next((match for match in matches if match.active), None)
    found = []
    for match in matches:
        for rule in match.rules:
            found.append(Candidate(str(rule), _verdict(rule, match, winner, name)))
    found.sort(key=lambda c: c.verdict is not Verdict.TAKES)
    return found


def _verdict(rule: MappingRule, match: Match, winner: Match | None, name: str) -> Verdict:
    if not rule.active:
        return Verdict.INACTIVE
    if match is not winner and winner is not None:
        return Verdict.LESS_SPECIFIC if match.directory == winner.directory else Verdict.FARTHER
    if rule.file_pattern is not None and not patterns.matches(name, rule.file_pattern):
        return Verdict.NAME
    return Verdict.TAKES


def _bad(rows: Iterable[Mapping[str, Any]], directory: str, root: str) -> Iterable[Candidate]:
    """Rows that would name the directory if they could be used."""
    above = set(paths.ancestry(directory))
    for row in rows:
        text = row.get("directory")
        if isinstance(text, str) and paths.canonical(text.strip(), root) in above:
            for problem in WorkflowMapping.read([row]).problems:
                yield Candidate(problem.row, Verdict.BAD, problem.reason)


def covers(row: LogRow, arrived: Arrived) -> bool:
    """Whether an arrival is one of the files of a row of the log."""
    batches = (row.directories or {}).get(arrived.directory)
    if row.stream_id != arrived.stream_id or batches is None:
        return False
    name = patterns.name(arrived.path)
    if not batches.after < arrived.batch_id <= batches.up_to:
        return False
    if row.file_pattern is not None and not patterns.matches(name, row.file_pattern):
        return False
    return not any(patterns.matches(name, excluded) for excluded in row.excluded_patterns or ())
