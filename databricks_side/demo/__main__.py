"""`python -m demo demo` shows the main job, end to end; `python -m demo up` keeps it running."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

import requests
from databricks.sdk.errors.base import DatabricksError

from databricks_file_arrivals.core.errors import FileArrivalsError
from demo.play import play
from demo.processes import DemoError
from demo.stay import stay

DEFAULT_STATE = Path(".state") / "demo"
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, function, what in (
        (
            "demo",
            play,
            "land files in two waves, and reconcile what was read; 1 if anything was lost or doubled",
        ),
        ("up", stay, "start everything and keep it running until Ctrl-C"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument(
            "--state",
            type=lambda text: Path(text).absolute(),
            default=DEFAULT_STATE.absolute(),
            metavar="DIR",
            help=f"folder for all that it makes; emptied at each start (default: {DEFAULT_STATE})",
        )
        command.set_defaults(function=function)
    return whole


def main() -> int:
    """Run a command; whatever goes wrong is told with the place of the logs, and nothing is left running."""
    arguments = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        code: int = arguments.function(arguments.state)
        return code
    except (DemoError, FileArrivalsError, DatabricksError, requests.RequestException) as error:
        sys.stderr.write(f"demo: {error}\nAll processes have ended. Logs: {arguments.state}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"demo: interrupted. All processes have ended. Logs: {arguments.state}\n")
        return INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
