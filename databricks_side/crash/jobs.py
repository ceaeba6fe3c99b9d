"""The jobs of the crash test: workflows that only write down which files they were told of."""

from __future__ import annotations

from pathlib import Path

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import compute, iam, jobs
from demo.workspace import PRINCIPAL

from crash.traffic import WORKFLOWS

SCRIPT = Path(__file__).parent / "workflows" / "tell_files.py"
TRIES = 1000  # the Spark server dies under it now and then; that is none of Airflow's business
PARAMETERS = ("trigger_id", "log_table")
CONCURRENT_RUNS = 2


def create_workflows(client: WorkspaceClient, wheel: Path, told: Path) -> list[int]:
    """Make the workflows, and let Airflow's principal run them: their job ids."""
    return [_create(client, name, wheel, told) for name in WORKFLOWS]


def _create(client: WorkspaceClient, name: str, wheel: Path, told: Path) -> int:
    given = {"workflow": "{{job.name}}", "run_id": "{{job.run_id}}", "told": str(told)}
    given |= {parameter: f"{{{{job.parameters.{parameter}}}}}" for parameter in PARAMETERS}
    task = jobs.Task(
        task_key="tell",
        spark_python_task=jobs.SparkPythonTask(
            python_file=str(SCRIPT), parameters=[f"--{name}={value}" for name, value in given.items()]
        ),
        libraries=[compute.Library(whl=str(wheel))],
        max_retries=TRIES,
        min_retry_interval_millis=1000,
    )
    job = client.jobs.create(
        name=name,
        tasks=[task],
        parameters=[jobs.JobParameterDefinition(name=name, default="") for name in PARAMETERS],
        queue=jobs.QueueSettings(enabled=True),
        max_concurrent_runs=CONCURRENT_RUNS,
    )
    assert job.job_id is not None
    grant = iam.AccessControlRequest(user_name=PRINCIPAL, permission_level=iam.PermissionLevel.CAN_MANAGE_RUN)
    client.permissions.update("jobs", str(job.job_id), access_control_list=[grant])
    return job.job_id
