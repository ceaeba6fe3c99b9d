"""What pytest has found is told in a line, and a run that did not work is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from demo.processes import DemoError
from demo.stage import REPOSITORY
from matrix.environments import _made
from matrix.unit_tests import LEFT_OUT, TESTS, run_tests, summary


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("..\n==== 2 failed, 88 passed in 202.74s (0:03:22) ====\n", "2 failed, 88 passed"),
        ("5 passed, 3 skipped, 2 warnings in 1.00s\n", "5 passed, 3 skipped"),
        ("1 passed in 1.00s\n3 errors in 2.00s\n", "3 errors"),
        ("no module named pytest", "no test ran"),
    ],
)
def test_the_last_line_is_told(printed: str, told: str) -> None:
    assert summary(printed) == told


def test_an_environment_that_cannot_test_has_failed(tmp_path: Path) -> None:
    bare = _made(tmp_path / "bare", sys.executable, [], recipe="")
    with pytest.raises(DemoError, match="no test ran"):
        run_tests(bare, REPOSITORY, tmp_path / "log")
    assert "pytest" in (tmp_path / "log").read_text()


def test_what_is_run_is_there() -> None:
    assert all((REPOSITORY / folder).is_dir() for folder in (*TESTS, *LEFT_OUT))
