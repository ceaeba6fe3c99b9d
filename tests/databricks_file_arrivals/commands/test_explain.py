"""`file-arrivals explain`: the journey of one file."""

from __future__ import annotations

import json

import pytest

from databricks_file_arrivals.cli import main
from tests.databricks_file_arrivals.commands.conftest import Story


def test_the_journey_of_a_file(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "dbfs:/in/a/deep/0-1.csv", *story.tables]) == 0
    # Other tests make consumers that are behind.
    lines = [line for line in capsys.readouterr().out.splitlines() if "has not claimed" not in line]
    assert lines[0] == "/in/a/deep/0-1.csv"
    assert "in batch 0 of stream s-1" in lines[1]
    assert lines[2].startswith("  default: TRIGGERED → alpha, run ")
    assert lines[3].endswith("  with 2 files of") and lines[4] == "    /in/a"
    assert lines[5:] == ["is taken by /in/a → alpha", "  not by /in → off", "    it is not active"]


def test_a_held_file_says_what_it_waits_for(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/in/held/0-0.csv", *story.tables]) == 0
    assert "  default: HELD → beta\n" in (out := capsys.readouterr().out)
    assert "    waits for settle_seconds\n" in out


def test_a_file_that_has_not_arrived(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "typo/x.csv", "--root", "/in", *story.tables]) == 0
    out = capsys.readouterr().out
    assert out.startswith("/in/typo/x.csv has not arrived\nwould be taken by typo → alhpa\n")
    assert main(["explain", "s3://elsewhere/x.csv", *story.tables]) == 0
    assert "no row of the mapping table takes it outside of every stream's root" in capsys.readouterr().out
    assert main(["explain", "typo/x.csv", *story.tables]) == 1
    assert "--root" in capsys.readouterr().err


def test_for_programs(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/in2/none/0-0.csv", *story.tables, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (arrival,) = told["arrivals"]
    assert arrival["arrival"]["stream_id"] == "s-2" and "default" not in arrival["not_claimed_by"]
    assert [row["status"] for row in arrival["outcomes"]] == ["UNMAPPED"]
    assert told["rules"] == [{"root": "/in2", "candidates": []}]
