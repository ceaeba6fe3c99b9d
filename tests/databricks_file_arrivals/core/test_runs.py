"""Runs in all the words that Databricks has for them."""

from __future__ import annotations

from typing import Any

import pytest
from databricks.sdk.service.jobs import RunLifeCycleState, RunLifecycleStateV2State

from databricks_file_arrivals.core.runs import Run


def old(state: str, result: str | None = None) -> dict[str, Any]:
    said = {"life_cycle_state": state, **({"result_state": result} if result else {})}
    return {"run_id": 7, "job_id": 3, "state": said}


def new(state: str, code: str | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"state": state}
    if code:
        said["termination_details"] = {"code": code, "type": "CLIENT_ERROR", "message": "because"}
    return {"run_id": 7, "job_id": 3, "status": said}


def words(answer: dict[str, Any]) -> set[str]:
    """The predicates that hold."""
    run = Run.read(answer)
    return {p for p in ("queued", "executing", "ended", "succeeded", "never_ran") if getattr(run, p)}


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (old("QUEUED"), {"queued"}),
        (new("QUEUED"), {"queued"}),
        (old("PENDING"), {"queued"}),
        (new("PENDING"), {"queued"}),
        (new("BLOCKED"), {"queued"}),
        (old("RUNNING"), {"executing"}),
        (new("RUNNING"), {"executing"}),
        (new("TERMINATING", "SUCCESS"), set()),
        (old("WAITING_FOR_RETRY"), {"executing"}),
        (new("WAITING"), {"executing"}),
        (old("TERMINATED", "SUCCESS"), {"ended", "succeeded"}),
        (new("TERMINATED", "SUCCESS"), {"ended", "succeeded"}),
        (new("TERMINATED", "SUCCESS_WITH_FAILURES"), {"ended", "succeeded"}),
        (old("TERMINATED", "FAILED"), {"ended"}),
        (old("INTERNAL_ERROR", "FAILED"), {"ended"}),
        (new("TERMINATED", "RUN_EXECUTION_ERROR"), {"ended"}),
        (old("TERMINATED", "TIMEDOUT"), {"ended"}),
        (old("TERMINATED", "CANCELED"), {"ended"}),
        (old("SKIPPED"), {"ended", "never_ran"}),
        (old("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED"), {"ended", "never_ran"}),
        (new("TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED"), {"ended", "never_ran"}),
        (new("TERMINATED", "MAX_JOB_QUEUE_SIZE_EXCEEDED"), {"ended", "never_ran"}),
        (new("TERMINATED", "SKIPPED"), {"ended", "never_ran"}),
        (new("TERMINATED", "USER_CANCELED"), {"ended"}),
        (new("TERMINATED", "A_CODE_OF_TOMORROW"), {"ended"}),
    ],
)
def test_what_the_words_mean(answer: dict[str, Any], holds: set[str]) -> None:
    assert words(answer) == holds


@pytest.mark.parametrize(
    "answer", [old("LEVITATING"), new("LEVITATING"), {"run_id": 7}, {"run_id": 7, "state": None}]
)
def test_a_state_that_is_not_known_is_waited_for_and_named(answer: dict[str, Any]) -> None:
    assert words(answer) == set() and not Run.read(answer).known
    assert str(Run.read(answer)) in ("run 7 is LEVITATING", "run 7 is no state")


@pytest.mark.parametrize("state", [*RunLifeCycleState, *RunLifecycleStateV2State])
def test_every_state_that_the_sdk_knows_is_one_of_queued_executing_and_ended(
    state: RunLifeCycleState | RunLifecycleStateV2State,
) -> None:
    for answer in (old(state.value), new(state.value)):
        expected = 0 if state.value == "TERMINATING" else 1  # it says nothing of whether it has begun
        assert len(words(answer) & {"queued", "executing", "ended"}) == expected
        assert Run.read(answer).known


def test_the_newer_words_count_where_both_are_there() -> None:
    both = {**old("INTERNAL_ERROR", "FAILED"), **new("TERMINATED", "RUN_EXECUTION_ERROR")}
    run = Run.read(both)
    assert (run.state, run.result, run.code, run.message) == (
        "TERMINATED",
        "FAILED",
        "RUN_EXECUTION_ERROR",
        "because",
    )
    assert str(run) == "run 7 is TERMINATED FAILED RUN_EXECUTION_ERROR: because"


def test_why_a_run_waits_is_its_message() -> None:
    details = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": "one at a time"}
    waiting = {"run_id": "7", "job_id": 3, "status": {"state": "QUEUED", "queue_details": details}}
    assert Run.read(waiting) == Run(7, 3, "QUEUED", message="one at a time")
