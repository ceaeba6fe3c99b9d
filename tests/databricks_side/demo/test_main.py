"""The command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from demo.__main__ import parser
from demo.play import play
from demo.stage import REPOSITORY
from demo.stay import stay


def test_the_commands() -> None:
    assert parser().parse_args(["demo"]).function is play
    found = parser().parse_args(["up", "--state", "here"])
    assert found.function is stay and found.state == Path("here").absolute()
    assert parser().parse_args(["up"]).state == Path(".state/demo").absolute()


def test_a_command_is_needed() -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([])


def test_a_folder_of_somebody_else_is_one_line_and_code_1(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = subprocess.run(
        [sys.executable, "-m", "demo", "demo", "--state", str(tmp_path)],
        cwd=tmp_path.parent,
        env={"PYTHONPATH": str(REPOSITORY / "databricks_side")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: {tmp_path} has files that are not the demo's.")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
