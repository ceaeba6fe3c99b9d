"""One step that fails is told, and does not keep the others from being tried."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from demo.processes import DemoError
from demo.screen import Screen
from matrix.__main__ import FAILED, Result, build_wheel, one, parser, table
from matrix.trial import STEPS, Trial
from matrix.versions import VERSIONS


class Prepared(Trial):
    """A trial whose first step fails."""

    def steps(self, words: tuple[str, ...]) -> Mapping[str, Callable[[], str]]:
        def fail() -> str:
            raise DemoError("on purpose")

        return {STEPS[0]: fail, STEPS[1]: lambda: " ".join(words)}


def test_a_step_that_fails_is_told_and_the_next_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Prepared(VERSIONS[0], tmp_path, tmp_path, Screen())
    result = one(trial, STEPS, ["5", "passed"])
    assert result.told == {"install": FAILED, "tests": "5 passed"} and result.failed
    assert "install: FAILED: on purpose" in capsys.readouterr().out
    assert not one(trial, [STEPS[1]], ["x"]).failed


def test_the_table_has_a_line_for_each_version() -> None:
    made = table([Result(VERSIONS[0], "3.12.1", {"tests": "5 passed"}), Result(VERSIONS[1], "3.12.1")], STEPS)
    assert made.row_count == 2 and [column.header for column in made.columns][-3:] == list(STEPS)


def test_all_is_wanted_unless_it_is_said() -> None:
    given = parser().parse_args([])
    assert given.versions == [] and tuple(given.steps) == STEPS
    given = parser().parse_args(["3.3", "--steps", "tests", "--pytest=-k 'a and b'"])
    assert given.steps == ["tests"] and given.pytest == ["-k", "a and b"]


def test_the_wheel_is_the_provider(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        assert "databricks_file_arrivals/compat.py" in archive.namelist()
