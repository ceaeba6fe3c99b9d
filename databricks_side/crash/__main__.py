"""`python -m crash`: kills everything at random while files land; compares what landed with what was told."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path
from types import FrameType

from demo.processes import DemoError

from crash.play import Wanted, crash
from crash.stage import PASSING

DEFAULT_STATE = Path(".state") / "crash"
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m crash",
        description="Lands files while it kills the stream, tasks, triggerer, scheduler and the workspace at "
        "random moments and at the points of a claim, and makes calls fail. Then compares what landed with "
        "what the jobs were told: exit code 1 if anything was lost or told twice.",
    )
    whole.add_argument("--kills", type=int, default=110, help="how many (default: %(default)s)")
    whole.add_argument("--arrivals", type=int, default=10_000, help="files that land (default: %(default)s)")
    whole.add_argument(
        "--minutes",
        type=float,
        default=30,
        help="over how many it spreads all that; at most twice as many (default: %(default)s)",
    )
    whole.add_argument("--seed", type=int, help="of what is chosen at random; a new one if left out")
    whole.add_argument(
        "--state",
        type=lambda text: Path(text).absolute(),
        default=DEFAULT_STATE.absolute(),
        metavar="DIR",
        help=f"folder for all that it makes; emptied at each start (default: {DEFAULT_STATE})",
    )
    return whole


def main() -> int:
    """Run it; whatever goes wrong is told with the place of the logs, and nothing is left running."""
    given = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    try:
        return crash(given.state, Wanted(given.kills, given.arrivals, given.minutes, seed))
    except (DemoError, *PASSING) as error:
        sys.stderr.write(f"crash: {error}\nAll processes have ended. Logs: {given.state}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"crash: interrupted. All processes have ended. Logs: {given.state}\n")
        return INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
