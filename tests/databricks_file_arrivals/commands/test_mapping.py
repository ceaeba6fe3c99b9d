"""`file-arrivals mapping`, as a person and as a program calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from databricks_file_arrivals.cli import main
from local_workspace.testing import RunningWorkspace
from tests.databricks_file_arrivals.commands.conftest import Story

FILE = """\
- {directory: /in/a, workflow_name: alpha, min_files: 2}
- {directory: typo, workflow_name: alhpa}
- {directory: /in, workflow_name: "off", active_ind: N}
- {directory: /in/new, workflow_name: alpha}
"""


def test_check_says_how_many_and_fails_on_errors(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mapping", "check", *story.tables]) == 1
    out = capsys.readouterr().out
    assert "error    workflow      alhpa" in out and out.endswith("4 rows: 1 error, 0 warnings\n")
    assert main(["mapping", "check", *story.tables, "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 4 and [f["subject"] for f in found["findings"]] == ["alhpa"]


def test_plan_shows_changes_and_the_holds_that_would_end_and_apply_does_it(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mapping.yml"
    file.write_text(FILE)
    assert main(["mapping", "plan", str(file), *story.tables]) == 0
    shown = capsys.readouterr().out
    assert "~ /in/a → alpha\n    min_files: null → 2\n" in shown
    assert "+ /in/new → alpha\n" in shown and "- /in/held → beta\n" in shown
    assert "! /in/held → beta\n    3 held files of the consumer default would end as INACTIVE\n" in shown
    assert "1 to add, 1 to change, 1 to delete, of 4 rows\n" in shown
    plan = shown.splitlines()[-1].split()[1].rstrip(";")
    # Nobody is asked: nothing is done.
    assert main(["mapping", "apply", str(file), *story.mapping]) == 1
    assert "--yes" in capsys.readouterr().err
    assert main(["mapping", "apply", str(file), *story.mapping, "--yes", "--allow-deletes", "0"]) == 1
    assert "--allow-deletes 1" in capsys.readouterr().err
    assert main(["mapping", "apply", str(file), *story.mapping, "--yes", "--plan", "0123456789ab"]) == 1
    assert f"This is plan {plan}" in capsys.readouterr().err
    file.write_text(FILE + "- {directory: /in/held, workflow_name: beta, settle_seconds: 7200}\n")
    assert main(["mapping", "apply", str(file), *story.mapping, "--yes", "--output", "json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert [c["change"] for c in done["changes"]] == ["change", "add"]
    assert main(["mapping", "plan", str(file), *story.mapping]) == 0
    assert "0 to add, 0 to change, 0 to delete, of 5 rows" in capsys.readouterr().out


def test_a_change_whose_answer_is_lost_is_made_once_and_told(
    story: Story, databricks: RunningWorkspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The statement is sent again, and finds the table changed: by itself."""
    table = str(story.log.names.mapping.derive("_lost"))
    assert main(["deploy", "--workflow-mapping-table", table]) == 0
    file = tmp_path / "mapping.csv"
    file.write_text("directory,workflow_name\n/in/a,w\n")
    apply = ["mapping", "apply", str(file), "--workflow-mapping-table", table, "--yes"]
    statements = "POST /api/2.0/sql/statements"
    with databricks.faults.added("drop", statements, when="after", contains=["MERGE", "_lost"]) as lost:
        assert main(apply) == 0
        assert databricks.faults.find(lost).hits == 1
    capsys.readouterr()
    assert len(story.log.hook.query(f"SELECT * FROM {table}")) == 1
    assert main(apply) == 0
    assert "0 to add, 0 to change, 0 to delete, of 1 row" in capsys.readouterr().out


def test_a_file_with_bad_rows_changes_nothing(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mapping.csv"
    file.write_text("directory,workflow_name\n/in/a,\n")
    assert main(["mapping", "apply", str(file), *story.mapping, "--yes"]) == 1
    assert "mapping.csv:2: workflow_name is null" in capsys.readouterr().err
