"""The command `file-arrivals`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import TextIO

from databricks_file_arrivals import __version__
from databricks_file_arrivals.commands import cursor, deploy, explain, log, mapping, replay
from databricks_file_arrivals.commands.arguments import Said
from databricks_file_arrivals.core.errors import FileArrivalsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command: 0 when it did what it says, 1 with the reason when not, 2 when it was called
    wrongly."""
    arguments = _parser().parse_args(argv)
    # The standard output is for what the command says: Airflow logs to it too.
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            return _say(arguments.run(arguments), out)
        except FileArrivalsError as error:
            print(f"file-arrivals: {error}", file=sys.stderr)
            return 1


def _say(said: Said, out: TextIO) -> int:
    """Print what a command says, as it says it; its exit code."""
    while True:
        try:
            print(next(said), file=out, flush=True)
        except StopIteration as end:
            return int(end.value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="file-arrivals",
        description="Databricks jobs for arriving files: the tables behind the Airflow operators.",
        epilog="Each command has a --help of its own. Exit codes: 0 done, 1 not done or something is wrong, "
        "2 called wrongly.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (deploy, mapping, log, explain, replay, cursor):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
