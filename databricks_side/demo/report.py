"""What came of it: landed against read, pair by pair, and the lines and tables that say so."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from rich.markup import escape
from rich.table import Table

from demo.scenario import LandingFile, LeftOut
from demo.screen import shown

LOGGED_AS: Mapping[LeftOut, str] = {
    LeftOut.UNMAPPED: "UNMAPPED",
    LeftOut.INACTIVE: "INACTIVE",
    LeftOut.NO_SUCH_WORKFLOW: "NO_SUCH_WORKFLOW",
    LeftOut.REFUSED: "ERROR",
}
"""The status in the trigger log of files that no workflow reads. Hidden ones are not even arrivals."""

Pair = tuple[str, str]
"""A workflow and the path of a file that it reads, relative to the landing folder."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a run says that it has read."""

    workflow: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status of the trigger log: how many requests have it, and how many files they cover."""

    status: str
    requests: int
    files: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Landed against read. `consumed`: files that each of their workflows has read, whole and once."""

    landed: int
    consumed: int
    pairs: int
    lost: tuple[Pair, ...]
    doubled: tuple[Pair, ...]
    left_out: Mapping[LeftOut, int]


def reconcile(files: Sequence[LandingFile], reads: Sequence[Read]) -> Reconciliation:
    """Compare what was read with what the scenario says.

    Lost is each pair that was not read, or read with other content. Doubled is each read beyond what is due:
    a second one, or one by a workflow that the file is not for.
    """
    due = {
        (workflow, file.path): hashlib.sha256(file.content).hexdigest()
        for file in files
        for workflow in file.workflows
    }
    right = Counter((r.workflow, r.path) for r in reads if due.get((r.workflow, r.path)) == r.sha256)
    every = Counter((r.workflow, r.path) for r in reads)
    lost = tuple(sorted(pair for pair in due if not right[pair]))
    doubled = tuple(sorted((every - Counter(due.keys())).elements()))
    troubled = {path for _, path in (*lost, *doubled)}
    listed = [file for file in files if file.left_out is not LeftOut.HIDDEN]
    return Reconciliation(
        landed=len(listed),
        consumed=sum(1 for file in listed if file.workflows and file.path not in troubled),
        pairs=len(due),
        lost=lost,
        doubled=doubled,
        left_out=Counter(file.left_out for file in files if file.left_out),
    )


def disagreements(found: Reconciliation, outcomes: Sequence[Outcome]) -> list[str]:
    """Where the trigger log says another number of files than the scenario, in words."""
    logged: Counter[str] = Counter()
    for outcome in outcomes:
        # A run that had ended when it was looked at once more was started all the same.
        logged["TRIGGERED" if outcome.status == "SUCCEEDED" else outcome.status] += outcome.files
    wanted = {LOGGED_AS[reason]: n for reason, n in found.left_out.items() if reason in LOGGED_AS}
    wanted["TRIGGERED"] = found.pairs
    return [
        f"{status}: the log says {logged[status]} files, the scenario {wanted.get(status, 0)}"
        for status in sorted({*logged, *wanted})
        if logged[status] != wanted.get(status, 0)
    ]


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """The outcomes by status."""
    table = Table(title="Outcomes in the trigger log", title_justify="left")
    table.add_column("status")
    table.add_column("requests", justify="right")
    table.add_column("files", justify="right")
    for outcome in sorted(outcomes, key=lambda o: -o.requests):
        table.add_row(outcome.status, str(outcome.requests), str(outcome.files))
    return table


def reconciliation_table(found: Reconciliation) -> Table:
    """Where every file that landed has gone."""
    table = Table(title="Landed against read", title_justify="left")
    table.add_column("files")
    table.add_column("number", justify="right")
    table.add_row("landed where the stream looks", str(found.landed))
    table.add_row("read, whole and once, by each of their workflows", str(found.consumed))
    for reason in LeftOut:
        if reason is not LeftOut.HIDDEN:
            table.add_row(f"left out on purpose: {reason}", str(found.left_out.get(reason, 0)))
    table.add_row("lost", str(len({path for _, path in found.lost})))
    table.add_row("doubled", str(len({path for _, path in found.doubled})))
    table.add_row(f"besides: {LeftOut.HIDDEN}", str(found.left_out.get(LeftOut.HIDDEN, 0)), style="dim")
    return table


def journey_table(path: str, steps: Sequence[tuple[str, datetime]]) -> Table:
    """One file's way: each step with its time and the seconds since the one before."""
    table = Table(title=f"The way of one file: {escape(shown(path))}", title_justify="left")
    table.add_column("step")
    table.add_column("UTC")
    table.add_column("after", justify="right")
    before = steps[0][1]
    for name, at in steps:
        table.add_row(escape(name), at.strftime("%H:%M:%S.%f")[:-3], f"{(at - before).total_seconds():.1f} s")
        before = at
    return table


def spread(seconds: Sequence[float]) -> str:
    """The median and the longest of some times."""
    return f"p50 {median(seconds):.1f} s, max {max(seconds):.1f} s" if seconds else "none"


def last_line(found: Reconciliation, outcomes: Sequence[Outcome], runs: int, seconds: float) -> str:
    """The demo in one line."""
    requests = {outcome.status: outcome.requests for outcome in outcomes}
    return (
        f"demo: files={found.landed} consumed={found.consumed} lost={len(found.lost)} "
        f"duplicated={len(found.doubled)} runs={runs} unmapped={requests.get('UNMAPPED', 0)} "
        f"errors={requests.get('ERROR', 0)} seconds={seconds:.0f}"
    )
