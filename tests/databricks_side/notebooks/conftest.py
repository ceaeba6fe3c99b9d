"""The notebooks as jobs of the session's local workspace, with the wheel as their library."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed
from databricks.sdk.service.compute import Library
from databricks.sdk.service.jobs import NotebookTask, RunResultState, SparkPythonTask, Task

from local_workspace.testing import RunningWorkspace

REPOSITORY = Path(__file__).resolve().parents[3]
NOTEBOOKS = REPOSITORY / "databricks_side" / "notebooks"


@dataclass(frozen=True)
class Ended:
    """How a run ended: its state, what it printed, and its error."""

    succeeded: bool
    output: str
    error: str


@pytest.fixture(scope="session")
def client(workspace: RunningWorkspace) -> WorkspaceClient:
    return WorkspaceClient(host=workspace.url, token=workspace.token())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream's wheel, built from a copy: a build leaves folders beside its sources."""
    copy = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "local_workspace", "demo")
    for name in ("provider", "databricks_side"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(copy)]
    subprocess.run([*build, str(copy / "databricks_side")], check=True, capture_output=True)
    (made,) = copy.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def run(client: WorkspaceClient, wheel: Path) -> Callable[..., Ended]:
    """Makes a job of a notebook, as a notebook task or as a Python task, and waits until it has run."""

    def started(notebook: str, parameters: dict[str, str], as_script: bool = False) -> Ended:
        file = str(NOTEBOOKS / notebook)
        script = SparkPythonTask(file, [f"--{name}={value}" for name, value in parameters.items()])
        task = Task(
            task_key="t",
            notebook_task=None if as_script else NotebookTask(file, base_parameters=parameters),
            spark_python_task=script if as_script else None,
            libraries=[Library(whl=str(wheel))],
        )
        job = client.jobs.create(name=f"{notebook}-{uuid.uuid4().hex[:8]}", tasks=[task])
        assert job.job_id is not None
        waiting = client.jobs.run_now(job.job_id)
        assert waiting.run_id is not None
        try:
            ended = client.jobs.wait_get_run_job_terminated_or_skipped(waiting.run_id)
        except OperationFailed:  # how the SDK tells of a run that ended with an error
            ended = client.jobs.get_run(waiting.run_id)
        assert ended.tasks is not None and ended.tasks[0].run_id is not None
        output = client.jobs.get_run_output(ended.tasks[0].run_id)
        assert ended.state is not None
        return Ended(
            ended.state.result_state is RunResultState.SUCCESS, output.logs or "", output.error or ""
        )

    return started


@pytest.fixture(scope="session")
def log_table(client: WorkspaceClient, run: Callable[..., Ended]) -> str:
    """A log that the notebook deploy_framework has made."""
    schema = f"notebooks_{uuid.uuid4().hex[:8]}"
    client.statement_execution.execute_statement(f"CREATE SCHEMA main.{schema}", "local", wait_timeout="50s")
    ended = run(
        "deploy_framework.py",
        {"workflow_mapping_table": f"main.{schema}.mapping", "log_table": f"main.{schema}.log"},
    )
    assert ended.succeeded, ended.error + ended.output
    assert f"created main.{schema}.log_arrivals" in ended.output
    return f"main.{schema}.log"
