"""The Jobs API: jobs, over HTTP and with the unmodified SDK."""

from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InvalidParameterValue, ResourceDoesNotExist
from databricks.sdk.errors.platform import NotImplemented as SdkNotImplemented
from databricks.sdk.service import jobs

from local_workspace.testing import RunningWorkspace

Job = dict[str, Any]


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_a_jobs_life_in_each_version(admin: Any, job: Job, version: str) -> None:
    base = f"/api/{version}/jobs"
    job_id = admin.post(f"{base}/create", **job)["job_id"]
    got = admin.get(f"{base}/get", job_id=job_id)
    assert got["job_id"] == job_id and got["creator_user_name"] == "admin" and got["created_time"] > 10**12
    assert got["settings"]["name"] == "small" and got["settings"]["max_concurrent_runs"] == 1
    assert ("queue" in got["settings"]) == (version == "2.2")
    listed = admin.get(f"{base}/list", name="SMALL")
    assert [each["job_id"] for each in listed["jobs"]] == [job_id]
    assert ("has_more" in listed) == (version != "2.2")
    admin.post(f"{base}/delete", job_id=job_id)
    assert admin.get(f"{base}/get", 400, job_id=job_id) == {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": f"Job {job_id} does not exist.",
    }


def test_a_list_has_tasks_and_parameters_only_when_asked_for(admin: Any, job: Job) -> None:
    admin.post("/api/2.2/jobs/create", **job, parameters=[{"name": "a", "default": "b"}])
    plain = admin.get("/api/2.2/jobs/list")["jobs"][0]["settings"]
    assert "tasks" not in plain and "parameters" not in plain and plain["name"] == "small"
    full = admin.get("/api/2.2/jobs/list", expand_tasks="True")["jobs"][0]["settings"]
    assert full["tasks"][0]["task_key"] == "t" and full["parameters"] == [{"name": "a", "default": "b"}]


def test_pages_end_without_a_token(admin: Any, job: Job) -> None:
    for _ in range(3):
        admin.post("/api/2.2/jobs/create", **job)
    first = admin.get("/api/2.2/jobs/list", limit=2, page_token="")
    second = admin.get("/api/2.2/jobs/list", limit=2, page_token=first["next_page_token"])
    assert (len(first["jobs"]), len(second["jobs"])) == (2, 1) and "next_page_token" not in second
    assert admin.get("/api/2.2/jobs/list", name="nobody") == {}
    for limit in (0, 101):
        admin.get("/api/2.2/jobs/list", 400, limit=limit)


def test_arguments_of_a_get_may_come_as_a_json_body(admin: Any, job: Job) -> None:
    job_id = admin.post("/api/2.2/jobs/create", **job)["job_id"]
    response = admin.client.request("GET", "/api/2.2/jobs/get", json={"job_id": job_id})
    assert response.json()["job_id"] == job_id


def test_other_kinds_of_task_are_not_implemented(admin: Any) -> None:
    answer = admin.post(
        "/api/2.2/jobs/create", 501, name="x", tasks=[{"task_key": "t", "sql_task": {"query": {}}}]
    )
    assert answer["error_code"] == "NOT_IMPLEMENTED" and "sql_task" in answer["message"]


@pytest.fixture(scope="module")
def sdk(workspace: RunningWorkspace) -> WorkspaceClient:
    """The unmodified SDK, with a host and a token."""
    return WorkspaceClient(host=workspace.url, token=workspace.token())


def _task(key: str = "t") -> jobs.Task:
    return jobs.Task(task_key=key, spark_python_task=jobs.SparkPythonTask(python_file="/no/such.py"))


def test_the_sdk_creates_lists_changes_and_deletes(sdk: WorkspaceClient) -> None:
    ids = {sdk.jobs.create(name="sdk job", tasks=[_task()]).job_id for _ in range(23)}
    assert {each.job_id for each in sdk.jobs.list(name="SDK Job", limit=10)} == ids
    job_id = ids.pop()
    assert job_id is not None
    expanded = next(
        each for each in sdk.jobs.list(name="sdk job", expand_tasks=True) if each.job_id == job_id
    )
    assert expanded.settings and expanded.settings.tasks and expanded.settings.tasks[0].task_key == "t"
    sdk.jobs.update(job_id, new_settings=jobs.JobSettings(name="renamed", max_concurrent_runs=3))
    settings = sdk.jobs.get(job_id).settings
    assert settings and (settings.name, settings.max_concurrent_runs) == ("renamed", 3)
    sdk.jobs.reset(job_id, new_settings=jobs.JobSettings(name="again", tasks=[_task("u")]))
    settings = sdk.jobs.get(job_id).settings
    assert settings and settings.tasks and settings.tasks[0].task_key == "u"
    for each in {job_id, *ids}:
        assert each is not None
        sdk.jobs.delete(each)
    with pytest.raises(ResourceDoesNotExist, match=f"Job {job_id} does not exist"):
        sdk.jobs.get(job_id)


def test_the_sdk_reads_refusals(sdk: WorkspaceClient) -> None:
    with pytest.raises(SdkNotImplemented, match="run_if"):
        sdk.jobs.create(name="x", tasks=[jobs.Task(task_key="t", run_if=jobs.RunIf.ALL_DONE)])
    with pytest.raises(InvalidParameterValue, match="exactly one of"):
        sdk.jobs.create(name="x", tasks=[jobs.Task(task_key="t")])
    with pytest.raises(SdkNotImplemented, match=r"POST /api/2\.2/jobs/runs/submit"):
        sdk.jobs.submit(run_name="x")
