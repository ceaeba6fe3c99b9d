"""Repairs: tasks of a run that is over, run once more as part of that run."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from local_workspace.api import permissions
from local_workspace.api.errors import InvalidParameter, InvalidState, JobDoesNotExist, NotImplementedHere
from local_workspace.api.job_settings import Settings
from local_workspace.api.job_store import find_job, new_id
from local_workspace.api.principals import Principal
from local_workspace.api.run_store import add_task_run
from local_workspace.api.run_views import states
from local_workspace.state import State, now_ms


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What runs/repair was asked for."""

    run_id: int
    latest_repair_id: int | None = None
    rerun_tasks: frozenset[str] = frozenset()
    rerun_all_failed_tasks: bool = False
    rerun_dependent_tasks: bool = False
    job_parameters: dict[str, str] = field(default_factory=dict)


class Repairs:
    """The repairs of all runs. `wake` is called when the scheduler has something to do."""

    def __init__(self, state: State, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake

    def repair(self, caller: Principal, request: RepairRequest) -> int:
        """Run tasks of a run once more, with the settings that its job has now: the repair's id."""
        with self._state.writing() as db:
            run = db.execute(
                "SELECT * FROM runs WHERE run_id = ? AND deleted_at IS NULL", (request.run_id,)
            ).fetchone()
            if run is None:
                raise JobDoesNotExist(f"Run {request.run_id} does not exist.")
            permissions.require(db, caller, run["job_id"], "CAN_MANAGE_RUN")
            _check_order(db, run, request.latest_repair_id)
            latest = _latest(db, request.run_id)
            settings = _current_settings(db, run, latest)
            chosen = chosen_tasks(settings, {key: row["result"] for key, row in latest.items()}, request)
            repair_id = _begin(db, run, settings, request.job_parameters)
            for task in settings["tasks"]:
                if task["task_key"] in chosen:
                    _again(db, run["run_id"], task, latest[task["task_key"]]["attempt"] + 1, chosen)
        self._wake()
        return repair_id

    def history(self, run: sqlite3.Row, task_runs: Sequence[sqlite3.Row]) -> list[dict[str, Any]]:
        """The run as it was first and each of its repairs, as the API tells them."""
        repairs = self._state.reading.execute(
            "SELECT * FROM repairs WHERE run_id = ? ORDER BY seq", (run["run_id"],)
        ).fetchall()
        starts = [run["created_at"], *(each["created_at"] for each in repairs)]
        firsts = [0, *(each["after_seq"] + 1 for each in repairs)]
        # How each of them ended was written down when the next began.
        ends = [*({"state": "TERMINATED", **dict(each)} for each in repairs), dict(run)]
        lasts = [*(first - 1 for first in firsts[1:]), None]
        return [
            {
                "type": "REPAIR" if place else "ORIGINAL",
                **({"id": repairs[place - 1]["repair_id"]} if place else {}),
                "start_time": starts[place],
                "end_time": ends[place]["ended_at"] or 0,
                **states(ends[place], is_job_run=True),
                "task_run_ids": [
                    row["task_run_id"]
                    for row in task_runs
                    if firsts[place] <= row["seq"] and (lasts[place] is None or row["seq"] <= lasts[place])
                ],
            }
            for place in range(len(starts))
        ]


def chosen_tasks(settings: Settings, results: dict[str, str | None], request: RepairRequest) -> set[str]:
    """The tasks that are to run once more. Raises InvalidParameter when that makes no sense."""
    if bool(request.rerun_tasks) == request.rerun_all_failed_tasks:
        raise InvalidParameter("Give one of rerun_tasks and rerun_all_failed_tasks.")
    unknown = sorted(request.rerun_tasks - set(results))
    if unknown:
        raise InvalidParameter(f"The run has no task {unknown[0]!r}.")
    failed = {key for key, result in results.items() if result != "SUCCESS"}
    chosen = set(request.rerun_tasks) or failed
    if not chosen:
        raise InvalidParameter("There is no failed task to run again.")
    needs = {task["task_key"]: _needs(task) for task in settings["tasks"]}
    while request.rerun_dependent_tasks:
        more = {key for key, needed in needs.items() if needed & chosen} - chosen
        if not more:
            break
        chosen |= more
    for key in sorted(chosen):
        if missing := sorted(needs[key] & failed - chosen):
            raise InvalidParameter(
                f"Task {key!r} depends on {missing[0]!r}, which did not succeed: run it again too."
            )
    return chosen


def _needs(task: Settings) -> set[str]:
    return {need["task_key"] for need in task.get("depends_on", [])}


def _check_order(db: sqlite3.Connection, run: sqlite3.Row, named: int | None) -> None:
    """Refuse a repair of a run that is not over, and one that does not know of the last repair."""
    if run["state"] != "TERMINATED":
        raise InvalidState(f"Run {run['run_id']} is {run['state']}. It can be repaired when it is over.")
    last = db.execute(
        "SELECT repair_id FROM repairs WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run["run_id"],)
    ).fetchone()
    if last is not None and named is None:
        raise InvalidParameter("The latest repair ID needs to be provided in order to create a new repair.")
    if named != (None if last is None else last["repair_id"]):
        raise InvalidParameter(f"latest_repair_id {named} is not that of the run's latest repair.")


def _latest(db: sqlite3.Connection, run_id: int) -> dict[str, sqlite3.Row]:
    """The last attempt of each task."""
    rows = db.execute("SELECT * FROM task_runs WHERE run_id = ? ORDER BY attempt", (run_id,)).fetchall()
    if not rows:
        raise InvalidState(f"Run {run_id} was skipped: it has no tasks to run again.")
    return {row["task_key"]: row for row in rows}


def _current_settings(db: sqlite3.Connection, run: sqlite3.Row, latest: dict[str, sqlite3.Row]) -> Settings:
    settings = find_job(db, run["job_id"]).settings
    if {task["task_key"] for task in settings["tasks"]} != set(latest):
        raise NotImplementedHere(
            f"The local workspace does not repair run {run['run_id']}: its job has other tasks by now."
        )
    return settings


def _begin(db: sqlite3.Connection, run: sqlite3.Row, settings: Settings, parameters: dict[str, str]) -> int:
    """Write down how the run had ended, and take that end back."""
    repair_id, run_id = new_id(), run["run_id"]
    db.execute(
        "INSERT INTO repairs (repair_id, run_id, created_at, result, message, ended_at, after_seq)"
        " VALUES (?, ?, ?, ?, ?, ?, (SELECT max(seq) FROM task_runs WHERE run_id = ?))",
        (repair_id, run_id, now_ms(), run["result"], run["message"], run["ended_at"], run_id),
    )
    values = {**json.loads(run["parameters"]), **parameters}
    db.execute(
        "UPDATE runs SET state = 'PENDING', result = NULL, message = '', started_at = NULL, ended_at = NULL,"
        " settings = ?, parameters = ? WHERE run_id = ?",
        (json.dumps(settings), json.dumps(values), run_id),
    )
    return repair_id


def _again(db: sqlite3.Connection, run_id: int, task: Settings, attempt: int, chosen: set[str]) -> None:
    task_run_id = add_task_run(db, run_id, task, attempt)
    if not _needs(task) & chosen:
        # What it waits for has succeeded before: nothing that ends will set it free.
        db.execute("UPDATE task_runs SET state = 'PENDING' WHERE task_run_id = ?", (task_run_id,))
