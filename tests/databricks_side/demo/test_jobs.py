"""The demo's jobs in a real workspace: who may run which, and a stream job that takes its parameters."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from databricks.sdk import WorkspaceClient
from demo.jobs import PARAMETERS, start_stream
from demo.scenario import WORKFLOWS
from demo.workspace import PRINCIPAL

from tests.databricks_side.demo.conftest import Made


def test_airflow_may_run_what_it_is_granted_and_only_see_the_others(
    admin: WorkspaceClient, made: Made
) -> None:
    for workflow in WORKFLOWS:
        granted = admin.permissions.get("jobs", str(made.jobs[workflow.name])).access_control_list or []
        levels = {
            str(p.permission_level.value)
            for acl in granted
            if acl.user_name == PRINCIPAL
            for p in acl.all_permissions or ()
            if p.permission_level
        }
        assert levels == {"CAN_MANAGE_RUN" if workflow.runnable else "CAN_VIEW"}


def test_the_workflows_declare_what_they_are_told(admin: WorkspaceClient, made: Made) -> None:
    settings = admin.jobs.get(made.jobs["orders_load"]).settings
    assert settings is not None
    assert {p.name for p in settings.parameters or ()} >= set(PARAMETERS)


def test_the_stream_job_runs_its_notebook_with_its_parameters(
    admin: WorkspaceClient, wheel: Path, tmp_path: Path
) -> None:
    notebook = tmp_path / "stream.py"
    notebook.write_text(
        "# Databricks notebook source\ndbutils.notebook.exit(dbutils.widgets.get('log_table'))\n"
    )
    run = start_stream(admin, notebook, wheel, {"log_table": "main.a.b"})
    ended = admin.jobs.wait_get_run_job_terminated_or_skipped(run, timeout=timedelta(minutes=2))
    assert ended.tasks is not None
    output = admin.jobs.get_run_output(int(ended.tasks[0].run_id or 0)).notebook_output
    assert output is not None and output.result == "main.a.b"
