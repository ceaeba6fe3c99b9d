"""Environments are made once for a recipe, and hold what they are told to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from demo.processes import DemoError
from demo.stage import REPOSITORY
from matrix.environments import LOOSE_TOOLS, TOOLS, Environment, _made, command, find_python


def test_an_interpreter_is_found_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setenv("PYTHON" + running.replace(".", "_"), sys.executable)
    assert find_python(running) == sys.executable
    monkeypatch.setenv("PYTHON3_99", sys.executable)
    assert find_python("3.99") is None, "an interpreter of another version is none"


def test_an_environment_is_used_again_while_its_recipe_is_the_same(tmp_path: Path) -> None:
    made = _made(tmp_path / "e", sys.executable, [], recipe="a")
    assert made.frozen() == frozenset()
    (made.folder / "mark").touch()
    assert (_made(tmp_path / "e", sys.executable, [], recipe="a").folder / "mark").exists()
    assert not (_made(tmp_path / "e", sys.executable, [], recipe="b").folder / "mark").exists()


def test_one_whose_making_failed_is_made_anew(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no-such-option"):
        _made(tmp_path / "e", sys.executable, [["--no-such-option"]], recipe="a")
    made = _made(tmp_path / "e", sys.executable, [], recipe="a")
    assert made == Environment(tmp_path / "e") and made.python.exists()


def test_a_command_that_fails_says_what_it_printed(tmp_path: Path) -> None:
    assert (
        command([sys.executable, "-c", "import os; print(os.environ['AIRFLOW_HOME'])"], tmp_path)
        == f"{tmp_path}\n"
    )
    with pytest.raises(DemoError, match="on purpose"):
        command([sys.executable, "-c", "raise SystemExit('on purpose')"])
    with pytest.raises(DemoError, match="no-program"):
        command([tmp_path / "no-program"])


def test_the_tools_are_locked() -> None:
    locked = {line.partition("==")[0] for line in (REPOSITORY / "requirements.lock").read_text().splitlines()}
    assert {*TOOLS, *LOOSE_TOOLS} <= locked
