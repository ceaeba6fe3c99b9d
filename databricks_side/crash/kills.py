"""SIGKILL, at random moments and at the points of a claim, to everything that may die."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
from demo.workspace import PRINCIPAL

from crash.stage import CrashStage
from crash.troubles import POINTS, Troubles
from local_workspace.faults import FaultState
from local_workspace.records import ProcessRecord
from local_workspace.supervisor import live_process

TASKS = ("arrived", "trigger")
ORPHANS_LIVE_SECONDS = 20.0


class Kills:
    """Kills one thing at a time. Each method says whether it found something to kill."""

    def __init__(self, stage: CrashStage, troubles: Troubles, chance: random.Random) -> None:
        self._stage = stage
        self._troubles = troubles
        self._random = chance
        self._orphans_since = 0.0
        self._points = list(POINTS)
        self._point: tuple[str, FaultState] | None = None
        self.counts: Counter[str] = Counter()
        self.kinds: dict[Callable[[], str], int] = {
            self.stream: 18,
            self.task: 24,
            self.at_a_point: 24,
            self.triggerer: 9,
            self.scheduler: 8,
            self.api: 12,
            self.engine: 5,
        }

    def one(self) -> str:
        """Kill something: what it was, or nothing when it was not there."""
        if self._orphans_since and time.monotonic() - self._orphans_since > ORPHANS_LIVE_SECONDS:
            self._stage.processes.kill_orphans()
            self._orphans_since = 0.0
        if what := self._who_is_held():
            self.counts["at a point"] += 1
            return what
        (kind,) = self._random.choices(list(self.kinds), list(self.kinds.values()))
        if what := kind():
            self.counts[kind.__name__] += 1
        return what

    @property
    def total(self) -> int:
        """How many there were."""
        return self.counts.total()

    def stream(self) -> str:
        """The process of the stream's run."""
        run = self._stage.patient(
            lambda: self._stage.workspace.client.jobs.get_run(self._stage.stream_run), "the stream is found"
        )
        task = (run.tasks or [])[-1].run_id
        record = ProcessRecord.read(self._stage.workspace.folder / "runs" / str(task) / "pid.json")
        process = record.process() if record else None
        if process is None:
            return ""
        process.kill()
        return f"the stream, process {process.pid}"

    def task(self) -> str:
        """A task of Airflow, of whatever it is doing."""
        found = self._running(TASKS)
        if found is None:
            return ""
        task, process = found
        process.kill()
        return f"the task {task['task_id']}, try {task['try_number']}, process {process.pid}"

    def _running(self, tasks: tuple[str, ...]) -> tuple[dict[str, Any], psutil.Process] | None:
        instances = [
            each
            for task in tasks
            for each in self._stage.patient(
                lambda task=task: self._stage.airflow.task_instances(task),  # type: ignore[misc]  # of a loop
                "Airflow tells its tasks",
            )
            if each["state"] == "running" and each["pid"]
        ]
        ours = {process.pid: process for process in self._stage.processes.tree()}
        living = [(each, ours[each["pid"]]) for each in instances if each["pid"] in ours]
        return self._random.choice(living) if living else None

    def at_a_point(self) -> str:
        """Set the next point of the claim; the operator that comes to it is killed there, later."""
        if self._point is None:
            name = self._points.pop(0)
            self._points.append(name)
            terms = {"kind": "delay", "principal": PRINCIPAL, **POINTS[name]}
            fault = self._stage.patient(lambda: self._stage.faults.add(**terms), "a point is set")
            self._point = (name, fault)
        return ""

    def _who_is_held(self) -> str:
        """Kill the operator whose call is held at the point that is set, if there is one."""
        if self._point is None:
            return ""
        name, fault = self._point
        there = self._stage.patient(self._stage.faults.all, "the faults are told")
        mine = next((each for each in there if each.fault_id == fault.fault_id), None)
        if mine is None:  # it has ended with the API process
            self._point = None
        if mine is None or not mine.held:
            return ""
        found = self._running(("trigger",))
        if found is not None:
            found[1].kill()
        if self._random.random() < 0.5:  # its late word comes after its successor's first
            time.sleep(self._random.uniform(2, 12))
        self._let_go(fault)
        self._point = None
        return f"the operator {name}, process {found[1].pid}" if found else ""

    def _let_go(self, fault: FaultState) -> None:
        self._troubles.hits += self._stage.patient(
            lambda: sum(
                self._stage.faults.delete(each).hits
                for each in self._stage.faults.all()
                if each.fault_id == fault.fault_id
            ),
            "a point is let go",
        )

    def triggerer(self) -> str:
        """The triggerer, with all that it started."""
        self._stage.airflow.kill("triggerer")
        return "the triggerer"

    def scheduler(self) -> str:
        """The scheduler: with its tasks, or alone, so that they live on beside their successors."""
        alone = self._random.random() < 0.5
        self._stage.airflow.kill("scheduler", alone=alone)
        if alone:
            self._orphans_since = time.monotonic()
        return "the scheduler, its tasks live on" if alone else "the scheduler with its tasks"

    def api(self) -> str:
        """The API of the workspace, in the middle of whatever is called."""
        self._troubles.clear()
        return self._of_workspace("api", "the workspace's API")

    def engine(self) -> str:
        """The Spark server, with all that runs on it."""
        return self._of_workspace("engine", "the Spark server")

    def _of_workspace(self, name: str, said: str) -> str:
        process = live_process(self._stage.workspace.folder, name)
        if process is None:
            return ""
        process.kill()
        return f"{said}, process {process.pid}"
