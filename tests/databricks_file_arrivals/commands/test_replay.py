"""`file-arrivals replay`, as a person calls it."""

from __future__ import annotations

import json

import pytest

from databricks_file_arrivals.cli import main
from tests.databricks_file_arrivals.commands.conftest import Story


def test_replay_shows_asks_starts_and_does_it_once(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["replay", *story.tables, "--directory", "dbfs:/in/typo/", "--start", "alpha"]
    assert main([*chosen, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("NO_SUCH_WORKFLOW  000000000001") and "/in/typo → alhpa" in shown
    assert "    starts alpha for /in/typo, 1 file\n" in shown
    assert shown.endswith("1 outcome to replay (1 NO_SUCH_WORKFLOW), 1 run; 0 left\nnothing was started\n")
    assert main(chosen) == 1
    assert "there is nobody to ask" in capsys.readouterr().err
    assert main([*chosen, "--yes"]) == 0
    assert "replayed 1 outcome: 1 PLANNED, 1 TRIGGERED\n" in capsys.readouterr().out
    assert main([*chosen, "--yes"]) == 0
    again = capsys.readouterr().out
    assert "left: it was replayed before: --force does it again" in again and "nothing was started" in again


def test_for_programs(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["replay", *story.tables, "--status", "unmapped", "--since", "2020-01-01", "--output", "json"]
    chosen += ["--directory", "/in2/none"]
    assert main([*chosen, "--dry-run"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)["outcomes"]
    assert outcome["directory"] == "/in2/none" and outcome["starts"] == []
    assert outcome["left_because"] == "the mapping table has no row for it still"
    assert main([*chosen, "--dry-run", "--until", "2020-01-01"]) == 0
    assert json.loads(capsys.readouterr().out)["outcomes"] == []


def test_a_start_that_fails_is_said_and_exit_code_1(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["replay", *story.tables, "--directory", "/in2/refused", "--start", "locked", "--yes"]
    assert main(chosen) == 1
    out = capsys.readouterr().out
    assert "did not start: locked for /in2/refused: PERMISSION_DENIED" in out.replace("\n", " ")
    assert out.endswith("replayed 1 outcome: 1 ERROR, 1 PLANNED\n")


def test_what_cannot_be_selected_is_said(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *story.tables, "--status", "held"]) == 1
    assert "HELD is not replayed" in capsys.readouterr().err
    assert main(["replay", *story.tables, "--status", "gone"]) == 1
    assert "'gone' is no status" in capsys.readouterr().err
    assert main(["replay", *story.tables, "--consumer", "nobody"]) == 1
    assert "no consumer 'nobody'" in capsys.readouterr().err
