"""A version is tried on the Python of its users where it is here, by the steps that it has."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest
from demo.screen import Screen
from matrix.trial import STEPS, Trial
from matrix.versions import VERSIONS, Version


def trial(folder: Path, version: Version) -> Trial:
    return Trial(version, folder / "none.whl", folder, Screen())


def test_another_python_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = ".".join(platform.python_version_tuple()[:2])
    assert trial(tmp_path, replace(VERSIONS[0], python=ours)).python.startswith(f"{ours}.")
    assert capsys.readouterr().out == ""
    assert trial(tmp_path, replace(VERSIONS[0], python="3.99")).python == platform.python_version()
    assert "no Python 3.99 here" in capsys.readouterr().out


def test_not_each_runs_whole(tmp_path: Path) -> None:
    steps = {version.end_to_end: tuple(trial(tmp_path, version).steps(())) for version in VERSIONS}
    assert steps == {True: STEPS, False: STEPS[:2]}
