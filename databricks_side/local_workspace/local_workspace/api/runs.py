"""The Jobs API: runs."""

import json
import sqlite3
from typing import Any

from local_workspace.api.arguments import Arguments
from local_workspace.api.call import ALL_VERSIONS, Answer, Call, Route
from local_workspace.api.errors import InvalidParameter, NotImplementedHere
from local_workspace.api.job_store import next_token, seq_of_token
from local_workspace.api.repairs import RepairRequest
from local_workspace.api.run_store import RunFilter, RunRequest
from local_workspace.api.run_views import run_view, task_view

MAX_OUTPUT_BYTES = 5 * 1024 * 1024
TASKS_PER_PAGE = 100
_RERUN = ("rerun_all_failed_tasks", "rerun_dependent_tasks")
_OVERRIDES = ("notebook_params", "python_params")


def run_now(call: Call) -> Answer:
    """POST jobs/run-now"""
    given = call.arguments
    _refuse_other_overrides(call)
    overrides: dict[str, Any] = {}
    if given.values.get("notebook_params"):
        overrides["notebook_params"] = given.texts("notebook_params")
    if given.values.get("python_params"):
        overrides["python_params"] = [str(value) for value in given.sequence("python_params")]
    queue = Arguments(given.mapping("queue"))
    request = RunRequest(
        job_id=given.integer("job_id"),
        idempotency_token=given.optional_text("idempotency_token"),
        job_parameters=given.texts("job_parameters"),
        overrides=overrides,
        queue=queue.boolean("enabled") if "enabled" in queue.values else None,
    )
    run_id = call.workspace.runs.run_now(call.caller, request)
    return {"run_id": run_id, "number_in_job": run_id}


def _refuse_other_overrides(call: Call) -> None:
    known = {"job_id", "idempotency_token", "job_parameters", "queue", "performance_target", *_OVERRIDES}
    for name, value in call.arguments.values.items():
        # The stock operator sends `job_name` along with the id it has found.
        if name not in known and name != "job_name" and value not in (None, [], {}):
            raise NotImplementedHere(f"The local workspace does not implement {name!r} of jobs/run-now.")


def get(call: Call) -> Answer:
    """GET jobs/runs/get"""
    given = call.arguments
    given.only("run_id", "include_history", "include_resolved_values", "page_token")
    run_id, workspace = given.integer("run_id"), call.workspace
    task_run = workspace.runs.find_task_run(run_id)
    if task_run is not None:
        return _view_of_task_run(call, task_run)
    run = workspace.runs.find(call.caller, run_id)
    begin = seq_of_token(given.optional_text("page_token")) or 0
    task_runs = [row for row in workspace.runs.task_runs(run_id) if row["seq"] > begin]
    view = run_view(workspace.host, run, task_runs[:TASKS_PER_PAGE])
    if len(task_runs) > TASKS_PER_PAGE:
        view["next_page_token"] = next_token(task_runs[TASKS_PER_PAGE - 1]["seq"])
    if given.boolean("include_history"):
        view["repair_history"] = workspace.repairs.history(run, workspace.runs.task_runs(run_id))
    return view


def _view_of_task_run(call: Call, task_run: sqlite3.Row) -> dict[str, Any]:
    """A task run asked for by its own id: the run's data, with the state and times of the task."""
    run = call.workspace.runs.find(call.caller, task_run["run_id"])
    view = run_view(call.workspace.host, run, [task_run])
    task = view.pop("tasks")[0]
    kept = ("run_id", "state", "status", "start_time", "end_time", "execution_duration", "attempt_number")
    return {
        **view,
        **{key: task[key] for key in kept},
        "run_name": task_run["task_key"],
        "job_run_id": run["run_id"],
    }


def list_runs(call: Call) -> Answer:
    """GET jobs/runs/list"""
    given = call.arguments
    given.only(
        "job_id", "active_only", "completed_only", "start_time_from", "start_time_to", "limit", "page_token",
        "expand_tasks", "run_type", "offset",
    )  # fmt: skip
    if given.optional_integer("offset"):
        raise InvalidParameter("offset is not supported any more; page with page_token.")
    wanted = RunFilter(
        job_id=given.optional_integer("job_id"),
        active_only=given.boolean("active_only"),
        completed_only=given.boolean("completed_only"),
        start_time_from=given.optional_integer("start_time_from"),
        start_time_to=given.optional_integer("start_time_to"),
    )
    if wanted.active_only and wanted.completed_only:
        raise InvalidParameter("active_only and completed_only cannot both be true.")
    if given.optional_text("run_type") not in (None, "JOB_RUN"):
        return {"has_more": False}
    runs, token = call.workspace.runs.page(
        call.caller, wanted, given.limit("limit", 20, 25), given.optional_text("page_token")
    )
    expand, host = given.boolean("expand_tasks"), call.workspace.host
    answer: dict[str, Any] = {"has_more": token is not None}
    if runs:
        answer["runs"] = [run_view(host, run, _tasks(call, run) if expand else None) for run in runs]
    if token is not None:
        answer["next_page_token"] = token
    return answer


def _tasks(call: Call, run: sqlite3.Row) -> list[sqlite3.Row]:
    return call.workspace.runs.task_runs(run["run_id"])[:TASKS_PER_PAGE]


def repair(call: Call) -> Answer:
    """POST jobs/runs/repair"""
    given = call.arguments
    known = {"run_id", "latest_repair_id", "rerun_tasks", "job_parameters", "performance_target"}
    for name, value in given.values.items():
        if name not in known | {*_RERUN} and value not in (None, [], {}):
            raise NotImplementedHere(f"The local workspace does not implement {name!r} of jobs/runs/repair.")
    all_failed, dependent = (given.boolean(name) for name in _RERUN)
    request = RepairRequest(
        run_id=given.integer("run_id"),
        latest_repair_id=given.optional_integer("latest_repair_id"),
        rerun_tasks=frozenset(map(str, given.sequence("rerun_tasks"))),
        rerun_all_failed_tasks=all_failed,
        rerun_dependent_tasks=dependent,
        job_parameters=given.texts("job_parameters"),
    )
    return {"repair_id": call.workspace.repairs.repair(call.caller, request)}


def cancel(call: Call) -> Answer:
    """POST jobs/runs/cancel"""
    call.arguments.only("run_id")
    call.workspace.runs.cancel(call.caller, call.arguments.integer("run_id"))
    return {}


def cancel_all(call: Call) -> Answer:
    """POST jobs/runs/cancel-all"""
    call.arguments.only("job_id", "all_queued_runs")
    given = call.arguments
    call.workspace.runs.cancel_all(call.caller, given.integer("job_id"), given.boolean("all_queued_runs"))
    return {}


def delete(call: Call) -> Answer:
    """POST jobs/runs/delete"""
    call.arguments.only("run_id")
    call.workspace.runs.delete(call.caller, call.arguments.integer("run_id"))
    return {}


def get_output(call: Call) -> Answer:
    """GET jobs/runs/get-output"""
    call.arguments.only("run_id")
    run_id, workspace = call.arguments.integer("run_id"), call.workspace
    task_run = workspace.runs.find_task_run(run_id)
    if task_run is None:
        run = workspace.runs.find(call.caller, run_id)
        task_runs = workspace.runs.task_runs(run_id)
        if len({row["task_key"] for row in task_runs}) > 1:
            raise InvalidParameter(
                "Retrieving the output of runs with multiple tasks is not supported. "
                "Please retrieve the output of each individual task run instead."
            )
        if not task_runs:
            return {"metadata": run_view(workspace.host, run, [])}
        task_run = task_runs[-1]
    else:
        run = workspace.runs.find(call.caller, task_run["run_id"])
    return _output(call, run, task_run)


def _output(call: Call, run: sqlite3.Row, task_run: sqlite3.Row) -> dict[str, Any]:
    launcher, task_run_id = call.workspace.launcher, task_run["task_run_id"]
    logs, truncated = launcher.log(task_run_id, MAX_OUTPUT_BYTES)
    output: dict[str, Any] = {
        "metadata": {
            **run_view(call.workspace.host, run, [task_run]),
            "run_id": task_run_id,
            "job_run_id": run["run_id"],
        },
        "logs": logs,
        "logs_truncated": truncated,
    }
    if task_run["state"] != "TERMINATED":
        return output
    result = launcher.result(task_run_id)
    if result is not None and result.error is not None:
        output["error"], output["error_trace"] = result.error, result.error_trace or ""
    elif task_run["result"] != "SUCCESS":
        output["error"] = task_run["message"]
    if "notebook_task" in task_view(call.workspace.host, run, task_run, json.loads(run["settings"])):
        text = result.notebook_result if result else None
        output["notebook_output"] = (
            {"truncated": False} if text is None else {"result": text, "truncated": False}
        )
    return output


ROUTES = [
    Route("POST", "jobs/run-now", run_now, ALL_VERSIONS),
    Route("GET", "jobs/runs/get", get, ALL_VERSIONS),
    Route("GET", "jobs/runs/list", list_runs, ALL_VERSIONS),
    Route("POST", "jobs/runs/cancel", cancel, ALL_VERSIONS),
    Route("POST", "jobs/runs/cancel-all", cancel_all, ALL_VERSIONS),
    Route("POST", "jobs/runs/repair", repair, ALL_VERSIONS),
    Route("POST", "jobs/runs/delete", delete, ALL_VERSIONS),
    Route("GET", "jobs/runs/get-output", get_output, ALL_VERSIONS),
]
