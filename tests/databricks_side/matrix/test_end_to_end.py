"""The short scenario has one of each kind. That all of it works is what `make matrix` shows."""

from __future__ import annotations

from pathlib import Path

from demo.scenario import LeftOut
from demo.screen import Screen
from matrix.airflow2 import Airflow2
from matrix.end_to_end import AREAS, MatrixStage, short
from matrix.environments import Environment


def test_the_short_scenario_has_all_areas_in_both_waves() -> None:
    wanted = short()
    for area in AREAS:
        assert {1, 2} == {file.wave for file in wanted.visible if file.path.startswith(area)}
    assert 100 < len(wanted.visible) < 200
    assert max(len(file.workflows) for file in wanted.files) == 2
    assert {LeftOut.UNMAPPED, LeftOut.INACTIVE} <= {file.left_out for file in wanted.files}


def test_only_airflow_is_another_one(tmp_path: Path) -> None:
    tests = Environment(tmp_path / "tests")
    made = MatrixStage(tmp_path, Screen(), tests, 2)
    assert isinstance(made.airflow, Airflow2) and made.airflow.binaries == tests.binaries
    three = MatrixStage(tmp_path, Screen(), tests, 3).airflow
    assert not isinstance(three, Airflow2) and three.binaries == tests.binaries
