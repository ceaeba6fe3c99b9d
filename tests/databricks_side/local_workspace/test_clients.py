"""The clients that the workspace promises, unmodified: the stock Airflow hook and operators, and curl."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

from local_workspace.testing import RunningWorkspace

DAG_FILE = Path(__file__).with_name("airflow_dag.py")


def _job(client: WorkspaceClient, name: str, file: Path) -> int:
    task = jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(file)))
    parameters = [jobs.JobParameterDefinition(name="p", default="none")]
    job_id = client.jobs.create(name=name, tasks=[task], parameters=parameters).job_id
    assert job_id is not None
    return job_id


@pytest.fixture(scope="module")
def found(
    workspace: RunningWorkspace, airflow_db: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the stock hook and operators did and saw, in an Airflow of their own."""
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "ok.py").write_text("print('fine')")
    (folder / "bad.py").write_text("raise ValueError('on purpose')")
    client = WorkspaceClient(host=workspace.url, token=workspace.token())
    name = f"stock {folder.name}"
    job_id, failing = _job(client, name, folder / "ok.py"), _job(client, "failing", folder / "bad.py")
    connection = {
        "conn_type": "databricks", "schema": "http", "host": "127.0.0.1", "port": workspace.port,
        "password": workspace.token(),
    }  # fmt: skip
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "DATABRICKS"))},
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW_CONN_DATABRICKS_DEFAULT": json.dumps(connection),
        "JOB_ID": str(job_id), "FAILING_ID": str(failing), "JOB_NAME": name,
    }  # fmt: skip
    (folder / "dags").mkdir()
    dag_file = folder / "dags" / "stock.py"
    dag_file.write_text(DAG_FILE.read_text())
    (folder / "home").mkdir()
    shutil.copy(Path(airflow_db, "airflow.db"), folder / "home")  # migrated already
    command = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    done = subprocess.run(
        [sys.executable, str(dag_file)], env=environment, capture_output=True, text=True, timeout=400
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done.stdout[-5000:] + done.stderr[-5000:]
    answer: dict[str, Any] = json.loads(line.removeprefix("FOUND "))
    return {**answer, "job_id": job_id, "client": client}


def test_the_stock_hook_connects_and_finds_jobs(found: dict[str, Any]) -> None:
    assert found["connected"], found["message"]
    assert found["jobs"] == [found["job_id"]] and found["found"] == found["job_id"]


def test_the_stock_operators_run_jobs_deferred_or_not(found: dict[str, Any]) -> None:
    assert {key: found["tasks"][key] for key in ("sync", "deferred", "failing")} == {
        "sync": "success",
        "deferred": "success",
        "failing": "failed",
    }
    runs = list(found["client"].jobs.list_runs(job_id=found["job_id"], expand_tasks=True))
    assert sorted(run.job_parameters[0].value for run in runs) == ["deferred", "sync"]


def test_the_stock_operators_run_statements_deferred_or_not(found: dict[str, Any]) -> None:
    assert {key: found["tasks"][key] for key in ("sql_sync", "sql_deferred", "sql_failing")} == {
        "sql_sync": "success",
        "sql_deferred": "success",
        "sql_failing": "failed",
    }


def test_the_stock_hook_reads_asynchronously_with_a_json_body(
    found: dict[str, Any], workspace: RunningWorkspace
) -> None:
    assert found["later"]["state"] == "SUCCESS"
    assert found["later"]["url"].startswith(f"{workspace.url}/jobs/{found['job_id']}/runs/")
    assert found["parameters"] == [{"name": "p", "default": "none", "value": "deferred"}]


def _curl(workspace: RunningWorkspace, *arguments: str, token: str | None = None) -> tuple[int, Any]:
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *header, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body.startswith("{") else body


def test_curl(workspace: RunningWorkspace) -> None:
    url, token = f"{workspace.url}/api/2.0/sql/statements", workspace.token()
    body = json.dumps(
        {
            "warehouse_id": "local",
            "statement": "SELECT :a + 1",
            "parameters": [{"name": "a", "value": "1", "type": "INT"}],
        }
    )
    status, answer = _curl(
        workspace, "-X", "POST", url, "-d", body, "-H", "Content-Type: application/json", token=token
    )
    assert (status, answer["status"]["state"], answer["result"]["data_array"]) == (200, "SUCCEEDED", [["2"]])
    status, answer = _curl(workspace, f"{url}/{answer['statement_id']}", token=token)
    assert (status, answer["result"]["row_count"]) == (200, 1)


def test_curl_without_a_token_and_with_a_wrong_one(workspace: RunningWorkspace) -> None:
    for token in (None, "dapi" + "0" * 44, workspace.token()[:-1] + "x"):
        for path in ("/api/2.2/jobs/list", "/api/2.0/nonsense", "/local/calls", "/docs", "/openapi.json"):
            status, answer = _curl(workspace, f"{workspace.url}{path}", token=token)
            assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED"), path


def test_curl_and_what_is_not_implemented(workspace: RunningWorkspace) -> None:
    for method, path in (
        ("GET", "/api/2.0/clusters/list"),
        ("DELETE", "/api/2.2/jobs/list"),
        ("POST", "/x/y"),
    ):
        status, answer = _curl(workspace, "-X", method, f"{workspace.url}{path}", token=workspace.token())
        assert (
            status == 501
            and answer["error_code"] == "NOT_IMPLEMENTED"
            and f"{method} {path}" in answer["message"]
        )


def test_calls_are_counted(workspace: RunningWorkspace) -> None:
    before = _curl(workspace, f"{workspace.url}/local/calls", token=workspace.token())[1]
    assert (
        _curl(workspace, f"{workspace.url}/api/2.0/sql/warehouses/local", token=workspace.token("bob"))[0]
        == 200
    )
    after = _curl(workspace, f"{workspace.url}/local/calls", token=workspace.token())[1]
    key = "GET /api/2.0/sql/warehouses/{id}"
    assert after[key] == before.get(key, 0) + 1
    status, answer = _curl(workspace, f"{workspace.url}/local/calls", token=workspace.token("bob"))
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
