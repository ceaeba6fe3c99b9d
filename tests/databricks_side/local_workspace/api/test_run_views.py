"""How runs look: the old words and the new ones, and that the clients know all of them."""

from typing import Any

import pytest
from databricks.sdk.service import jobs

from local_workspace.api.run_views import _ENDS, states


def _row(state: str, result: str | None = None) -> Any:
    return {"state": state, "result": result, "message": "why"}


@pytest.mark.parametrize("state", ["QUEUED", "BLOCKED", "PENDING", "RUNNING", "TERMINATING"])
def test_what_goes_on_has_no_result(state: str) -> None:
    view = states(_row(state), True)
    assert view["state"]["life_cycle_state"] == state and "result_state" not in view["state"]
    assert (
        jobs.RunLifecycleStateV2State(view["status"]["state"]) and "termination_details" not in view["status"]
    )
    assert ("queue_details" in view["status"]) == (state == "QUEUED")


@pytest.mark.parametrize("result", sorted(_ENDS))
def test_the_words_of_each_end_are_known_to_the_sdk_and_to_airflow(result: str) -> None:
    from airflow.providers.databricks.hooks.databricks import RunState

    for is_job_run in (True, False):
        view = states(_row("TERMINATED", result), is_job_run)
        state, details = view["state"], view["status"]["termination_details"]
        assert jobs.RunLifeCycleState(state["life_cycle_state"]) and jobs.RunResultState(
            state["result_state"]
        )
        assert jobs.TerminationCodeCode(details["code"]) and jobs.TerminationTypeType(details["type"])
        assert RunState(**state).is_terminal
        assert RunState(**state).is_successful == (result == "SUCCESS")


def test_a_skipped_run_says_why_in_both_words() -> None:
    view = states(_row("TERMINATED", "MAX_CONCURRENT"), True)
    assert view["state"]["life_cycle_state"] == "SKIPPED"
    assert view["status"]["termination_details"]["code"] == "MAX_CONCURRENT_RUNS_EXCEEDED"


def test_a_failed_job_run_is_an_internal_error_in_the_old_words_and_its_task_is_not() -> None:
    assert states(_row("TERMINATED", "FAILED"), True)["state"]["life_cycle_state"] == "INTERNAL_ERROR"
    assert states(_row("TERMINATED", "FAILED"), False)["state"]["life_cycle_state"] == "TERMINATED"
