"""Runs as they are stored: what a caller can do with them. How they go on is the scheduler's business."""

import json
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_workspace.api import permissions
from local_workspace.api.errors import InvalidParameter, InvalidState, JobDoesNotExist
from local_workspace.api.job_settings import Settings, declared_parameters, is_queued
from local_workspace.api.job_store import Job, find_job, new_id, next_token, seq_of_token
from local_workspace.api.principals import Principal
from local_workspace.api.run_views import CANCELLED
from local_workspace.api.task_values import job_values, run_parameters
from local_workspace.state import State, now_ms

MAX_TOKEN_LENGTH = 64
# As many as Databricks keeps waiting for one job.
MAX_QUEUED_RUNS = 1000


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list shows."""

    job_id: int | None = None
    active_only: bool = False
    completed_only: bool = False
    start_time_from: int | None = None
    start_time_to: int | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What run-now was asked for."""

    job_id: int
    idempotency_token: str | None = None
    job_parameters: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    queue: bool | None = None


def end_run(db: sqlite3.Connection, run_id: int, result: str, message: str) -> None:
    """The run is over, with all of its tasks."""
    db.execute(
        "UPDATE runs SET state = 'TERMINATED', result = ?, message = ?, ended_at = ? WHERE run_id = ?",
        (result, message, now_ms(), run_id),
    )


def end_task(db: sqlite3.Connection, task_run_id: int, result: str, message: str) -> None:
    """The task run is over."""
    db.execute(
        "UPDATE task_runs SET state = 'TERMINATED', result = ?, message = ?, ended_at = ?"
        " WHERE task_run_id = ?",
        (result, message, now_ms(), task_run_id),
    )


def active_runs(db: sqlite3.Connection, job_id: int) -> tuple[int, int]:
    """How many runs of the job take a place now, and how many wait for one."""
    row = db.execute(
        "SELECT count(*) FILTER (WHERE state <> 'QUEUED'), count(*) FILTER (WHERE state = 'QUEUED')"
        " FROM runs WHERE job_id = ? AND state <> 'TERMINATED'",
        (job_id,),
    ).fetchone()
    return row[0], row[1]


def add_task_run(
    db: sqlite3.Connection, run_id: int, task: Settings, attempt: int = 0, not_before: int = 0
) -> int:
    """A new attempt of a task, waiting for what it depends on or for a place."""
    task_run_id = new_id()
    db.execute(
        "INSERT INTO task_runs (task_run_id, run_id, task_key, attempt, state, session_id, not_before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            task_run_id,
            run_id,
            task["task_key"],
            attempt,
            "BLOCKED" if task.get("depends_on") else "PENDING",
            str(uuid.uuid4()),
            not_before,
        ),
    )
    return task_run_id


class Runs:
    """The runs of the workspace. `wake` is called after each change that the scheduler should act on."""

    def __init__(self, state: State, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake

    def run_now(self, caller: Principal, request: RunRequest) -> int:
        """Start a run, or find the one that the same token started before; in one durable transaction."""
        token = request.idempotency_token
        if token is not None and len(token) > MAX_TOKEN_LENGTH:
            raise InvalidParameter(
                f"idempotency_token has {len(token)} characters, at most {MAX_TOKEN_LENGTH} are allowed."
            )
        with self._state.writing() as db:
            permissions.require(db, caller, request.job_id, "CAN_MANAGE_RUN")
            job = find_job(db, request.job_id)
            known = _run_of_token(db, token)
            if known is not None:
                return known
            run_id = _insert_run(db, caller, job, request)
            if token is not None:
                db.execute("INSERT INTO idempotency_tokens (token, run_id) VALUES (?, ?)", (token, run_id))
        self._wake()
        return run_id

    def find(self, caller: Principal, run_id: int, least: str = "CAN_VIEW") -> sqlite3.Row:
        """The run, or the run that a task run belongs to, for a caller who may see its job."""
        db = self._state.reading
        run: sqlite3.Row | None = db.execute(
            "SELECT * FROM runs WHERE run_id = ? AND deleted_at IS NULL", (run_id,)
        ).fetchone()
        if run is None:
            raise JobDoesNotExist(f"Run {run_id} does not exist.")
        permissions.require(db, caller, run["job_id"], least)
        return run

    def find_task_run(self, task_run_id: int) -> sqlite3.Row | None:
        """The task run of that id, if it is one."""
        row: sqlite3.Row | None = self._state.reading.execute(
            "SELECT * FROM task_runs WHERE task_run_id = ?", (task_run_id,)
        ).fetchone()
        return row

    def task_runs(self, run_id: int) -> list[sqlite3.Row]:
        """All attempts of all tasks of the run, in their order."""
        return self._state.reading.execute(
            "SELECT * FROM task_runs WHERE run_id = ? ORDER BY seq", (run_id,)
        ).fetchall()

    def page(
        self, caller: Principal, wanted: RunFilter, limit: int, token: str | None
    ) -> tuple[list[sqlite3.Row], str | None]:
        """One page of the runs that the caller may see, newest first, and the token of the next page."""
        rows = self._state.reading.execute(
            "SELECT runs.* FROM runs JOIN jobs ON jobs.job_id = runs.job_id WHERE runs.deleted_at IS NULL"
            " AND (:before IS NULL OR runs.seq < :before) AND (:job_id IS NULL OR runs.job_id = :job_id)"
            " AND (NOT :active OR runs.state <> 'TERMINATED')"
            " AND (NOT :completed OR runs.state = 'TERMINATED')"
            " AND (:since IS NULL OR runs.created_at >= :since)"
            " AND (:until IS NULL OR runs.created_at <= :until)"
            f" AND (:is_admin OR {permissions.VISIBLE}) ORDER BY runs.seq DESC LIMIT :limit",
            {
                "before": seq_of_token(token),
                "job_id": wanted.job_id,
                "active": wanted.active_only,
                "completed": wanted.completed_only,
                "since": wanted.start_time_from,
                "until": wanted.start_time_to,
                "is_admin": caller.is_admin,
                "caller": caller.name,
                "limit": limit + 1,
            },
        ).fetchall()
        page = rows[:limit]
        return page, next_token(page[-1]["seq"]) if len(rows) > limit else None

    def cancel(self, caller: Principal, run_id: int) -> None:
        """Ask for the end of a run; one that is over stays as it ended."""
        self.find(caller, run_id, "CAN_MANAGE_RUN")
        with self._state.writing() as db:
            _cancel(db, db.execute("SELECT run_id, state FROM runs WHERE run_id = ?", (run_id,)).fetchone())
        self._wake()

    def cancel_all(self, caller: Principal, job_id: int, queued_only: bool = False) -> None:
        """Ask for the end of all runs of a job, or only of those that have not begun."""
        with self._state.writing() as db:
            permissions.require(db, caller, job_id, "CAN_MANAGE_RUN")
            find_job(db, job_id)
            cancel_runs_of(db, job_id, queued_only)
        self._wake()

    def delete(self, caller: Principal, run_id: int) -> None:
        """Forget a run that is over. Its token stays used: naming it again is an error, as on Databricks."""
        run = self.find(caller, run_id, "CAN_MANAGE_RUN")
        if run["state"] != "TERMINATED":
            raise InvalidState(
                f"Run {run_id} is {run['state']}. Cancel it and wait for its end before you delete it."
            )
        with self._state.writing() as db:
            db.execute("UPDATE runs SET deleted_at = ? WHERE run_id = ?", (now_ms(), run_id))


def cancel_runs_of(db: sqlite3.Connection, job_id: int, queued_only: bool = False) -> None:
    """Ask for the end of all runs of a job that are not over."""
    for run in db.execute(
        "SELECT run_id, state FROM runs WHERE job_id = ? AND state <> 'TERMINATED'"
        " AND (NOT ? OR state = 'QUEUED')",
        (job_id, queued_only),
    ).fetchall():
        _cancel(db, run)


def _cancel(db: sqlite3.Connection, run: sqlite3.Row) -> None:
    run_id, state = run["run_id"], run["state"]
    if state in ("TERMINATED", "TERMINATING"):
        return
    # Tasks that have no process yet end here; the scheduler ends the others' processes, and then the run.
    waiting = db.execute(
        "SELECT task_run_id FROM task_runs WHERE run_id = ? AND state IN ('BLOCKED', 'PENDING')", (run_id,)
    ).fetchall()
    for task_run in waiting:
        end_task(db, task_run["task_run_id"], "CANCELED", CANCELLED)
    db.execute("UPDATE task_runs SET state = 'TERMINATING' WHERE run_id = ? AND state = 'RUNNING'", (run_id,))
    if db.execute("SELECT 1 FROM task_runs WHERE run_id = ? AND state <> 'TERMINATED'", (run_id,)).fetchone():
        db.execute(
            "UPDATE runs SET state = 'TERMINATING', message = ? WHERE run_id = ?",
            ("Run is being cancelled.", run_id),
        )
    else:
        end_run(db, run_id, "CANCELED", CANCELLED)


def _run_of_token(db: sqlite3.Connection, token: str | None) -> int | None:
    if token is None:
        return None
    row = db.execute(
        "SELECT t.run_id, r.deleted_at FROM idempotency_tokens t JOIN runs r ON r.run_id = t.run_id"
        " WHERE t.token = ?",
        (token,),
    ).fetchone()
    if row is None:
        return None
    if row["deleted_at"] is not None:
        raise InvalidParameter(
            f"Run {row['run_id']}, started with this idempotency_token, was deleted. Use another token."
        )
    return int(row["run_id"])


def _insert_run(db: sqlite3.Connection, caller: Principal, job: Job, request: RunRequest) -> int:
    run_id, settings, now = new_id(), job.settings, now_ms()
    if not settings["tasks"]:
        raise InvalidParameter(f"Job {job.job_id} has no task to run.")
    _check_overrides(settings, request)
    state, result, message = _place(db, job, request)
    values = job_values(job.job_id, run_id, settings["name"])
    parameters = run_parameters(declared_parameters(settings), request.job_parameters, values)
    db.execute(
        "INSERT INTO runs (run_id, job_id, creator, run_as, settings, parameters, overrides, state, result,"
        " message, created_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run_id,
            job.job_id,
            caller.name,
            job.run_as,
            json.dumps(settings),
            json.dumps(parameters),
            json.dumps(request.overrides),
            state,
            result,
            message,
            now,
            None if result is None else now,
        ),
    )
    if result is None:
        for task in settings["tasks"]:
            add_task_run(db, run_id, task)
    return run_id


def _check_overrides(settings: Settings, request: RunRequest) -> None:
    if request.overrides and (settings.get("parameters") or request.job_parameters):
        name = next(iter(request.overrides))
        raise InvalidParameter(f"{name} cannot be given for a job with job parameters; use job_parameters.")


def _place(db: sqlite3.Connection, job: Job, request: RunRequest) -> tuple[str, str | None, str]:
    """State, result and message a new run of the job begins with: a place, a place in the queue, or none."""
    most = job.settings["max_concurrent_runs"]
    running, queued = active_runs(db, job.job_id)
    if running < most and not queued:
        return "PENDING", None, ""
    if is_queued(job.settings) if request.queue is None else request.queue:
        if queued < MAX_QUEUED_RUNS:
            return "QUEUED", None, f"Queued due to reaching maximum concurrent runs of {most}."
        return "TERMINATED", "MAX_CONCURRENT", f"Skipped because {queued} runs of the job are queued already."
    return (
        "TERMINATED",
        "MAX_CONCURRENT",
        f"Skipped because the limit of {most} concurrent runs of the job has been reached.",
    )
