"""`file-arrivals log`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.commands.screen import counted, json_text, plain, when, wrapped
from databricks_file_arrivals.core.errors import StatementFailed
from databricks_file_arrivals.workspace.log_tables import table_missing

SHOWN_ID = 20
"""So many characters of a `trigger_id` tell it from all others: the epoch and some of the hash."""
_LINE = "{:<16}  {:>6}  {:<16}  {:<19}  {}"


def add(commands: takes.Commands) -> None:
    """Say what the command takes."""
    parser = takes.command(commands, "log", run, "show the outcomes in a trigger log, the newest first")
    takes.log_table(parser)
    takes.consumer(parser, "whose outcomes")
    parser.add_argument("--status", action="append", metavar="STATUS", help="only these; may be repeated")
    parser.add_argument("--limit", type=int, default=50, help="how many at most (default: %(default)s)")
    takes.output(parser)


def run(arguments: argparse.Namespace) -> takes.Said:
    """Print the state of each request."""
    names = takes.names(arguments)
    statuses = [status.upper() for status in arguments.status or ()]
    markers = ", ".join(f":status{i}" for i in range(len(statuses)))
    try:
        rows = takes.hook(arguments).query(
            f"SELECT * FROM {names.log.derive('_latest').sql} WHERE consumer = :consumer "
            + (f"AND status IN ({markers}) " if statuses else "")
            + "ORDER BY epoch DESC, workflow_name, directory LIMIT CAST(:most AS INT)",
            {
                "consumer": arguments.consumer,
                "most": arguments.limit,
                **{f"status{i}": status for i, status in enumerate(statuses)},
            },
        )
    except StatementFailed as error:
        raise table_missing(error, names) from error
    if arguments.output == "json":
        yield json_text(rows)
        return 0
    if rows:
        yield _LINE.format("STATUS", "FILES", "RUN", "RECORDED", "WORKFLOW")
        yield f"  {'TRIGGER ID':<{SHOWN_ID}}  DIRECTORY"
    for row in rows:
        yield described(row)
    yield f"{counted(len(rows), 'outcome')} of the consumer {arguments.consumer} in {names.log}"
    return 0


def described(row: Mapping[str, Any]) -> str:
    """A row of the log in two lines or more, the first of 80 columns but for the workflow's name."""
    files = "" if row["file_count"] is None else f"{row['file_count']:,}"
    first = _LINE.format(
        row["status"], files, plain(row["run_id"]), when(row["recorded_at"]), plain(row["workflow_name"])
    )
    lines = [first.rstrip()]
    lines.append(f"  {(row['trigger_id'] or '')[:SHOWN_ID]:<{SHOWN_ID}}  {plain(row['directory'])}")
    if row.get("waits_for"):
        lines.append(wrapped("waits for " + ", ".join(row["waits_for"]), 4))
    if row["error"]:
        lines.append(wrapped(row["error"], 4))
    return "\n".join(lines)
