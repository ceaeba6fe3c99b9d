"""What is wrong with a mapping, or may not be meant: values in, findings out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from typing import Any

from databricks_file_arrivals.core import paths, patterns
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.routing import Match, Router

HIDDEN = ("_", ".")
"""Auto Loader lists no file whose name begins so."""


class Severity(str, Enum):
    """How bad a finding is."""

    ERROR = "error"  # a row, or a workflow, cannot do what it is for
    WARNING = "warning"  # it works, and perhaps not as meant


class Kind(str, Enum):
    """What a finding is about."""

    BAD_ROW = "bad row"  # a row that is not used
    TWICE = "stands twice"  # rows of which only one counts
    CONFLICT = "conflict"  # one workflow that two rows start for the same files
    SHADOWED = "shadowed"  # rows that never win
    OUTSIDE = "outside"  # directories that no stream looks into
    HIDDEN = "hidden"  # names that never arrive
    WORKFLOW = "workflow"  # a workflow that cannot be started
    JOB = "job"  # a job that is started, and is not made as it should be


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at: the row or the workflow, and what is the matter."""

    severity: Severity
    kind: Kind
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckedJob:
    """A job of a workflow's name, as far as the principal can see it. `may_run` is None where that cannot be
    told."""

    job_id: int
    parameters: frozenset[str]
    queue: bool
    may_run: bool | None


def check(
    rows: Sequence[Mapping[str, Any]],
    roots: Iterable[str],
    jobs: Mapping[str, Sequence[CheckedJob]],
    principal: str,
) -> tuple[Finding, ...]:
    """All findings, errors first. `roots` are those of the streams; `jobs` has the visible jobs of each
    workflow of an active row."""
    mapping = WorkflowMapping.read(rows)
    active = [rule for rule in mapping.rules if rule.active]
    roots = sorted({paths.canonical(root) for root in roots})
    found = {
        *_bad_rows(rows),
        *_twice(rows),
        *_conflicts(active, roots),
        *_shadowed(mapping, roots),
        *_outside(active, roots),
        *_hidden(active),
        *_workflows(active, jobs, principal),
    }
    return tuple(sorted(found, key=lambda f: (f.severity.value, f.kind.value, f.subject, f.message)))


def checked_workflows(rows: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The workflows that the active rows name: `check` wants their jobs."""
    return frozenset(rule.workflow_name for rule in WorkflowMapping.read(rows).rules if rule.active)


# Rows.


def _bad_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    for row in rows:
        for problem in WorkflowMapping.read([row]).problems:
            message = f"{problem.reason}; the row is not used"
            yield Finding(Severity.ERROR, Kind.BAD_ROW, problem.row, message)


def _twice(rows: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    times: dict[str, list[MappingRule]] = defaultdict(list)
    for row in rows:
        for rule in WorkflowMapping.read([row]).rules:
            times[rule.rule_id].append(rule)
    for same in times.values():
        if len(same) > 1:
            message = f"stands {len(same)} times; only the newest row counts"
            yield Finding(Severity.WARNING, Kind.TWICE, str(same[0]), message)


def _conflicts(active: Iterable[MappingRule], roots: Sequence[str]) -> Iterator[Finding]:
    """Rows of one directory that start one workflow for the same files."""
    fired: dict[tuple[str, str], list[MappingRule]] = defaultdict(list)
    for rule in active:
        for directory in {paths.canonical(rule.directory, root) for root in roots or [""]}:
            fired[directory, rule.workflow_name].append(rule)
    for (directory, workflow), rules in fired.items():
        for one, other in combinations(rules, 2):
            if one.file_pattern == other.file_pattern:
                message = f"names the same directory as {other}: the workflow is started once for both"
                yield Finding(Severity.WARNING, Kind.TWICE, str(one), message)
            elif overlap(one.file_pattern or "*", other.file_pattern or "*"):
                message = (
                    f"is started twice for files of {directory} that both {_pattern(one)} and "
                    f"{_pattern(other)} mean"
                )
                yield Finding(Severity.ERROR, Kind.CONFLICT, workflow, message)


def _pattern(rule: MappingRule) -> str:
    return rule.file_pattern or "no pattern"


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both patterns mean.

    >>> overlap("*.csv", "orders*"), overlap("*.csv", "*.json"), overlap("?", "ab")
    (True, False, False)
    """
    # From the ends: after[j] says whether the rest of `one` and other[j:] have a common name.
    last = len(other)
    after = [all(c == "*" for c in other[j:]) for j in range(last + 1)]
    for a in reversed(one):
        here = [False] * last + [a == "*" and after[last]]
        for j in reversed(range(last)):
            if "*" in (a, other[j]):
                here[j] = after[j] or here[j + 1]
            else:
                here[j] = (a == other[j] or "?" in (a, other[j])) and after[j + 1]
        after = here
    return after[0]


# Shadows. A row with wildcards is called shadowed when another row wins at each of the directories that stand
# for its pattern: those in which every wildcard has its shortest or a long text that no row spells.

_UNSPELLED = "\uf8ff"
_LONG = _UNSPELLED * 64


def _shadowed(mapping: WorkflowMapping, roots: Sequence[str]) -> Iterator[Finding]:
    router = Router(mapping)
    for rule in mapping.rules:
        if not rule.active:
            continue
        finding = _never_wins(router, rule, roots) or _only_on_its_level(router, rule, roots)
        if finding:
            yield finding


def _never_wins(router: Router, rule: MappingRule, roots: Sequence[str]) -> Finding | None:
    if not patterns.has_wildcard(rule.directory):
        return None
    winner = Match()
    for directory, root in _under_roots(rule, roots):
        for example in _examples(directory):
            winner = router.match(example, root)
            if _is_one_of(directory, root, winner):
                return None
    message = f"takes no file: wherever it matches, {winner.rules[0].directory} is more specific"
    return Finding(Severity.WARNING, Kind.SHADOWED, str(rule), message)


def _only_on_its_level(router: Router, rule: MappingRule, roots: Sequence[str]) -> Finding | None:
    """What lies below a directory goes to a row with `**`, which names it and so is nearer."""
    for directory, root in _under_roots(rule, roots):
        for example in _examples(directory):
            below = router.match(f"{example.rstrip('/')}/{_LONG}", root)
            if _is_one_of(directory, root, below) or patterns.ANY_DEPTH not in below.rules[0].directory:
                return None
            nearer = below.rules[0].directory
    message = f"takes only the files directly in it: those of directories below it go to {nearer}"
    return Finding(Severity.WARNING, Kind.SHADOWED, str(rule), message)


def _under_roots(rule: MappingRule, roots: Sequence[str]) -> list[tuple[str, str]]:
    """The rule's directory under each root, and the root."""
    return [(paths.canonical(rule.directory, root), root) for root in roots or ["/"]]


def _is_one_of(directory: str, root: str, match: Match) -> bool:
    return any(paths.canonical(rule.directory, root) == directory for rule in match.rules)


def _examples(directory: str) -> Iterator[str]:
    """Directories that a pattern matches; of one without wildcards, itself."""
    top = paths.top(directory)
    segments = paths.segments(top, directory)
    for text in ("", _LONG):
        for levels in ((), (_LONG, _LONG)):
            found: list[str] = []
            for segment in segments:
                if segment == patterns.ANY_DEPTH:
                    found += levels
                else:
                    name = segment.replace("*", text).replace("?", _UNSPELLED)
                    found.append(name or _UNSPELLED)
            yield paths.joined(top, found)


# Directories and names.


def _outside(active: Iterable[MappingRule], roots: Sequence[str]) -> Iterator[Finding]:
    """Absolute directories that are neither in a stream's root nor above one."""
    absolute = [rule for rule in active if not paths.is_relative(rule.directory)]
    if absolute and not roots:
        message = "none has logged anything yet, so directories were not compared with their roots"
        yield Finding(Severity.WARNING, Kind.OUTSIDE, "streams", message)
        return
    for rule in absolute:
        if not any(_meets(paths.canonical(rule.directory), root) for root in roots):
            message = f"is outside of every stream's root ({', '.join(roots[:3])}): no file of it arrives"
            yield Finding(Severity.WARNING, Kind.OUTSIDE, str(rule), message)


def _meets(directory: str, root: str) -> bool:
    """Whether files below the root may be files of the directory."""
    top = paths.top(directory)
    if top != paths.top(root):
        return False
    for one, other in zip(paths.segments(top, directory), paths.segments(top, root), strict=False):
        if patterns.ANY_DEPTH in (one, other):
            return True
        if not overlap(one, other):
            return False
    return True


def _hidden(active: Iterable[MappingRule]) -> Iterator[Finding]:
    for rule in active:
        if (rule.completion_marker or "").startswith(HIDDEN):
            message = (
                f"waits for {rule.completion_marker}, and Auto Loader lists no file whose name begins with _ "
                f"or a dot: each batch waits for max_wait_seconds ({rule.max_wait_seconds})"
            )
            yield Finding(Severity.ERROR, Kind.HIDDEN, str(rule), message)
        if (rule.file_pattern or "").startswith(HIDDEN):
            message = "picks no file: Auto Loader lists none whose name begins with _ or a dot"
            yield Finding(Severity.ERROR, Kind.HIDDEN, str(rule), message)


# Workflows.


def _workflows(
    active: Iterable[MappingRule], jobs: Mapping[str, Sequence[CheckedJob]], principal: str
) -> Iterator[Finding]:
    unknown = []
    for name in sorted({rule.workflow_name for rule in active}):
        found = jobs.get(name, ())
        if len(found) != 1:
            yield Finding(Severity.ERROR, Kind.WORKFLOW, name, _not_one(found, principal))
            continue
        job = found[0]
        if job.may_run is None:
            unknown.append(name)
        elif not job.may_run:
            message = f"{principal} may not start job {job.job_id}: grant CAN_MANAGE_RUN"
            yield Finding(Severity.ERROR, Kind.WORKFLOW, name, message)
        for message in _as_made(job):
            yield Finding(Severity.WARNING, Kind.JOB, name, message)
    if unknown:
        listed = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        message = (
            f"whether {principal} may start these cannot be told, as grants are not to be read: {listed}"
        )
        yield Finding(Severity.WARNING, Kind.JOB, "permissions", message)


def _not_one(found: Sequence[CheckedJob], principal: str) -> str:
    if not found:
        return f"there is no job of this name, or it is not visible to {principal} (CAN_VIEW)"
    ids = ", ".join(str(job.job_id) for job in sorted(found, key=lambda j: j.job_id)[:5])
    return f"{len(found)} jobs have this name ({ids}), so none is started: rename all but one"


def _as_made(job: CheckedJob) -> Iterator[str]:
    if not job.queue:
        yield f"job {job.job_id} has no queue: runs that others start while it is busy are skipped"
    if "trigger_id" not in job.parameters:
        yield f"job {job.job_id} does not declare the parameter trigger_id: it is not told its files"
