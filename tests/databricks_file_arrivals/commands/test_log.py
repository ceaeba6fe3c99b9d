"""`file-arrivals log`, as a person reads it."""

from __future__ import annotations

import json

import pytest

from databricks_file_arrivals.cli import main
from databricks_file_arrivals.core.outcomes import LogRow, Status
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log


def test_log_shows_outcomes_with_odd_names_at_80_columns(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    log.ledger.append(
        [
            LogRow(
                status=Status.NO_SUCH_WORKFLOW,
                directory="/in/[red]a\nb",
                workflow_name="load",
                file_count=3,
                run_id=-1,
                trigger_id="7" * 64,
                waits_for=("min_files",),
                error="no job " * 20,
                consumer="cli",
                claim_id="cli",
                epoch=1,
            ),
            LogRow(status=Status.CLAIMED, consumer="cli", claim_id="cli", epoch=1),
        ]
    )
    shown = ["log", "--log-table", str(log.names.log), "--consumer", "cli"]
    assert main(shown) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[2].startswith("NO_SUCH_WORKFLOW       3  -1 ") and lines[2].endswith("  load")
    assert lines[3] == f"  {'7' * 20}  /in/[red]a\\nb"
    assert lines[4] == "    waits for min_files"
    assert lines[-1].startswith("1 outcome of the consumer cli")
    assert main([*shown, "--output", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["trigger_id"] == "7" * 64 and row["waits_for"] == ["min_files"]
    assert main([*shown, "--status", "error"]) == 0
    assert "0 outcomes" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_named_with_the_remedy(
    databricks: RunningWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "--log-table", "main.nowhere.file_log"]) == 1
    assert "file-arrivals deploy" in capsys.readouterr().err
