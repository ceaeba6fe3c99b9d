"""OAuth over TLS, by the clients that the workspace promises, unmodified; and runs that call it."""

import json
import os
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs
from demo.jobs import start_stream
from demo.wheel import stream_wheel

from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

REPOSITORY = Path(__file__).resolve().parents[3]
JOB = """# Databricks notebook source
from databricks.sdk import WorkspaceClient

client = WorkspaceClient()
assert client.config.host.startswith("https:"), client.config.host
client.secrets.put_secret("runs", "key", string_value="hidden")
assert dbutils.secrets.get("runs", "key") == "hidden"
dbutils.notebook.exit(f"{client.current_user.me().user_name} {spark.range(3).count()}")
"""

HOOK = """
import asyncio, json, sys
from airflow.providers.databricks.hooks.databricks import DatabricksHook

async def later(run_id):
    async with DatabricksHook() as hook:
        return (await hook.a_get_run_state(run_id)).result_state

run_id = int(sys.argv[1])
found = {"sync": DatabricksHook().get_run_state(run_id).result_state, "async": asyncio.run(later(run_id))}
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWorkspace]:
    """A workspace that speaks TLS, which this process trusts."""
    setup()
    folder = tmp_path_factory.mktemp("tls")
    with (
        running_workspace(folder, tls=True, faults=True, service_principals=["robot"]) as workspace,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            patch.setenv(name, str(workspace.trusted))
        yield workspace


@pytest.fixture(scope="module")
def robot(secure: RunningWorkspace) -> WorkspaceClient:
    """The SDK, which logs in by OAuth."""
    client = secure.service_principal("robot")
    host = f"https://localhost:{secure.port}"
    return WorkspaceClient(host=host, client_id=client.client_id, client_secret=client.client_secret)


@pytest.fixture(scope="module")
def run(robot: WorkspaceClient, tmp_path_factory: pytest.TempPathFactory) -> jobs.Run:
    """A run of the robot's job, whose code calls the workspace; it is over."""
    notebook = tmp_path_factory.mktemp("job") / "job.py"
    notebook.write_text(JOB)
    robot.secrets.create_scope("runs")
    task = jobs.Task(task_key="t", notebook_task=jobs.NotebookTask(notebook_path=str(notebook)))
    job_id = robot.jobs.create(name="secure", tasks=[task]).job_id
    assert job_id is not None
    return robot.jobs.run_now_and_wait(job_id)


def test_the_sdk_logs_in_by_oauth(robot: WorkspaceClient) -> None:
    assert robot.config.auth_type == "oauth-m2m"
    assert robot.current_user.me().user_name == "robot"


def test_a_run_calls_the_workspace_that_it_runs_in(robot: WorkspaceClient, run: jobs.Run) -> None:
    (task,) = run.tasks or []
    assert task.run_id is not None
    output = robot.jobs.get_run_output(task.run_id).notebook_output
    assert output is not None and output.result == "robot 3"


def test_the_stock_hook_logs_in_by_oauth_waiting_or_not(
    secure: RunningWorkspace, run: jobs.Run, airflow_db: str
) -> None:
    found = in_airflow(secure, "-c", HOOK, str(run.run_id))
    assert found == {"sync": "SUCCESS", "async": "SUCCESS"}


def in_airflow(secure: RunningWorkspace, *command: str) -> Any:
    """What a Python of its own finds, whose Airflow has the robot's connection: aiohttp reads what is to be
    trusted when it is imported."""
    client = secure.service_principal("robot")
    connection = {
        "conn_type": "databricks", "host": f"localhost:{secure.port}", "login": client.client_id,
        "password": client.client_secret,
        "extra": {"service_principal_oauth": True, "http_path": "/sql/1.0/warehouses/local"},
    }  # fmt: skip
    environment = {
        **os.environ,
        "AIRFLOW_CONN_DATABRICKS_DEFAULT": json.dumps(connection),
        "PYTHONPATH": str(REPOSITORY / "databricks_side"),
    }
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(line.removeprefix("FOUND "))


DEPLOY = """
from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.dags.ingest import deployed
log = deployed(FileArrivalsHook())
log.ledger.make_consumer("by_workflow", "earliest")
log.map(("orders", "over tls", "Y"))
print("FOUND true")
"""

PLAY = """
import json
from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.dags.ingest import deployed, load, run
log = deployed(FileArrivalsHook())
run(load("file_arrivals_by_workflow.py")["file_arrivals_by_workflow"])
print("FOUND", json.dumps([[*key, status] for key, status in log.outcomes("by_workflow").items()]))
"""


def test_the_whole_path_from_a_file_to_the_end_of_its_run(
    secure: RunningWorkspace, robot: WorkspaceClient, airflow_db: str, tmp_path: Path
) -> None:
    """Stream, sensor, a task for the workflow, and its run awaited in the triggerer: all as the robot."""
    (tmp_path / "landing" / "orders").mkdir(parents=True)
    (tmp_path / "landing" / "orders" / "1.csv").write_text("x")
    script = tmp_path / "nothing.py"
    script.write_text("pass\n")
    work = jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(script)))
    robot.jobs.create(name="over tls", tasks=[work])
    in_airflow(secure, "-c", DEPLOY)
    told = {
        "monitored_directory": str(tmp_path / "landing"),
        "checkpoint_directory": str(tmp_path / "checkpoint"),
        "workflow_mapping_table": "main.ingest.workflow_mapping",
        "log_table": "main.ingest.file_log",
    }
    notebook = REPOSITORY / "databricks_side" / "notebooks" / "stream_arrivals.py"
    stream = start_stream(robot, notebook, stream_wheel(REPOSITORY, tmp_path / "wheels"), told)
    robot.jobs.wait_get_run_job_terminated_or_skipped(stream)
    found = in_airflow(secure, "-c", PLAY)
    assert found == [[str(tmp_path / "landing" / "orders"), "over tls", "SUCCEEDED"]]


def test_a_token_of_a_person_works_and_a_fault_is_set(secure: RunningWorkspace) -> None:
    sdk = WorkspaceClient(host=secure.url, token=secure.token())
    with secure.faults.added("error", "POST /oidc/v1/token", status=503, times=0) as fault:
        answer: Any = sdk.api_client.do("GET", "/local/usage")
        assert answer["calls"]
        assert secure.faults.find(fault).hits == 0
    lost = secure.faults.add("drop", "PUT /api/2.0/*")
    with pytest.raises((ConnectionError, ssl.SSLError, OSError)):
        _put(secure, f"/api/2.0/fs/directories/Volumes/main/default/{uuid.uuid4().hex}")
    assert secure.faults.find(lost).hits == 1


def _put(secure: RunningWorkspace, path: str) -> None:
    import requests

    headers = {"Authorization": f"Bearer {secure.token()}"}
    requests.put(f"{secure.url}{path}", headers=headers, timeout=30)


def test_who_does_not_trust_it_does_not_talk_to_it(
    secure: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urlopen(f"{secure.url}/login", timeout=30)


def test_no_secret_stands_in_a_log(secure: RunningWorkspace, robot: WorkspaceClient) -> None:
    robot.current_user.me()
    said = [secure.folder / "start.log", *(secure.folder / "server").glob("*.log")]
    client, token = secure.service_principal("robot"), robot.config.oauth_token().access_token
    for path in (path for path in said if path.exists()):
        for secret in (client.client_secret, token, secure.token()):
            assert secret not in path.read_text(errors="replace"), path
    assert "service-principal" in Path(said[0]).read_text()
