"""Operators as plain processes, without a scheduler: forked in a moment from one that has imported Airflow.

Run as a script it is that process: it reads one task from each line, forks, and prints the child's id.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil


@dataclass(frozen=True)
class Task:
    """A task that runs in a process of its own, and the file that tells how it ended."""

    pid: int
    result: Path

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. It has to be running still."""
        os.kill(self.pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(self.pid)] if psutil.pid_exists(self.pid) else [], timeout=30)
        assert not self.result.exists(), f"it had ended: {self.result.read_text()}"

    def returned(self, seconds: float = 120) -> Any:
        """What the task has returned. Fails when it raised, or was killed."""
        ended = self.ended(seconds)
        assert "returned" in ended, ended
        return ended["returned"]

    def ended(self, seconds: float = 120) -> dict[str, Any]:
        """How the task has ended: {"returned": value} or {"raised": "Class: message"}."""
        if psutil.pid_exists(self.pid):
            _, left = psutil.wait_procs([psutil.Process(self.pid)], timeout=seconds)
            assert not left, f"it has not ended within {seconds:.0f} s"
        found: dict[str, Any] = json.loads(self.result.read_text())
        return found


class TaskProcesses:
    """Starts tasks."""

    def __init__(self, mother: subprocess.Popen[str], folder: Path) -> None:
        self._mother = mother
        self._folder = folder
        self._count = 0

    def start(self, kind: str, *, try_number: int = 1, dag_run: str = "r", **arguments: Any) -> Task:
        """Start `operator` or `sensor` with its arguments, as a try of a DAG run."""
        self._count += 1
        result = self._folder / f"{self._count}.json"
        asked = {"kind": kind, "result": str(result), "try_number": try_number, "dag_run": dag_run}
        assert self._mother.stdin and self._mother.stdout
        self._mother.stdin.write(json.dumps({**asked, "arguments": arguments}) + "\n")
        self._mother.stdin.flush()
        return Task(int(self._mother.stdout.readline()), result)


@contextmanager
def task_processes() -> Iterator[TaskProcesses]:
    """The process that has imported Airflow, for as long as the block; its connections are those of here."""
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "wb") as log:
        command = [sys.executable, "-P", __file__]  # not tests/ before the packages that it tests
        mother = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            yield TaskProcesses(mother, Path(folder))
        finally:
            assert mother.stdin
            mother.stdin.close()
            mother.wait(30)


def _execute(asked: dict[str, Any]) -> Any:
    from airflow.exceptions import TaskDeferred

    from databricks_file_arrivals.operators import TriggerWorkflowsOperator
    from databricks_file_arrivals.sensors import FileArrivalSensor

    task = SimpleNamespace(
        dag_id="by hand",
        run_id=asked["dag_run"],
        task_id="trigger",
        try_number=asked["try_number"],
        max_tries=asked["arguments"].get("retries", 3),
        xcom_push=lambda **_: None,
    )
    context: Any = {"ti": task}
    if asked["kind"] == "operator":
        return TriggerWorkflowsOperator(task_id="trigger", **asked["arguments"]).execute(context)
    try:
        FileArrivalSensor(task_id="arrived", **asked["arguments"]).execute(context)
    except TaskDeferred:
        return "deferred"
    return "due"


def _run(asked: dict[str, Any]) -> None:
    """In the child: do the task, write how it ended, and end."""
    try:
        ended = {"returned": _execute(asked)}
    except BaseException as error:
        ended = {"raised": f"{type(error).__name__}: {error}"}
    draft = Path(asked["result"]).with_suffix(".draft")
    draft.write_text(json.dumps(ended))
    draft.replace(asked["result"])


def main() -> None:
    """Fork a process for each line."""
    import databricks_file_arrivals.operators
    import databricks_file_arrivals.sensors  # noqa: F401  (what the children need)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave no zombies
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run(json.loads(line))
            finally:
                os._exit(0)
        answers.write(f"{pid}\n")
        answers.flush()


if __name__ == "__main__":
    main()
