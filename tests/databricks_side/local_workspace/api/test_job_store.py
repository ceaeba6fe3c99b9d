"""Jobs as stored: names, pages, tokens of pages, updates."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from local_workspace.api.call import Workspace
from local_workspace.api.errors import InvalidParameter, JobDoesNotExist, PermissionDenied
from local_workspace.api.job_store import new_id, next_token, seq_of_token
from local_workspace.api.principals import Principal
from local_workspace.api.run_store import RunRequest, cancel_runs_of

ADMIN, ALICE = Principal("admin", 1, True), Principal("alice", 2, False)
Job = dict[str, Any]


def test_ids_are_exact_in_javascript_and_are_no_code_of_the_trigger_log() -> None:
    assert all(2 < new_id() < 2**53 for _ in range(1000))


def test_page_tokens() -> None:
    assert seq_of_token(next_token(17)) == 17
    assert seq_of_token(None) is None
    for wrong in ("17", "x", "YWZ0ZXI6eA=="):
        with pytest.raises(InvalidParameter, match="page_token"):
            seq_of_token(wrong)


def test_names_are_found_whole_in_any_case_and_are_not_unique(parts: Workspace, job: Job) -> None:
    ids = [
        parts.jobs.create(ADMIN, {**job, "name": name}, "2.2") for name in ("Straße", "STRASSE", "Straßen")
    ]
    found, token = parts.jobs.page(ADMIN, "strasse", 20, None)
    assert {each.job_id for each in found} == set(ids[:2]) and token is None


def test_pages_show_each_job_once_newest_first(parts: Workspace, job: Job) -> None:
    ids = [parts.jobs.create(ADMIN, job, "2.2") for _ in range(7)]
    seen: list[int] = []
    token = None
    for _ in range(4):
        page, token = parts.jobs.page(ADMIN, None, 3, token)
        seen += [each.job_id for each in page]
        if token is None:
            break
    assert seen == ids[::-1]


def test_a_job_that_is_gone_does_not_exist(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    run_id = parts.runs.run_now(ADMIN, RunRequest(job_id))
    parts.jobs.delete(ADMIN, job_id, cancel_runs_of)
    assert parts.runs.find(ADMIN, run_id)["result"] == "CANCELED"
    for again in (parts.jobs.get, partial(parts.jobs.delete, cancel=cancel_runs_of)):
        with pytest.raises(JobDoesNotExist, match=f"Job {job_id} does not exist"):
            again(ADMIN, job_id)
    assert parts.jobs.page(ADMIN, None, 20, None) == ([], None)


def test_update_merges_as_databricks_does(parts: Workspace, job: Job) -> None:
    job["parameters"] = [{"name": "a", "default": "1"}]
    job_id = parts.jobs.create(ADMIN, {**job, "tags": {"x": "y"}}, "2.2")
    other = {"task_key": "u", "spark_python_task": {"python_file": "/u.py"}}
    changes = {"name": "new", "tasks": [other], "parameters": [{"name": "b", "default": "2"}]}
    parts.jobs.update(ADMIN, job_id, changes, ["tags"], "2.2")
    settings = parts.jobs.get(ADMIN, job_id).settings
    assert [task["task_key"] for task in settings["tasks"]] == ["t", "u"]
    assert [parameter["name"] for parameter in settings["parameters"]] == ["a", "b"]
    assert settings["name"] == "new" and "tags" not in settings
    parts.jobs.update(ADMIN, job_id, {}, ["tasks/t"], "2.2")
    assert [task["task_key"] for task in parts.jobs.get(ADMIN, job_id).settings["tasks"]] == ["u"]
    with pytest.raises(InvalidParameter, match="fields_to_remove"):
        parts.jobs.update(ADMIN, job_id, {}, ["nonsense"], "2.2")


def test_reset_replaces_all(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, {**job, "tags": {"x": "y"}, "max_concurrent_runs": 5}, "2.2")
    parts.jobs.reset(ADMIN, job_id, {**job, "name": "Other"}, "2.2")
    settings = parts.jobs.get(ADMIN, job_id).settings
    assert settings["max_concurrent_runs"] == 1 and "tags" not in settings
    assert [each.job_id for each in parts.jobs.page(ADMIN, "other", 20, None)[0]] == [job_id]


def test_run_as_is_the_creator_or_whom_an_admin_names(parts: Workspace, job: Job) -> None:
    create: Callable[..., int] = parts.jobs.create
    assert parts.jobs.get(ADMIN, create(ALICE, job, "2.2")).run_as == "alice"
    assert (
        parts.jobs.get(ADMIN, create(ADMIN, {**job, "run_as": {"user_name": "bob"}}, "2.2")).run_as == "bob"
    )
    with pytest.raises(PermissionDenied):
        create(ALICE, {**job, "run_as": {"user_name": "bob"}}, "2.2")
    with pytest.raises(InvalidParameter, match="no such principal"):
        create(ADMIN, {**job, "run_as": {"user_name": "nobody"}}, "2.2")
