"""The process of a task run: what it is told, whether it lives, how it ended."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_workspace.api.job_settings import Settings, wheels_of
from local_workspace.api.task_values import job_values, resolved, widgets
from local_workspace.records import ProcessRecord, read_json, write_json
from local_workspace.runner_client import cancel_run, start_run

TRUST_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


class LaunchError(Exception):
    """Raised when a task cannot be started whatever one waits for, such as a file that is not there."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a run's process left behind."""

    exit_code: int
    notebook_result: str | None
    error: str | None
    error_trace: str | None


class Launcher:
    """Starts, watches and ends the processes of task runs, through the runner and their folders."""

    def __init__(self, folder: Path, host: str, trusted: Path | None = None) -> None:
        self._state_folder = folder
        self.host = host
        # A workspace that speaks TLS is trusted by its own runs.
        self._trust = {} if trusted is None else {name: str(trusted) for name in TRUST_VARIABLES}

    def folder(self, task_run_id: int) -> Path:
        """Where the task run's files stand."""
        return self._state_folder / "runs" / str(task_run_id)

    def prepare(self, run: sqlite3.Row, task_run: sqlite3.Row, token: str) -> None:
        """Write what the process has to know; raises LaunchError if its files are not there."""
        settings: Settings = json.loads(run["settings"])
        task = next(task for task in settings["tasks"] if task["task_key"] == task_run["task_key"])
        parameters: dict[str, str] = json.loads(run["parameters"])
        values = {
            **job_values(run["job_id"], run["run_id"], settings["name"]),
            **{f"job.parameters.{name}": value for name, value in parameters.items()},
            "task.name": task_run["task_key"],
            "task.run_id": str(task_run["task_run_id"]),
            "task.execution_count": str(task_run["attempt"] + 1),
        }
        spec = {
            "task_run_id": task_run["task_run_id"],
            "run_id": run["run_id"],
            "job_id": run["job_id"],
            "job_name": settings["name"],
            "task_key": task_run["task_key"],
            **_work(task, values, parameters, json.loads(run["overrides"])),
            "libraries": [_existing(wheel, "Library") for wheel in wheels_of(settings, task)],
            "session_id": task_run["session_id"],
            "principal": run["run_as"],
            "host": self.host,
            "token": token,
            "env": {**self._trust, **_environment(settings, task)},
        }
        folder = self.folder(task_run["task_run_id"])
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(folder / "spec.json", spec, mode=0o600)

    def start(self, task_run_id: int) -> None:
        """Start the process; a second time for the same task run it is the same process."""
        start_run(self._state_folder, task_run_id)

    def cancel(self, task_run_id: int) -> None:
        """Ask the process to end; it is killed if it does not."""
        cancel_run(self._state_folder, task_run_id)

    def is_prepared(self, task_run_id: int) -> bool:
        """Whether all that the process has to know is written."""
        return (self.folder(task_run_id) / "spec.json").exists()

    def was_started(self, task_run_id: int) -> bool:
        """Whether the task run has had a process."""
        folder = self.folder(task_run_id)
        return (folder / "pid.json").exists() or (folder / "result.json").exists()

    def is_alive(self, task_run_id: int) -> bool:
        """Whether the task run's process lives."""
        record = ProcessRecord.read(self.folder(task_run_id) / "pid.json")
        return record is not None and record.alive()

    def is_released(self, task_run_id: int) -> bool:
        """Whether the runner has ended the task run's Spark session."""
        return (self.folder(task_run_id) / "released").exists()

    def result(self, task_run_id: int) -> TaskResult | None:
        """How the process ended by its own account; None if it died without one."""
        value: dict[str, Any] | None = read_json(self.folder(task_run_id) / "result.json")
        if value is None:
            return None
        return TaskResult(
            value["exit_code"], value.get("notebook_result"), value.get("error"), value.get("error_trace")
        )

    def log(self, task_run_id: int, most: int) -> tuple[str, bool]:
        """The last `most` bytes of what the run printed, and whether there was more."""
        try:
            with (self.folder(task_run_id) / "log.txt").open("rb") as log:
                size = log.seek(0, 2)
                log.seek(max(0, size - most))
                return log.read(most).decode(errors="replace"), size > most
        except FileNotFoundError:
            return "", False


def _work(
    task: Settings, values: dict[str, str], parameters: dict[str, str], overrides: dict[str, Any]
) -> dict[str, Any]:
    """Kind, file, arguments and widgets of the task."""
    if "notebook_task" in task:
        notebook = task["notebook_task"]
        base = {**notebook.get("base_parameters", {}), **overrides.get("notebook_params", {})}
        named = {name: resolved(value, values) for name, value in base.items()}
        return {
            "kind": "notebook_task",
            "file": _existing(notebook["notebook_path"], "Notebook", also=".py"),
            "argv": [],
            "widgets": widgets(named, parameters),
        }
    script = task["spark_python_task"]
    argv = overrides.get("python_params", script.get("parameters", []))
    return {
        "kind": "spark_python_task",
        "file": _existing(script["python_file"], "Python file"),
        "argv": [resolved(value, values) for value in argv],
        "widgets": {},
    }


def _existing(path: str, what: str, also: str = "") -> str:
    """The absolute path of a file of this machine, without the prefixes that Databricks writes."""
    bare = path
    for prefix in ("file:", "dbfs:"):
        bare = bare.removeprefix(prefix)
    if bare.startswith("//"):
        bare = "/" + bare.lstrip("/")
    for candidate in dict.fromkeys((bare, bare + also)):
        if candidate.startswith("/") and Path(candidate).is_file():
            return candidate
    raise LaunchError(
        f"{what} {path!r} is not there. Paths of this machine are absolute and name an existing file."
    )


def _environment(settings: Settings, task: Settings) -> dict[str, str]:
    """The environment variables that the task's cluster would have."""
    clusters = {
        cluster.get("job_cluster_key"): cluster.get("new_cluster")
        for cluster in settings.get("job_clusters", [])
    }
    cluster = task.get("new_cluster") or clusters.get(task.get("job_cluster_key")) or {}
    return {str(name): str(value) for name, value in (cluster.get("spark_env_vars") or {}).items()}
