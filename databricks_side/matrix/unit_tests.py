"""The provider's own tests and those of its DAGs, in an environment of the matrix."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from demo.processes import DemoError, environment

from local_workspace.testing import PYTHON
from matrix.environments import Environment

TESTS = ("tests/databricks_file_arrivals", "tests/dags")
LEFT_OUT = ("tests/databricks_file_arrivals/workspace",)
"""They take most of the time, of code that imports nothing of Airflow."""
_LAST_LINE = re.compile(r"^=*\s*(?=.*\d+ (?:passed|failed|error))(.+?) in [\d.]+s", re.MULTILINE)


def run_tests(tests: Environment, repository: Path, log: Path, more: tuple[str, ...] = ()) -> str:
    """Run them, with the local workspace in our own environment: pytest's counts. Raises DemoError."""
    command = [str(tests.python), "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", *TESTS]
    command += [*(f"--ignore={folder}" for folder in LEFT_OUT), *more]
    with log.open("wb") as output:
        done = subprocess.run(
            command,
            cwd=repository,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(tests.binaries, **{PYTHON: sys.executable}),
            check=False,
        )
    counts = summary(log.read_text(errors="replace"))
    if done.returncode != 0:
        raise DemoError(f"tests: {counts}. See {log}")
    return counts


def summary(printed: str) -> str:
    """The counts of pytest's last line."""
    found = _LAST_LINE.findall(printed)
    return re.sub(r", \d+ warnings?", "", found[-1]).strip() if found else "no test ran"
