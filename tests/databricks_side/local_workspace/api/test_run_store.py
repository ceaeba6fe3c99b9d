"""Runs as accepted: tokens, places, queues, cancels. The scheduler is not running: nothing moves on."""

import threading
from typing import Any

import pytest

from local_workspace.api.app import open_workspace
from local_workspace.api.call import Workspace
from local_workspace.api.errors import InvalidParameter, InvalidState, JobDoesNotExist
from local_workspace.api.principals import Principal
from local_workspace.api.run_store import RunFilter, RunRequest

ADMIN = Principal("admin", 1, True)
Job = dict[str, Any]


def _states(parts: Workspace, job_id: int) -> list[str]:
    return [row["result"] or row["state"] for row in parts.runs.page(ADMIN, RunFilter(job_id), 25, None)[0]][
        ::-1
    ]


def test_the_same_token_is_the_same_run_also_after_a_restart(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    first = parts.runs.run_now(ADMIN, RunRequest(job_id, "token"))
    assert parts.runs.run_now(ADMIN, RunRequest(job_id, "token")) == first
    again = open_workspace(parts.folder, parts.host, "sc://127.0.0.1:1", 1)
    assert again.runs.run_now(ADMIN, RunRequest(job_id, "token")) == first
    assert again.runs.run_now(ADMIN, RunRequest(job_id, "other")) != first


def test_a_token_at_many_doors_at_once_starts_one_run(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, {**job, "max_concurrent_runs": 100}, "2.2")
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(parts.runs.run_now(ADMIN, RunRequest(job_id, "token"))))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and len(set(found)) == 1
    assert len(_states(parts, job_id)) == 1


def test_tokens_have_64_characters_at_most(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    parts.runs.run_now(ADMIN, RunRequest(job_id, "x" * 64))
    with pytest.raises(InvalidParameter, match="64"):
        parts.runs.run_now(ADMIN, RunRequest(job_id, "x" * 65))


def test_the_token_of_a_deleted_run_is_an_error_and_starts_nothing(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    run_id = parts.runs.run_now(ADMIN, RunRequest(job_id, "token"))
    with pytest.raises(InvalidState):
        parts.runs.delete(ADMIN, run_id)
    parts.runs.cancel(ADMIN, run_id)
    parts.runs.delete(ADMIN, run_id)
    with pytest.raises(InvalidParameter, match="deleted"):
        parts.runs.run_now(ADMIN, RunRequest(job_id, "token"))
    with pytest.raises(JobDoesNotExist, match=f"Run {run_id} does not exist"):
        parts.runs.find(ADMIN, run_id)
    assert _states(parts, job_id) == []


def test_a_busy_job_queues_or_skips_as_its_settings_say(parts: Workspace, job: Job) -> None:
    queueing, skipping = (
        parts.jobs.create(ADMIN, {**job, "max_concurrent_runs": 2}, v) for v in ("2.2", "2.1")
    )
    for job_id in (queueing, skipping):
        for _ in range(4):
            parts.runs.run_now(ADMIN, RunRequest(job_id))
    assert _states(parts, queueing) == ["PENDING", "PENDING", "QUEUED", "QUEUED"]
    assert _states(parts, skipping) == ["PENDING", "PENDING", "MAX_CONCURRENT", "MAX_CONCURRENT"]


def test_the_call_may_say_otherwise_than_the_job(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    for queue in (None, False, True):
        parts.runs.run_now(ADMIN, RunRequest(job_id, queue=queue))
    assert _states(parts, job_id) == ["PENDING", "MAX_CONCURRENT", "QUEUED"]


def test_a_skipped_run_is_what_its_token_returns_for_ever(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.1")
    first = parts.runs.run_now(ADMIN, RunRequest(job_id))
    skipped = parts.runs.run_now(ADMIN, RunRequest(job_id, "token"))
    parts.runs.cancel(ADMIN, first)
    assert parts.runs.run_now(ADMIN, RunRequest(job_id, "token")) == skipped


def test_parameters_are_the_defaults_and_what_was_given(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, {**job, "parameters": [{"name": "a", "default": "1"}]}, "2.2")
    run_id = parts.runs.run_now(ADMIN, RunRequest(job_id, job_parameters={"new": "2"}))
    assert parts.runs.find(ADMIN, run_id)["parameters"] == '{"a": "1", "new": "2"}'
    with pytest.raises(InvalidParameter, match="notebook_params"):
        parts.runs.run_now(ADMIN, RunRequest(job_id, overrides={"notebook_params": {"a": "b"}}))


def test_a_run_that_waits_is_cancelled_at_once(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, job, "2.2")
    runs = [parts.runs.run_now(ADMIN, RunRequest(job_id)) for _ in range(3)]
    parts.runs.cancel_all(ADMIN, job_id, queued_only=True)
    assert _states(parts, job_id) == ["PENDING", "CANCELED", "CANCELED"]
    parts.runs.cancel_all(ADMIN, job_id)
    assert _states(parts, job_id) == ["CANCELED"] * 3
    parts.runs.cancel(ADMIN, runs[0])
    assert _states(parts, job_id) == ["CANCELED"] * 3


def test_lists_filter_and_page(parts: Workspace, job: Job) -> None:
    job_id = parts.jobs.create(ADMIN, {**job, "max_concurrent_runs": 100}, "2.2")
    other = parts.jobs.create(ADMIN, job, "2.2")
    runs = [parts.runs.run_now(ADMIN, RunRequest(job_id)) for _ in range(5)]
    parts.runs.run_now(ADMIN, RunRequest(other))
    parts.runs.cancel(ADMIN, runs[0])

    def ids(wanted: RunFilter) -> list[int]:
        return [row["run_id"] for row in parts.runs.page(ADMIN, wanted, 25, None)[0]]

    assert ids(RunFilter(job_id)) == runs[::-1]
    assert ids(RunFilter(job_id, active_only=True)) == runs[:0:-1]
    assert ids(RunFilter(job_id, completed_only=True)) == runs[:1]
    assert len(ids(RunFilter())) == 6
    assert (
        ids(RunFilter(job_id, start_time_to=1)) == [] and len(ids(RunFilter(job_id, start_time_from=1))) == 5
    )
    page, token = parts.runs.page(ADMIN, RunFilter(job_id), 2, None)
    rest, end = parts.runs.page(ADMIN, RunFilter(job_id), 3, token)
    assert [row["run_id"] for row in [*page, *rest]] == runs[::-1] and end is None


def test_a_job_without_tasks_cannot_run(parts: Workspace) -> None:
    job_id = parts.jobs.create(ADMIN, {"name": "empty"}, "2.2")
    with pytest.raises(InvalidParameter, match="no task"):
        parts.runs.run_now(ADMIN, RunRequest(job_id))
