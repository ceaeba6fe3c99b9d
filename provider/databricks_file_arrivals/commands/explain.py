"""`file-arrivals explain`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.commands.log import SHOWN_ID
from databricks_file_arrivals.commands.screen import counted, json_text, plain, when, wrapped
from databricks_file_arrivals.core import paths, patterns
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.journeys import Arrived, Candidate, Verdict, candidates
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.workspace.journeys import Journeys


def add(commands: takes.Commands) -> None:
    """Say what the command takes."""
    parser = takes.command(
        commands,
        "explain",
        run,
        "tell the journey of one file: when it arrived, which rule takes it and why, what came of it",
        "The rule is the one of the mapping as it is now. Of a file that has not arrived it tells what would "
        "take it.",
    )
    parser.add_argument("path", metavar="PATH", help="the file, as the arrival log or the job has it")
    takes.log_table(parser)
    takes.mapping_table(parser)
    parser.add_argument(
        "--root", help="the monitored directory (default: that of the streams that hold PATH)"
    )
    takes.output(parser)


def run(arguments: argparse.Namespace) -> takes.Said:
    """Tell the journey."""
    path = paths.canonical(arguments.path, arguments.root or "")
    if paths.is_relative(path):
        raise BadInput(f"{path!r} is relative: write the whole path, or --root.")
    journeys = Journeys(takes.hook(arguments), takes.names(arguments))
    arrivals = journeys.arrivals(path)
    outcomes = [(each, journeys.outcomes(each), journeys.behind(each)) for each in arrivals]
    roots = [arguments.root] if arguments.root else _roots(path, arrivals, journeys.roots())
    rows = journeys.mapping_rows()
    rules = {root: candidates(rows, path, root) for root in roots}
    if arguments.output == "json":
        yield json_text(_as_dict(path, outcomes, rules))
        return 0
    for arrived, found, behind in outcomes:
        yield from _arrived(arrived, found, behind)
    if not arrivals:
        yield f"{plain(path)} has not arrived"
    for root, each in rules.items():
        yield from _rules(root, each, bool(arrivals))
    return 0


def _roots(path: str, arrivals: Sequence[Arrived], roots: Sequence[str]) -> list[str]:
    """The roots that count: of the streams that saw the file, else of those that would; else none."""
    if arrivals:
        return sorted({each.root for each in arrivals})
    above = set(paths.ancestry(paths.canonical(path)))
    return [r for r in roots if paths.canonical(r) in above or patterns.has_wildcard(r)] or [""]


def _arrived(arrived: Arrived, found: Sequence[LogRow], behind: Sequence[str]) -> Iterator[str]:
    yield plain(arrived.path)
    yield f"  arrived {when(arrived.logged_at)} in batch {arrived.batch_id} of stream {arrived.stream_id}"
    for row in found:
        yield from _outcome(row)
    for consumer in behind:
        yield f"  {consumer}: has not claimed it yet"
    if not found and not behind:
        yield "  no consumer has a row for it: their cursors began after it"


def _outcome(row: LogRow) -> Iterator[str]:
    run = f", run {row.run_id}" if (row.run_id or 0) > 1 else ""
    attempt = f", attempt {row.attempt}" if (row.attempt or 1) > 1 else ""
    workflow = f" → {plain(row.workflow_name)}" if row.workflow_name else ""
    yield f"  {row.consumer}: {row.status}{workflow}{run}{attempt}"
    files = counted(row.file_count or 0, "file")
    yield f"    {when(row.recorded_at)}  {(row.trigger_id or '')[:SHOWN_ID]}  with {files} of"
    yield f"    {plain(row.directory)}"
    if row.replay_of:
        yield f"    replays {row.replay_of[:SHOWN_ID]}"
    if row.waits_for:
        yield wrapped("waits for " + ", ".join(row.waits_for), 4)
    if row.error:
        yield wrapped(row.error, 4)


def _rules(root: str, found: Sequence[Candidate], arrived: bool) -> Iterator[str]:
    under = f" below {plain(root)}" if root else " outside of every stream's root"
    taking = [each for each in found if each.verdict is Verdict.TAKES]
    for each in taking:
        yield f"{'is taken by' if arrived else 'would be taken by'} {plain(each.row)}"
    if not taking:
        yield f"no row of the mapping table takes it{under}"
    for each in found:
        if each.verdict is not Verdict.TAKES:
            note = f": {plain(each.note)}" if each.note else ""
            yield f"  not by {plain(each.row)}"
            yield wrapped(f"{each.verdict.value}{note}", 4)


def _as_dict(path: str, outcomes: Sequence[tuple[Arrived, Any, Any]], rules: Any) -> dict[str, Any]:
    return {
        "path": path,
        "arrivals": [
            {"arrival": arrived, "outcomes": found, "not_claimed_by": behind}
            for arrived, found, behind in outcomes
        ],
        "rules": [{"root": root or None, "candidates": found} for root, found in rules.items()],
    }
