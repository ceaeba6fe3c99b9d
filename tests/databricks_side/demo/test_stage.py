"""A state folder belongs to one demo at a time, and nothing of anybody else is removed from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo.processes import DemoError
from demo.screen import Screen
from demo.stage import REPOSITORY, Stage, stage


def test_the_repository_is_where_the_dag_is() -> None:
    assert (REPOSITORY / "dags" / "file_arrivals.py").exists()


def test_a_fresh_start_removes_what_an_earlier_demo_made_and_keeps_the_wheels(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stage(state, Screen(), Stage) as made:
        assert made.state == state
        for name in (
            "workspace/tables",
            "airflow/logs",
            "landing/orders",
            "checkpoints/landing",
            "wheels/abc",
        ):
            (state / name).mkdir(parents=True)
        (state / "deploy.log").touch()
    with stage(state, Screen(), Stage):
        assert {path.name for path in state.iterdir() if path.is_dir()} == {"wheels"}


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "precious.csv").touch()
    with pytest.raises(DemoError, match="not the demo's"), stage(tmp_path, Screen(), Stage):
        pytest.fail("it was taken")
    assert (tmp_path / "landing" / "precious.csv").exists()


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with stage(state, Screen(), Stage):
        with pytest.raises(DemoError, match=r"runs on .* already"), stage(state, Screen(), Stage):
            pytest.fail("it was taken")
        assert state.exists()
    with stage(state, Screen(), Stage):
        pass
