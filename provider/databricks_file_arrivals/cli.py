"""The command `file-arrivals`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from databricks_file_arrivals import __version__
from databricks_file_arrivals.commands import deploy, log
from databricks_file_arrivals.core.errors import FileArrivalsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command: 0 when it did what it says, 1 with the reason when not, 2 when it was called
    wrongly."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except FileArrivalsError as error:
        print(f"file-arrivals: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="file-arrivals",
        description="Databricks jobs for arriving files: the tables behind the Airflow operators.",
        epilog="Each command has a --help of its own. Exit codes: 0 done, 1 not done or something is wrong, "
        "2 called wrongly.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (deploy, log):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
