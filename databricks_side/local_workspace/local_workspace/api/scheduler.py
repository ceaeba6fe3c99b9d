"""What moves runs on: queue to place, place to process, process to result.

One thread owns it. All it knows is in the state file and in the folders of the runs, so that it goes on
after a `kill -9` where it stopped: a task marked RUNNING without a process is started again, which the
runner makes one start.
"""

import json
import logging
import sqlite3
import threading
import time
from typing import Any

from local_workspace.api.job_settings import Settings
from local_workspace.api.launch import Launcher, LaunchError
from local_workspace.api.principals import mint_token, revoke_run_tokens
from local_workspace.api.run_progress import TaskState, next_steps
from local_workspace.api.run_store import add_task_run, end_run, end_task
from local_workspace.api.run_views import CANCELLED, TASK_FAILED
from local_workspace.runner_client import RunnerError
from local_workspace.state import State, now_ms

log = logging.getLogger(__name__)

BUSY_PAUSE_SECONDS = 0.05
GATHER_SECONDS = 0.01
IDLE_PAUSE_SECONDS = 2.0
RUNNER_PAUSE_SECONDS = 0.5
RELEASE_SECONDS = 10.0
DIED = "The run's process ended without a result: it was killed, or the workspace was stopped."

End = tuple[int, int, str, str]  # task run, run, result, message


class Scheduler:
    """Runs in a thread of the API process from `start` to `stop`."""

    def __init__(self, state: State, launcher: Launcher, most_processes: int) -> None:
        self._state = state
        self._launcher = launcher
        self._most = most_processes
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._cancelling: set[int] = set()
        self._runner_again_at = 0.0
        self._dead_since: dict[int, float] = {}

    def start(self) -> None:
        """Begin, with a look at every run that was not over when the last process ended."""
        with self._state.writing() as db:
            for row in db.execute(
                "SELECT run_id FROM runs WHERE state IN ('PENDING', 'RUNNING', 'TERMINATING')"
            ).fetchall():
                self._progress(db, row["run_id"])
        self._thread.start()

    def stop(self) -> None:
        """Stop scheduling; processes of runs live on."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Look now: something has changed."""
        self._wake.set()

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                busy = self._tick()
            except (sqlite3.Error, OSError):
                # A full disk or a moment's trouble must not end scheduling for good: told, and tried again.
                log.exception("scheduling failed, trying again")
                busy = False
            self._wake.wait(BUSY_PAUSE_SECONDS if busy else IDLE_PAUSE_SECONDS)
            # A thousand runs started in a second need no thousand looks, which would hold the file.
            time.sleep(GATHER_SECONDS)

    def _tick(self) -> bool:
        """One look at everything; returns whether something is going on."""
        going = self._state.reading.execute(
            "SELECT * FROM task_runs WHERE state IN ('RUNNING', 'TERMINATING') ORDER BY seq"
        ).fetchall()
        ends = [end for task_run in going if (end := self._end_of(task_run)) is not None]
        with self._state.writing() as db:
            for task_run_id, _, result, message in ends:
                end_task(db, task_run_id, result, message)
                revoke_run_tokens(db, task_run_id)
                self._cancelling.discard(task_run_id)
            for run_id in {run_id for _, run_id, _, _ in ends} | _time_out(db):
                self._progress(db, run_id)
            _promote(db)
            chosen = self._choose(db)
        for run, task_run, token in chosen:
            self._launch(run, task_run, token)
        self._cancel_ending()
        row = self._state.reading.execute(
            "SELECT 1 FROM task_runs WHERE state <> 'TERMINATED' LIMIT 1"
        ).fetchone()
        return row is not None

    def _end_of(self, task_run: sqlite3.Row) -> End | None:
        """How the task run ended, if it did. One that never got its process is started again."""
        task_run_id = task_run["task_run_id"]
        ending = task_run["state"] == "TERMINATING"
        if not self._launcher.was_started(task_run_id):
            if ending:
                return task_run_id, task_run["run_id"], task_run["result"] or "CANCELED", CANCELLED
            self._start_again(task_run)
            return None
        if self._launcher.is_alive(task_run_id) or not self._is_settled(task_run_id):
            return None
        if ending:
            result = task_run["result"] or "CANCELED"
            return (
                task_run_id,
                task_run["run_id"],
                result,
                CANCELLED if result == "CANCELED" else "Task timed out.",
            )
        outcome = self._launcher.result(task_run_id)
        if outcome is None:
            return task_run_id, task_run["run_id"], "INTERNAL_ERROR", DIED
        failed = outcome.exit_code != 0
        return (
            task_run_id,
            task_run["run_id"],
            "FAILED" if failed else "SUCCESS",
            TASK_FAILED if failed else "",
        )

    def _is_settled(self, task_run_id: int) -> bool:
        """Whether the dead process's Spark session is gone too, so that the next run can have its checkpoint.

        The runner sees to that in a moment; without runner or engine there is nothing to wait for.
        """
        dead_since = self._dead_since.setdefault(task_run_id, time.monotonic())
        if not self._launcher.is_released(task_run_id) and time.monotonic() < dead_since + RELEASE_SECONDS:
            return False
        del self._dead_since[task_run_id]
        return True

    def _progress(self, db: sqlite3.Connection, run_id: int) -> None:
        run = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        rows = db.execute("SELECT * FROM task_runs WHERE run_id = ? ORDER BY seq", (run_id,)).fetchall()
        ending = (run["result"] or "CANCELED") if run["state"] == "TERMINATING" else None
        settings: Settings = json.loads(run["settings"])
        steps = next_steps(settings, [_task_state(row) for row in rows], ending)
        for task_run_id in steps.ready:
            db.execute("UPDATE task_runs SET state = 'PENDING' WHERE task_run_id = ?", (task_run_id,))
        for task_run_id, (result, message) in steps.ended.items():
            end_task(db, task_run_id, result, message)
        for task, attempt in steps.retries:
            pause = int(task.get("min_retry_interval_millis", 0))
            added = add_task_run(db, run_id, task, attempt, now_ms() + pause)
            db.execute("UPDATE task_runs SET state = 'PENDING' WHERE task_run_id = ?", (added,))
        if steps.run_end is not None:
            end_run(db, run_id, *steps.run_end)

    def _choose(self, db: sqlite3.Connection) -> list[tuple[sqlite3.Row, sqlite3.Row, str]]:
        """Mark the next tasks RUNNING, first come first served, as many as there are places for processes."""
        going = db.execute(
            "SELECT count(*) FROM task_runs WHERE state IN ('RUNNING', 'TERMINATING')"
        ).fetchone()[0]
        chosen = []
        for task_run in db.execute(
            "SELECT t.* FROM task_runs t JOIN runs r ON r.run_id = t.run_id WHERE t.state = 'PENDING'"
            " AND r.state IN ('PENDING', 'RUNNING') AND t.not_before <= ? ORDER BY t.seq LIMIT ?",
            (now_ms(), max(0, self._most - going)),
        ).fetchall():
            run = db.execute("SELECT * FROM runs WHERE run_id = ?", (task_run["run_id"],)).fetchone()
            db.execute(
                "UPDATE task_runs SET state = 'RUNNING', started_at = ? WHERE task_run_id = ?",
                (now_ms(), task_run["task_run_id"]),
            )
            db.execute(
                "UPDATE runs SET state = 'RUNNING', message = '', started_at = coalesce(started_at, ?)"
                " WHERE run_id = ?",
                (now_ms(), task_run["run_id"]),
            )
            chosen.append((run, task_run, mint_token(db, run["run_as"], task_run["task_run_id"])))
        return chosen

    def _launch(self, run: sqlite3.Row, task_run: sqlite3.Row, token: str) -> None:
        try:
            self._launcher.prepare(run, task_run, token)
        except LaunchError as error:
            self._give_up(task_run["task_run_id"], str(error))
            return
        self._start(task_run["task_run_id"])

    def _give_up(self, task_run_id: int, why: str) -> None:
        """End a task that has no process and will not get one."""
        with self._state.writing() as db:
            end_task(db, task_run_id, "INTERNAL_ERROR", why)
            revoke_run_tokens(db, task_run_id)
            run = db.execute("SELECT run_id FROM task_runs WHERE task_run_id = ?", (task_run_id,)).fetchone()
            self._progress(db, run["run_id"])

    def _start(self, task_run_id: int) -> None:
        try:
            self._launcher.start(task_run_id)
        except RunnerError as error:
            log.warning("task run %s not started: %s", task_run_id, error)
            if error.reached:
                self._give_up(task_run_id, str(error))
            # Else the supervisor is starting the runner again; a later look finds the task without a process.
            self._runner_again_at = time.monotonic() + RUNNER_PAUSE_SECONDS

    def _start_again(self, task_run: sqlite3.Row) -> None:
        """Start a task that is marked RUNNING without a process: this program or the runner had ended."""
        if time.monotonic() < self._runner_again_at:
            return
        if self._launcher.is_prepared(task_run["task_run_id"]):
            self._start(task_run["task_run_id"])
            return
        with self._state.writing() as db:
            run = db.execute("SELECT * FROM runs WHERE run_id = ?", (task_run["run_id"],)).fetchone()
            token = mint_token(db, run["run_as"], task_run["task_run_id"])
        self._launch(run, task_run, token)

    def _cancel_ending(self) -> None:
        rows = self._state.reading.execute(
            "SELECT task_run_id FROM task_runs WHERE state = 'TERMINATING'"
        ).fetchall()
        for task_run_id in {row["task_run_id"] for row in rows} - self._cancelling:
            try:
                self._launcher.cancel(task_run_id)
                self._cancelling.add(task_run_id)
            except RunnerError as error:
                log.warning("task run %s not cancelled yet: %s", task_run_id, error)


def _task_state(row: sqlite3.Row) -> TaskState:
    fields: dict[str, Any] = {key: row[key] for key in TaskState.__dataclass_fields__}
    return TaskState(**fields)


def _promote(db: sqlite3.Connection) -> None:
    """Give free places to queued runs, the oldest first."""
    for job_id, free in db.execute(_WITH_FREE_PLACES).fetchall():
        db.execute(
            "UPDATE runs SET state = 'PENDING', message = '' WHERE run_id IN"
            " (SELECT run_id FROM runs WHERE job_id = ? AND state = 'QUEUED' ORDER BY seq LIMIT ?)",
            (job_id, free),
        )


# One look, by the index of active runs: thousands of jobs may have a queue while this is asked twenty times a
# second.
_WITH_FREE_PLACES = """
SELECT job_id, free FROM (
  SELECT queued.job_id, json_extract(jobs.settings, '$.max_concurrent_runs') - (
    SELECT count(*) FROM runs WHERE runs.job_id = queued.job_id AND runs.state <> 'TERMINATED'
      AND runs.state IN ('BLOCKED', 'PENDING', 'RUNNING', 'TERMINATING')
  ) AS free
  FROM (SELECT DISTINCT job_id FROM runs WHERE state = 'QUEUED') queued
  JOIN jobs ON jobs.job_id = queued.job_id
) WHERE free > 0
"""


def _time_out(db: sqlite3.Connection) -> set[int]:
    """Ask for the end of tasks and runs that have used up their time; returns the runs it touched."""
    touched = set()
    for run in db.execute("SELECT * FROM runs WHERE state = 'RUNNING'").fetchall():
        settings: Settings = json.loads(run["settings"])
        limits = {task["task_key"]: task["timeout_seconds"] for task in settings["tasks"]}
        if _is_over(run, settings["timeout_seconds"]):
            touched.add(run["run_id"])
            db.execute(
                "UPDATE runs SET state = 'TERMINATING', result = 'TIMEDOUT' WHERE run_id = ?",
                (run["run_id"],),
            )
            db.execute(
                "UPDATE task_runs SET state = 'TERMINATED', result = 'CANCELED', ended_at = ?"
                " WHERE run_id = ? AND state IN ('BLOCKED', 'PENDING')",
                (now_ms(), run["run_id"]),
            )
        for task_run in db.execute(
            "SELECT * FROM task_runs WHERE run_id = ? AND state = 'RUNNING'", (run["run_id"],)
        ).fetchall():
            if run["run_id"] in touched or _is_over(task_run, limits[task_run["task_key"]]):
                db.execute(
                    "UPDATE task_runs SET state = 'TERMINATING', result = 'TIMEDOUT' WHERE task_run_id = ?",
                    (task_run["task_run_id"],),
                )
    return touched


def _is_over(row: sqlite3.Row, seconds: int) -> bool:
    return seconds > 0 and row["started_at"] is not None and now_ms() > row["started_at"] + seconds * 1000
