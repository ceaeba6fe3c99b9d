"""`python -m matrix [3.3 …]`: installs, tests and runs the provider on every Airflow that it is for."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests
from databricks.sdk.errors.base import DatabricksError
from demo.processes import DemoError
from demo.screen import Screen
from demo.stage import REPOSITORY
from rich.table import Table

from databricks_file_arrivals.core.errors import FileArrivalsError
from matrix.environments import command
from matrix.trial import STEPS, Trial
from matrix.versions import Version, chosen

DEFAULT_STATE = Path(".state") / "matrix"
FAILED = "FAILED"
FAILURES = (DemoError, FileArrivalsError, DatabricksError, requests.RequestException)
INTERRUPTED = 130


@dataclass
class Result:
    """What came of one version, by step."""

    version: Version
    python: str
    told: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether any step has failed."""
        return FAILED in self.told.values()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m matrix", description=__doc__)
    whole.add_argument(
        "versions", nargs="*", metavar="VERSION", help="such as 2.11 or 3.0.6; all if left out"
    )
    whole.add_argument(
        "--steps", nargs="+", choices=STEPS, default=STEPS, help="which of them (default: all, in this order)"
    )
    whole.add_argument(
        "--pytest",
        type=shlex.split,
        default=[],
        metavar="WORDS",
        help='more words for pytest, such as --pytest="-k compat"',
    )
    whole.add_argument(
        "--state",
        type=lambda text: Path(text).absolute(),
        default=DEFAULT_STATE.absolute(),
        metavar="DIR",
        help=f"folder for environments and logs, which are used again (default: {DEFAULT_STATE})",
    )
    return whole


def main() -> int:
    """Go through the versions, tell what came of each, and fail when anything failed."""
    given = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_wheel(Path(folder))
            trials = [Trial(version, wheel, given.state, screen) for version in chosen(given.versions)]
            results = [one(trial, given.steps, given.pytest) for trial in trials]
    except FAILURES as error:
        sys.stderr.write(f"matrix: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"matrix: interrupted. Logs: {given.state}\n")
        return INTERRUPTED
    screen.table(table(results, given.steps))
    failed = sum(result.failed for result in results)
    screen.plain(f"matrix: {len(results) - failed} of {len(results)} versions are good, {failed} are not")
    return 1 if failed else 0


def build_wheel(folder: Path) -> Path:
    """The provider's wheel, built from a copy: what an older build has left does not get into it."""
    sources = folder / "sources"
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "provider", sources / "provider", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, sources / name)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, sources]
    command([str(word) for word in words])
    (wheel,) = folder.glob("*.whl")
    return wheel


def one(trial: Trial, wanted: Sequence[str], words: Sequence[str]) -> Result:
    """The wanted steps on one version; one that fails does not keep the others from being tried."""
    result = Result(trial.version, trial.python)
    for step, act in trial.steps(tuple(words)).items():
        if step in wanted:
            trial.say(f"{step} …")
            try:
                result.told[step] = act()
            except FAILURES as error:
                result.told[step] = FAILED
                trial.say(f"{step}: {FAILED}: {error}")
            else:
                trial.say(f"{step}: {result.told[step]}")
    return result


def table(results: Sequence[Result], steps: Sequence[str]) -> Table:
    """What came of all, a line for each version."""
    made = Table("Airflow", "from", "Python", "Databricks provider", *steps)
    for result in results:
        version = result.version
        told = [result.told.get(step, "") for step in steps]
        made.add_row(version.airflow, version.where, result.python, version.databricks, *told)
    return made


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
