"""`file-arrivals deploy`, as a person calls it."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.cli import main
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log

LOG = "main.cli.file_log"
DEPLOY = ["deploy", "--workflow-mapping-table", "main.cli.workflow_mapping"]


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
    mapping = ["--workflow-mapping-table", str(log.names.mapping)]
    assert main(["deploy", *mapping, "--log-table", str(foreign)]) == 1
    err = capsys.readouterr().err
    assert "the column status is int, not STRING" in err and "Nothing was changed" in err
