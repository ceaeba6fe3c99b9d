"""What installing changes is seen, and nothing of it stays. `make matrix` checks real Airflows with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from demo.processes import DemoError
from matrix.environments import OURS, _made, command
from matrix.installs import changes, check_install

SETUP = """
[metadata]
name = {name}
version = 0.1.0
[options]
packages =
"""


def test_a_change_of_another_package_is_a_change() -> None:
    before = frozenset({"a==1", "b==1"})
    assert changes(before, before | {f"{OURS}==0.1.0"}) == []
    assert changes(before, frozenset({"a==2", "b==1", "c==1", OURS})) == ["+a==2", "+c==1", "-a==1"]
    assert changes(before, frozenset({"a==1"})) == ["-b==1"]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel of the provider's name, which requires nothing and holds nothing."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.cfg").write_text(SETUP.format(name=OURS))
    (source / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    command([*build, str(source)])
    (built,) = tmp_path.glob("*.whl")
    return built


def test_one_that_does_not_work_is_told_and_taken_away(tmp_path: Path, wheel: Path) -> None:
    plain = _made(tmp_path / "plain", sys.executable, [], recipe="")
    with pytest.raises(DemoError, match="bin/airflow"):
        check_install(plain, wheel, tmp_path)
    assert plain.frozen() == frozenset()
    plain.install(str(wheel))
    assert plain.frozen() == {OURS}, "otherwise the last line has told nothing"
