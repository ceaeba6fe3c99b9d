"""Jobs by name and runs by token, against the local workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from databricks_file_arrivals.core.errors import Refused, WorkspaceError
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.planning import Job
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.jobs import jobs_named, start
from tests.airflow_side import DECLARED

NOW = datetime.now(timezone.utc)


def request(job_id: int, token: str, **more: object) -> LogRow:
    row = LogRow(status=Status.PLANNED, consumer="c", claim_id="x", epoch=1, job_id=job_id, trigger_id=token)
    return replace(row, job_parameters={"trigger_id": token, "directory": "/in/it's"}, **more)  # type: ignore[arg-type]


def test_a_name_is_matched_exactly_and_all_of_that_name_are_found(
    hook: FileArrivalsHook, jobs: dict[str, int], new_job: Callable[..., int]
) -> None:
    upper = new_job("ALPHA", declared=())
    found = jobs_named(["alpha", "ALPHA", "twin", "hidden", "no such job"], 4, hook.call)
    assert found["alpha"] == [Job(jobs["alpha"], frozenset(DECLARED))]
    assert found["ALPHA"] == [Job(upper, frozenset())]
    assert len(found["twin"]) == 2
    assert found["hidden"] == found["no such job"] == []


def test_many_names_are_found_in_one_sweep(hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    calls = 0

    def counting(call):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += call.endpoint.endswith("jobs/list")
        return hook.call(call)

    found = jobs_named(["alpha", "beta", *(f"absent {i}" for i in range(60))], 4, counting)
    assert found["alpha"] == [Job(jobs["alpha"], frozenset(DECLARED))]
    assert len(found) == 62 and calls < 10


def test_a_token_reaches_the_same_run_however_often(hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    first = run(start(request(jobs["alpha"], "a" * 64), NOW), hook.call)
    assert run(start(request(jobs["alpha"], "a" * 64), NOW), hook.call) == first
    assert run(start(request(jobs["alpha"], "b" * 64), NOW), hook.call) != first


def test_a_refusal_says_why(hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    with pytest.raises(Refused) as refused:
        run(start(request(jobs["locked"], "c" * 64), NOW), hook.call)
    assert refused.value.code == "PERMISSION_DENIED" and not refused.value.retryable


def test_an_old_request_looks_for_its_run_before_it_starts_one(
    hook: FileArrivalsHook, jobs: dict[str, int]
) -> None:
    known = run(start(request(jobs["alpha"], "d" * 64), NOW), hook.call)
    asked: list[str] = []

    def watching(call):  # type: ignore[no-untyped-def]
        asked.append(call.endpoint)
        return hook.call(call)

    old = request(jobs["alpha"], "d" * 64, recorded_at=NOW - timedelta(days=2))
    assert run(start(old, NOW), watching) == known
    assert not any(endpoint.endswith("run-now") for endpoint in asked)
    never_started = request(jobs["alpha"], "e" * 64, recorded_at=NOW - timedelta(days=2))
    assert run(start(never_started, NOW), hook.call) != known


def test_an_old_request_that_cannot_be_told_is_not_started(
    hook: FileArrivalsHook, jobs: dict[str, int]
) -> None:
    silent = replace(request(jobs["alpha"], "f" * 64, recorded_at=NOW - timedelta(days=2)), job_parameters={})
    with pytest.raises(WorkspaceError, match="cannot be told"):
        run(start(silent, NOW), hook.call)
