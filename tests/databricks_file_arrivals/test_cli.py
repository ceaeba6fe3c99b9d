"""The command, as a person calls it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from databricks_file_arrivals.cli import main
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log

LOG = "main.cli.file_log"
DEPLOY = ["deploy", "--workflow-mapping-table", "main.cli.workflow_mapping"]


def test_help_names_the_commands_and_needs_no_airflow() -> None:
    code = (
        "import sys; from databricks_file_arrivals.cli import main\n"
        "try: main(['--help'])\nfinally: assert 'airflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deploy" in done.stdout and "log" in done.stdout


def test_deploy_says_what_it_made_and_then_what_it_kept(
    databricks: RunningWorkspace, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.hook.query("CREATE SCHEMA IF NOT EXISTS main.cli")
    assert main([*DEPLOY, "--log-table", LOG]) == 0
    assert f"created {LOG}_arrivals" in capsys.readouterr().out
    assert main([*DEPLOY, "--log-table", LOG]) == 0
    out = capsys.readouterr().out
    assert f"kept    {LOG}_arrivals" in out and "created" not in out


def test_deploy_without_a_schema_or_with_a_foreign_table_says_so(
    databricks: RunningWorkspace, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "--workflow-mapping-table", "main.no_such_schema.mapping"]) == 1
    assert "no_such_schema" in capsys.readouterr().err
    foreign = log.names.log.derive("_foreign")
    log.hook.query(f"CREATE TABLE {foreign.sql} (directory STRING, status INT) USING DELTA")
    assert (
        main(["deploy", "--workflow-mapping-table", str(log.names.mapping), "--log-table", str(foreign)]) == 1
    )
    err = capsys.readouterr().err
    assert "the column status is int, not STRING" in err and "Nothing was changed" in err


def test_log_shows_outcomes_with_odd_names(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    from databricks_file_arrivals.core.outcomes import LogRow, Status

    mine = {"consumer": "cli", "claim_id": "cli", "epoch": 1}
    log.ledger.append(
        [
            LogRow(status=Status.UNMAPPED, directory="/in/[red]a\nb", file_count=3, run_id=-1, **mine),  # type: ignore[arg-type]
            LogRow(status=Status.CLAIMED, **mine),  # type: ignore[arg-type]
        ]
    )
    assert main(["log", "--log-table", str(log.names.log), "--consumer", "cli"]) == 0
    out = capsys.readouterr().out
    assert "UNMAPPED" in out and "1 outcomes" in out and "/in/[red]a\\nb" in out
    assert main(["log", "--log-table", str(log.names.log), "--consumer", "cli", "--status", "error"]) == 0
    assert "0 outcomes" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_named_with_the_remedy(
    databricks: RunningWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "--log-table", "main.nowhere.file_log"]) == 1
    assert "file-arrivals deploy" in capsys.readouterr().err


def test_an_error_is_one_line_and_exit_code_1(
    databricks: RunningWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "--log-table", "main.x.y.z"]) == 1
    assert capsys.readouterr().err.startswith("file-arrivals: 'main.x.y.z' does not name a table")
