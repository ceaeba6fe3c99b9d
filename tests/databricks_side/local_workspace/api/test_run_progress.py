"""How a run goes on: dependencies, retries, ends."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from local_workspace.api.run_progress import TaskState, next_steps

DIAMOND: dict[str, Any] = {
    "tasks": [
        {"task_key": "a"},
        {"task_key": "b", "depends_on": [{"task_key": "a"}]},
        {"task_key": "c", "depends_on": [{"task_key": "a"}]},
        {"task_key": "d", "depends_on": [{"task_key": "b"}, {"task_key": "c"}]},
    ]
}


def _tasks(**states: str) -> list[TaskState]:
    """`a="SUCCESS"` is over with that result, `a="RUNNING"` is in that state."""
    going = ("BLOCKED", "PENDING", "RUNNING", "TERMINATING")
    return [
        TaskState(
            number,
            key,
            0,
            state if state in going else "TERMINATED",
            None if state in going else state,
            "why",
        )
        for number, (key, state) in enumerate(states.items())
    ]


def test_a_task_waits_for_all_that_it_depends_on() -> None:
    steps = next_steps(DIAMOND, _tasks(a="SUCCESS", b="BLOCKED", c="BLOCKED", d="BLOCKED"), None)
    assert (steps.ready, steps.ended, steps.run_end) == ([1, 2], {}, None)
    assert next_steps(DIAMOND, _tasks(a="SUCCESS", b="SUCCESS", c="RUNNING", d="BLOCKED"), None).ready == []
    assert next_steps(DIAMOND, _tasks(a="SUCCESS", b="SUCCESS", c="SUCCESS", d="BLOCKED"), None).ready == [3]


def test_what_depends_on_a_failed_task_never_runs_and_the_run_fails() -> None:
    steps = next_steps(DIAMOND, _tasks(a="SUCCESS", b="FAILED", c="SUCCESS", d="BLOCKED"), None)
    assert steps.ended[3][0] == "UPSTREAM_FAILED"
    assert steps.run_end == ("FAILED", "Task b failed with message: why.")


def test_a_failure_goes_down_the_whole_chain_in_one_step() -> None:
    steps = next_steps(DIAMOND, _tasks(a="FAILED", b="BLOCKED", c="BLOCKED", d="BLOCKED"), None)
    assert {result for result, _ in steps.ended.values()} == {"UPSTREAM_FAILED"} and len(steps.ended) == 3
    assert steps.run_end is not None and steps.run_end[0] == "FAILED"


def test_a_failure_does_not_end_the_run_while_another_task_runs() -> None:
    steps = next_steps(DIAMOND, _tasks(a="SUCCESS", b="FAILED", c="RUNNING", d="BLOCKED"), None)
    assert 3 in steps.ended and steps.run_end is None


def test_retries_come_before_the_end() -> None:
    settings: dict[str, Any] = {"tasks": [{"task_key": "a", "max_retries": 1}]}
    steps = next_steps(settings, _tasks(a="FAILED"), None)
    assert [(task["task_key"], attempt) for task, attempt in steps.retries] == [
        ("a", 1)
    ] and steps.run_end is None
    again = [*_tasks(a="FAILED"), TaskState(9, "a", 1, "TERMINATED", "FAILED")]
    assert next_steps(settings, again, None).run_end is not None
    better = [*_tasks(a="FAILED"), TaskState(9, "a", 1, "TERMINATED", "SUCCESS")]
    assert next_steps(settings, better, None).run_end == ("SUCCESS", "")


def test_a_timeout_is_retried_only_if_asked_for() -> None:
    settings: dict[str, Any] = {"tasks": [{"task_key": "a", "max_retries": -1}]}
    assert next_steps(settings, _tasks(a="TIMEDOUT"), None).retries == []
    settings["tasks"][0]["retry_on_timeout"] = True
    assert len(next_steps(settings, _tasks(a="TIMEDOUT"), None).retries) == 1


def test_a_run_that_is_cancelled_starts_nothing_and_ends_with_its_last_task() -> None:
    assert (
        next_steps(
            DIAMOND, _tasks(a="TERMINATING", b="CANCELED", c="CANCELED", d="CANCELED"), "CANCELED"
        ).run_end
        is None
    )
    steps = next_steps(DIAMOND, _tasks(a="FAILED", b="CANCELED", c="CANCELED", d="CANCELED"), "CANCELED")
    assert steps.run_end == ("CANCELED", "Run cancelled.") and not steps.retries


@given(
    st.lists(
        st.sampled_from(["SUCCESS", "FAILED", "CANCELED", "TIMEDOUT", "INTERNAL_ERROR"]),
        min_size=4,
        max_size=4,
    )
)
def test_a_run_always_comes_to_an_end_that_says_whether_all_went_well(outcomes: list[str]) -> None:
    will_be = dict(zip("abcd", outcomes, strict=True))
    now = {"a": will_be["a"], "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    for _ in range(10):
        steps = next_steps(DIAMOND, _tasks(**now), None)
        keys = list(now)
        for number in steps.ready:
            now[keys[number]] = will_be[keys[number]]
        for number, (result, _) in steps.ended.items():
            now[keys[number]] = result
        if steps.run_end is not None:
            assert (steps.run_end[0] == "SUCCESS") == all(state == "SUCCESS" for state in now.values())
            assert "BLOCKED" not in now.values()
            return
    raise AssertionError(f"no end: {now}")
