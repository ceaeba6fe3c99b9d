"""`file-arrivals replay`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.commands.log import SHOWN_ID
from databricks_file_arrivals.commands.screen import confirm, counted, json_text, plain, wrapped
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.replays import DEFAULT, NAMED_ONLY, Selection
from databricks_file_arrivals.workspace.claims import Options
from databricks_file_arrivals.workspace.replays import Replay, Replayer

_SHOWN = 100


def add(commands: takes.Commands) -> None:
    """Say what the command takes."""
    parser = takes.command(
        commands,
        "replay",
        run,
        "start again what failed, was unmapped, or is chosen",
        "Shows first what would be started, and asks. What is started is a request of its own, at once, "
        "whatever its rule waits for.",
    )
    takes.log_table(parser)
    takes.mapping_table(parser)
    takes.consumer(parser, "whose outcomes")
    parser.add_argument("--directory", help="outcomes of this directory and of those below it")
    parser.add_argument("--workflow", help="outcomes of this workflow")
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="STATUS",
        help=f"may be repeated (default: {', '.join(DEFAULT)}; only when named: {', '.join(NAMED_ONLY)})",
    )
    parser.add_argument("--since", type=takes.moment, help="recorded at this time or later (UTC)")
    parser.add_argument("--until", type=takes.moment, help="recorded before this time (UTC)")
    parser.add_argument(
        "--trigger-id",
        action="append",
        default=[],
        metavar="ID",
        help="this request, by its trigger_id or the beginning of it; may be repeated",
    )
    parser.add_argument("--start", metavar="WORKFLOW", help="start this workflow instead of the recorded one")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also what was replayed before, is tried again by itself, or may have been started after all",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be started, and start nothing"
    )
    takes.yes(parser)
    takes.output(parser)


def run(arguments: argparse.Namespace) -> takes.Said:
    """Show, ask, start, and say what came of it: exit code 1 when a start failed."""
    selection = _selection(arguments)
    options = Options(arguments.consumer, arguments.log_table)
    replayer = Replayer(takes.hook(arguments), takes.names(arguments), options)
    found = replayer.preview(selection)
    text = arguments.output == "text"
    if text:
        yield from _shown(found)
    startable = [each for each in found if each.rows]
    if arguments.dry_run or not startable:
        yield "nothing was started" if text else _json(found, {})
        return 0
    confirm(f"Start {counted(_starts(found), 'run')}?", arguments)
    done = replayer.replay(_only(selection, startable))
    report = replayer.report
    failed = [*report.refused, *report.unavailable]
    if text:
        for line in failed:
            yield wrapped(f"did not start: {line}", 0)
        counts = ", ".join(f"{n} {status}" for status, n in sorted(report.counts.items()))
        yield f"replayed {counted(sum(bool(each.rows) for each in done), 'outcome')}: {counts or 'none'}"
    else:
        yield _json(done, report.as_dict())
    return 1 if failed else 0


def _selection(arguments: argparse.Namespace) -> Selection:
    return Selection(
        consumer=arguments.consumer,
        directory=arguments.directory,
        workflow=arguments.workflow,
        statuses=tuple(_status(text) for text in arguments.status),
        since=arguments.since,
        until=arguments.until,
        trigger_ids=tuple(arguments.trigger_id),
        start=arguments.start,
        force=arguments.force,
    )


def _status(text: str) -> Status:
    try:
        return Status(text.upper())
    except ValueError:
        known = ", ".join((*DEFAULT, *NAMED_ONLY))
        raise BadInput(f"{text!r} is no status of an outcome; there are {known}.") from None


def _only(selection: Selection, startable: Sequence[Replay]) -> Selection:
    """What was shown, and nothing that came since: all else of the selection still has to be so."""
    shown = tuple(each.row.trigger_id or "" for each in startable)
    return Selection(
        consumer=selection.consumer,
        statuses=tuple({each.row.status for each in startable}),
        trigger_ids=shown,
        start=selection.start,
        force=selection.force,
    )


def _starts(found: Sequence[Replay]) -> int:
    return sum(len(each.starts) for each in found)


def _shown(found: Sequence[Replay]) -> Iterator[str]:
    startable = [each for each in found if each.rows]
    left = [each for each in found if not each.rows]
    for each in startable[:_SHOWN]:
        yield _line(each)
        for row in each.starts:
            files = counted(row.file_count or 0, "file")
            yield f"    starts {plain(row.workflow_name)} for {plain(row.directory)}, {files}"
        rest = sum(row.file_count or 0 for row in each.rows if row.status is not Status.PLANNED)
        if rest:
            yield f"    leaves {counted(rest, 'file')} without a workflow"
    for each in left[:_SHOWN]:
        yield _line(each)
        yield wrapped(f"left: {each.reason}", 4)
    hidden = len(startable[_SHOWN:]) + len(left[_SHOWN:])
    if hidden:
        yield f"… and {counted(hidden, 'outcome')} more; --output json has them all"
    by_status = Counter(each.row.status.value for each in startable)
    counts = ", ".join(f"{n} {status}" for status, n in sorted(by_status.items()))
    of = f" ({counts})" if counts else ""
    yield (
        f"{counted(len(startable), 'outcome')} to replay{of}, {counted(_starts(found), 'run')}; "
        f"{len(left)} left"
    )


def _line(each: Replay) -> str:
    row = each.row
    workflow = f" → {plain(row.workflow_name)}" if row.workflow_name else ""
    return f"{row.status:<16}  {(row.trigger_id or '')[:SHOWN_ID]}  {plain(row.directory)}{workflow}"


def _json(found: Sequence[Replay], report: dict[str, Any]) -> str:
    return json_text(
        {
            "outcomes": [
                {
                    "trigger_id": each.row.trigger_id,
                    "status": each.row.status,
                    "directory": each.row.directory,
                    "workflow_name": each.row.workflow_name,
                    "left_because": each.reason or None,
                    "starts": [
                        {
                            "workflow_name": row.workflow_name,
                            "directory": row.directory,
                            "file_count": row.file_count,
                            "trigger_id": row.trigger_id,
                        }
                        for row in each.starts
                    ],
                }
                for each in found
            ],
            "report": report,
        }
    )
