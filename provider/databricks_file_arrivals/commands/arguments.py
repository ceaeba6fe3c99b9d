"""Arguments that several commands take, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeAlias

from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, Names

if TYPE_CHECKING:
    from databricks_file_arrivals.hooks import FileArrivalsHook

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Said: TypeAlias = "Generator[str, None, int]"
"""What a command prints, as it goes on; returns its exit code."""

Run: TypeAlias = Callable[[argparse.Namespace], Said]


def command(commands: Commands, name: str, run: Run, summary: str, more: str = "") -> argparse.ArgumentParser:
    """A sub-command, which needs a connection."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.{' ' if more else ''}{more}",
    )
    parser.set_defaults(run=run)
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--databricks-conn-id",
        default="databricks_default",
        help="an Airflow connection (default: %(default)s)",
    )
    group.add_argument("--warehouse-id", help="a SQL warehouse (default: the connection's http_path)")
    return parser


def log_table(parser: argparse.ArgumentParser, *, required: bool = True, more: str = "") -> None:
    """The trigger log, from whose name those of the other tables derive."""
    parser.add_argument("--log-table", required=required, help=f"such as main.ingest.file_log{more}")


def mapping_table(parser: argparse.ArgumentParser) -> None:
    """The mapping table."""
    parser.add_argument(
        "--workflow-mapping-table", required=True, help="such as main.ingest.workflow_mapping"
    )


def consumer(parser: argparse.ArgumentParser, what: str) -> None:
    """Whose claims are meant."""
    parser.add_argument("--consumer", default=DEFAULT_CONSUMER, help=f"{what} (default: %(default)s)")


def output(parser: argparse.ArgumentParser) -> None:
    """What is printed: for people, or for programs."""
    parser.add_argument(
        "--output", choices=("text", "json"), default="text", help="what to print (default: %(default)s)"
    )


def yes(parser: argparse.ArgumentParser) -> None:
    """Whether to ask before something is done."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def moment(text: str) -> datetime:
    """A time as a person writes it; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-05-31 or 2026-05-31T14:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def hook(arguments: argparse.Namespace) -> FileArrivalsHook:
    """The connection that a command was given."""
    # Airflow takes seconds to import: --help should not wait for it.
    from databricks_file_arrivals.hooks import FileArrivalsHook

    return FileArrivalsHook(arguments.databricks_conn_id, arguments.warehouse_id)


def names(arguments: argparse.Namespace) -> Names:
    """The tables that a command was given."""
    return Names.of(arguments.log_table, getattr(arguments, "workflow_mapping_table", "") or "")
