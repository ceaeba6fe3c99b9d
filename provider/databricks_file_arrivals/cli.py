"""The command `file-arrivals`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from databricks_file_arrivals import __version__
from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.errors import FileArrivalsError, StatementFailed
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, Names
from databricks_file_arrivals.workspace.ledger import table_missing

if TYPE_CHECKING:
    from databricks_file_arrivals.hooks import FileArrivalsHook


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command: 0 when it did what it says, 1 with the reason on stderr when not."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except FileArrivalsError as error:
        print(f"file-arrivals: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="file-arrivals",
        description="Databricks jobs for arriving files: the tables behind the Airflow operators.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    make = commands.add_parser(
        "deploy", help="create the tables, views and the SQL function that are missing"
    )
    _connection_arguments(make)
    make.add_argument("--workflow-mapping-table", required=True, help="such as main.ingest.workflow_mapping")
    make.add_argument(
        "--log-table", help="such as main.ingest.file_log; without it only the mapping table is made"
    )
    make.add_argument(
        "--upgrade", action="store_true", help="add the columns that older tables lack; replace views"
    )
    make.set_defaults(run=_deploy)

    show = commands.add_parser("log", help="show the outcomes in a trigger log, the newest first")
    _connection_arguments(show)
    show.add_argument("--log-table", required=True, help="such as main.ingest.file_log")
    show.add_argument("--consumer", default=DEFAULT_CONSUMER, help="whose outcomes (default: %(default)s)")
    show.add_argument("--status", action="append", metavar="STATUS", help="only these; may be repeated")
    show.add_argument("--limit", type=int, default=50, help="how many at most (default: %(default)s)")
    show.set_defaults(run=_log)
    return parser


def _connection_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--databricks-conn-id",
        default="databricks_default",
        help="an Airflow connection (default: %(default)s)",
    )
    parser.add_argument("--warehouse-id", help="a SQL warehouse (default: the connection's http_path)")


def _hook(arguments: argparse.Namespace) -> FileArrivalsHook:
    # Airflow takes seconds to import: --help should not wait for it.
    from databricks_file_arrivals.hooks import FileArrivalsHook

    return FileArrivalsHook(arguments.databricks_conn_id, arguments.warehouse_id)


def _deploy(arguments: argparse.Namespace) -> None:
    done = deploy(
        _hook(arguments), arguments.workflow_mapping_table, arguments.log_table, upgrade=arguments.upgrade
    )
    print(done)


def _log(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    names = Names.of(arguments.log_table)
    statuses = [status.upper() for status in arguments.status or ()]
    markers = ", ".join(f":status{i}" for i in range(len(statuses)))
    rows = _rows(
        arguments,
        names,
        "SELECT status, workflow_name, directory, file_count, run_id, attempt, epoch, recorded_at, error "
        f"FROM {names.log.derive('_latest').sql} WHERE consumer = :consumer "
        + (f"AND status IN ({markers}) " if statuses else "")
        + "ORDER BY epoch DESC, workflow_name, directory LIMIT CAST(:most AS INT)",
        {
            "consumer": arguments.consumer,
            "most": arguments.limit,
            **{f"status{i}": status for i, status in enumerate(statuses)},
        },
    )
    table = Table(title=f"{names.log}, consumer {arguments.consumer}", title_justify="left")
    for heading in ("epoch", "status", "workflow", "directory", "files", "run_id", "recorded", "error"):
        table.add_column(heading, justify="right" if heading in ("epoch", "files", "run_id") else "left")
    for row in rows:
        cells = (
            row["epoch"],
            row["status"],
            row["workflow_name"],
            row["directory"],
            row["file_count"],
            row["run_id"],
            row["recorded_at"].strftime("%Y-%m-%d %H:%M:%S"),
            row["error"],
        )
        table.add_row(*("" if cell is None else _plain(str(cell)) for cell in cells))
    Console().print(table)
    print(f"{len(rows)} outcomes")


def _rows(
    arguments: argparse.Namespace, names: Names, statement: str, parameters: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    try:
        return _hook(arguments).query(statement, parameters)
    except StatementFailed as error:
        raise table_missing(error, names) from error


def _plain(text: str) -> str:
    """Text that a table cell shows as it is: directory names may hold markup and line breaks."""
    from rich.markup import escape

    return escape(text.replace("\n", "\\n"))


if __name__ == "__main__":
    sys.exit(main())
