"""`file-arrivals deploy`."""

from __future__ import annotations

import argparse

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.core.deployment import deploy


def add(commands: takes.Commands) -> None:
    """Say what the command takes."""
    parser = takes.command(
        commands, "deploy", run, "create the tables, views and the SQL function that are missing"
    )
    takes.mapping_table(parser)
    takes.log_table(parser, required=False, more="; without it only the mapping table is made")
    parser.add_argument(
        "--upgrade", action="store_true", help="add the columns that older tables lack; replace views"
    )


def run(arguments: argparse.Namespace) -> takes.Said:
    """Make what is missing, and say what was made."""
    hook = takes.hook(arguments)
    yield str(deploy(hook, arguments.workflow_mapping_table, arguments.log_table, upgrade=arguments.upgrade))
    return 0
