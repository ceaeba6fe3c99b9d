"""How a run looks from outside: the old `state` object and the newer `status`, out of one stored state.

A stored state is one of QUEUED, BLOCKED, PENDING, RUNNING, TERMINATING, TERMINATED; the last has a result.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from local_workspace.api.job_settings import TASK_KINDS, Settings, declared_parameters

# result -> (old life cycle, old result, termination code, termination type)
_ENDS = {
    "SUCCESS": ("TERMINATED", "SUCCESS", "SUCCESS", "SUCCESS"),
    "FAILED": ("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "CANCELED": ("TERMINATED", "CANCELED", "USER_CANCELED", "SUCCESS"),
    "TIMEDOUT": ("TERMINATED", "TIMEDOUT", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "UPSTREAM_FAILED": ("TERMINATED", "UPSTREAM_FAILED", "SKIPPED", "CLIENT_ERROR"),
    "UPSTREAM_CANCELED": ("TERMINATED", "UPSTREAM_CANCELED", "SKIPPED", "SUCCESS"),
    "MAX_CONCURRENT": (
        "SKIPPED",
        "MAXIMUM_CONCURRENT_RUNS_REACHED",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
        "CLIENT_ERROR",
    ),
    "INTERNAL_ERROR": ("INTERNAL_ERROR", "FAILED", "INTERNAL_ERROR", "INTERNAL_ERROR"),
}
CANCELLED = "Run cancelled."
TASK_FAILED = "Workload failed, see run output for details"


def states(row: sqlite3.Row | dict[str, Any], is_job_run: bool) -> dict[str, Any]:
    """`state` and `status` of a run or of a task run."""
    if row["state"] != "TERMINATED":
        status: dict[str, Any] = {"state": row["state"]}
        if row["state"] == "QUEUED":
            status["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": row["message"]}
        state = {
            "life_cycle_state": row["state"],
            "state_message": row["message"],
            "user_cancelled_or_timedout": False,
        }
        return {"state": state, "status": status}
    life_cycle, result, code, kind = _ENDS[row["result"]]
    if is_job_run and row["result"] == "FAILED":
        # A job run with a failed task is INTERNAL_ERROR in the old words, although its tasks are TERMINATED.
        life_cycle = "INTERNAL_ERROR"
    state = {
        "life_cycle_state": life_cycle,
        "result_state": result,
        "state_message": row["message"],
        "user_cancelled_or_timedout": row["result"] in ("CANCELED", "TIMEDOUT"),
    }
    details = {"code": code, "type": kind, "message": row["message"]}
    return {"state": state, "status": {"state": "TERMINATED", "termination_details": details}}


def _times(row: sqlite3.Row, waited_from: int) -> dict[str, int]:
    started, ended = row["started_at"], row["ended_at"]
    begun = started if started is not None else ended
    times = {"start_time": waited_from, "setup_duration": 0, "cleanup_duration": 0}
    times["end_time"] = ended or 0
    times["queue_duration"] = max(0, begun - waited_from) if begun is not None else 0
    times["execution_duration"] = ended - started if started is not None and ended is not None else 0
    times["run_duration"] = ended - waited_from if ended is not None else 0
    return times


def page_url(host: str, row: sqlite3.Row) -> str:
    """Where a person reads about the run."""
    return f"{host}/jobs/{row['job_id']}/runs/{row['run_id']}"


def task_view(host: str, run: sqlite3.Row, task_run: sqlite3.Row, settings: Settings) -> dict[str, Any]:
    """One attempt of one task, as it stands in `tasks` of a run."""
    shown = (
        "depends_on",
        "run_if",
        "description",
        "libraries",
        "environment_key",
        "job_cluster_key",
        *TASK_KINDS,
    )
    task = next(task for task in settings["tasks"] if task["task_key"] == task_run["task_key"])
    return {
        "run_id": task_run["task_run_id"],
        "task_key": task_run["task_key"],
        **{key: task[key] for key in shown if key in task},
        "attempt_number": task_run["attempt"],
        "run_page_url": page_url(host, run),
        **_times(task_run, run["created_at"]),
        **states(task_run, is_job_run=False),
    }


def run_view(host: str, run: sqlite3.Row, task_runs: Sequence[sqlite3.Row] | None) -> dict[str, Any]:
    """A run as runs/get and runs/list show it; without `task_runs` it has no `tasks`."""
    settings: Settings = json.loads(run["settings"])
    view: dict[str, Any] = {
        "job_id": run["job_id"],
        "run_id": run["run_id"],
        "number_in_job": run["run_id"],
        "original_attempt_run_id": run["run_id"],
        "creator_user_name": run["creator"],
        "run_as_user_name": run["run_as"],
        "run_name": settings["name"],
        "run_type": "JOB_RUN",
        "trigger": "ONE_TIME",
        "format": settings["format"],
        "run_page_url": page_url(host, run),
        **_times(run, run["created_at"]),
        **states(run, is_job_run=True),
        **_parameters_view(run, settings),
    }
    if task_runs is not None:
        view["tasks"] = [task_view(host, run, task_run, settings) for task_run in task_runs]
    return view


def _parameters_view(run: sqlite3.Row, settings: Settings) -> dict[str, Any]:
    view: dict[str, Any] = {}
    declared, values, overrides = (
        declared_parameters(settings),
        json.loads(run["parameters"]),
        json.loads(run["overrides"]),
    )
    if values:
        view["job_parameters"] = [
            {"name": name, **({"default": declared[name]} if name in declared else {}), "value": value}
            for name, value in sorted(values.items())
        ]
    if overrides:
        view["overriding_parameters"] = overrides
    return view
