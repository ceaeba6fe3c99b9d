"""The jobs of the demo, made with the SDK: the stream, and the workflows that arrivals start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import compute, iam, jobs

from demo.scenario import WORKFLOWS, Workflow
from demo.workspace import PRINCIPAL

SOURCES = Path(__file__).parent / "workflows"
PARAMETERS = ("trigger_id", "log_table", "directory", "file_count")
CONCURRENT_RUNS = 4
_TASK = "read"


def create_workflows(client: WorkspaceClient, wheel: Path, consumed_table: str) -> None:
    """Make every workflow of the scenario, and let Airflow's principal run those that it may run."""
    for workflow in WORKFLOWS:
        job = client.jobs.create(
            name=workflow.name,
            tasks=[_task(workflow, wheel)],
            parameters=[
                *(jobs.JobParameterDefinition(name=name, default="") for name in PARAMETERS),
                jobs.JobParameterDefinition(name="consumed_table", default=consumed_table),
            ],
            queue=jobs.QueueSettings(enabled=True),
            max_concurrent_runs=CONCURRENT_RUNS,
        )
        level = iam.PermissionLevel.CAN_MANAGE_RUN if workflow.runnable else iam.PermissionLevel.CAN_VIEW
        grant = iam.AccessControlRequest(user_name=PRINCIPAL, permission_level=level)
        client.permissions.update("jobs", str(job.job_id), access_control_list=[grant])


def _task(workflow: Workflow, wheel: Path) -> jobs.Task:
    libraries = [compute.Library(whl=str(wheel))]
    told = {"workflow": "{{job.name}}", "run_id": "{{job.run_id}}"}
    if workflow.notebook:
        # The job's parameters are a notebook's widgets without being named here.
        notebook = jobs.NotebookTask(
            notebook_path=str(SOURCES / "read_files_notebook.py"), base_parameters=told
        )
        return jobs.Task(task_key=_TASK, notebook_task=notebook, libraries=libraries)
    names = (*PARAMETERS, "consumed_table")
    told |= {name: f"{{{{job.parameters.{name}}}}}" for name in names}
    arguments = [f"--{name}={value}" for name, value in told.items()]
    script = jobs.SparkPythonTask(python_file=str(SOURCES / "read_files.py"), parameters=arguments)
    return jobs.Task(task_key=_TASK, spark_python_task=script, libraries=libraries)


def start_stream(
    client: WorkspaceClient, notebook: Path, wheel: Path, parameters: Mapping[str, str], retries: int = 3
) -> int:
    """Make the stream job and start it: the id of its run."""
    job = client.jobs.create(
        name="stream_arrivals",
        tasks=[
            jobs.Task(
                task_key="stream",
                max_retries=retries,  # as any stream on Databricks: it goes on where it was
                notebook_task=jobs.NotebookTask(notebook_path=str(notebook)),
                libraries=[compute.Library(whl=str(wheel))],
            )
        ],
        parameters=[
            jobs.JobParameterDefinition(name=name, default=value) for name, value in parameters.items()
        ],
        max_concurrent_runs=1,
    )
    assert job.job_id is not None
    run = client.jobs.run_now(job.job_id)
    assert run.run_id is not None
    return run.run_id
