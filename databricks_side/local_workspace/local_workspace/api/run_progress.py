"""How a run goes on once a task has ended. Pure: rows in, steps out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from local_workspace.api.job_settings import Settings
from local_workspace.api.run_views import CANCELLED


@dataclass(frozen=True, slots=True)
class TaskState:
    """One attempt of a task, as far as it decides how the run goes on."""

    task_run_id: int
    task_key: str
    attempt: int
    state: str
    result: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """What follows: tasks that may start, tasks that never will, attempts to add, and the run's end."""

    ready: list[int] = field(default_factory=list)
    ended: dict[int, tuple[str, str]] = field(default_factory=dict)
    retries: list[tuple[Settings, int]] = field(default_factory=list)
    run_end: tuple[str, str] | None = None


def next_steps(settings: Settings, tasks: Sequence[TaskState], ending: str | None) -> Steps:
    """The steps that follow from the tasks' states.

    `ending` is CANCELED or TIMEDOUT once the run's end has been asked for: then nothing new starts.
    """
    latest = {task.task_key: task for task in sorted(tasks, key=lambda task: task.attempt)}
    steps = Steps()
    if ending is None:
        for task in settings["tasks"]:
            state = latest[task["task_key"]]
            if _is_to_retry(task, state):
                steps.retries.append((task, state.attempt + 1))
            elif state.state == "BLOCKED":
                _unblock(task, state, latest, steps)
    if steps.ready or steps.retries:
        return steps
    ends = {key: steps.ended.get(task.task_run_id) or _end_of(task) for key, task in latest.items()}
    if all(ends.values()):
        return Steps(
            steps.ready, steps.ended, steps.retries, _run_end({k: e for k, e in ends.items() if e}, ending)
        )
    return steps


def _end_of(task: TaskState) -> tuple[str, str] | None:
    return (task.result or "SUCCESS", task.message) if task.state == "TERMINATED" else None


def _is_to_retry(task: Settings, state: TaskState) -> bool:
    if state.state != "TERMINATED" or state.result not in ("FAILED", "INTERNAL_ERROR", "TIMEDOUT"):
        return False
    if state.result == "TIMEDOUT" and not task.get("retry_on_timeout", False):
        return False
    most = task.get("max_retries", 0)
    return bool(most < 0 or state.attempt < most)


def _unblock(task: Settings, state: TaskState, latest: dict[str, TaskState], steps: Steps) -> None:
    """Let a task go when all it waits for succeeded, end it when one of them did not."""
    # A task that was ended in this round counts as ended for those behind it.
    needs = [latest[need["task_key"]] for need in task["depends_on"]]
    ends = [steps.ended.get(need.task_run_id) or _end_of(need) for need in needs]
    bad = [(need, end[0]) for need, end in zip(needs, ends, strict=True) if end and end[0] != "SUCCESS"]
    if bad:
        need, result = bad[0]
        kind = "UPSTREAM_CANCELED" if result in ("CANCELED", "UPSTREAM_CANCELED") else "UPSTREAM_FAILED"
        steps.ended[state.task_run_id] = (kind, f"Upstream task {need.task_key} did not succeed.")
    elif all(ends):
        steps.ready.append(state.task_run_id)


def _run_end(ends: dict[str, tuple[str, str]], ending: str | None) -> tuple[str, str]:
    if ending is not None:
        return ending, CANCELLED if ending == "CANCELED" else "Run timed out."
    for results in (("INTERNAL_ERROR",), ("FAILED", "TIMEDOUT"), ("CANCELED",)):
        for key, (result, message) in ends.items():
            if result in results:
                return result, f"Task {key} failed with message: {message}."
    return "SUCCESS", ""
