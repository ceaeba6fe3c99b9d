"""The workflows are jobs that Airflow's principal may run, and that survive the death of the engine."""

from __future__ import annotations

from pathlib import Path

from crash.jobs import TRIES, create_workflows
from crash.traffic import WORKFLOWS
from databricks.sdk import WorkspaceClient

from local_workspace.testing import RunningWorkspace


def test_airflow_may_run_each(admin: WorkspaceClient, workspace: RunningWorkspace, tmp_path: Path) -> None:
    made = create_workflows(admin, tmp_path / "wheel.whl", tmp_path)
    try:
        airflow = WorkspaceClient(host=workspace.url, token=workspace.token("airflow"))
        seen = {job.job_id: job.settings for job in airflow.jobs.list(expand_tasks=True)}
        found = [seen[job_id] for job_id in made]
        assert {settings.name for settings in found if settings} == set(WORKFLOWS)
        for settings in found:
            assert settings and settings.tasks and settings.tasks[0].max_retries == TRIES
            assert {p.name for p in settings.parameters or ()} == {"trigger_id", "log_table"}
    finally:
        for job_id in made:
            admin.jobs.delete(job_id)
