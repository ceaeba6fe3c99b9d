"""The operator's process, killed in the middle of a claim: won, runs starting, nothing recorded yet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from demo.airflow import Airflow
from demo.processes import DemoError, until
from demo.stage import LOG_TABLE, Stage

TASK = "trigger"


@dataclass(frozen=True, slots=True)
class Kill:
    """Which process of which try was killed."""

    pid: int
    try_number: int
    dag_run_id: str


def kill_operator(stage: Stage) -> Kill:
    """Wait for the operator, and kill its process as soon as the first run of its claim is there."""
    victim = until(
        lambda: _running(stage.airflow), "the operator runs", stage.processes, seconds=120, pause=0.2
    )
    process = psutil.Process(victim.pid)
    if process not in stage.processes.tree():
        raise DemoError(f"Process {victim.pid} runs the operator, but is none that the demo has started.")
    stage.screen.say(f"the operator runs: process {victim.pid}, try {victim.try_number}")
    until(lambda: _first_run(stage), "the first run is there", stage.processes, seconds=120, pause=0.02)
    process.kill()
    stage.screen.say(f"killed the operator: SIGKILL to {victim.pid}, as its first run was there")
    return victim


def _running(airflow: Airflow) -> Kill | None:
    for task in airflow.task_instances(TASK):
        if task["state"] == "running" and task["pid"]:
            return Kill(task["pid"], task["try_number"], task["dag_run_id"])
    return None


def _first_run(stage: Stage) -> bool:
    newest = itertools.islice(stage.workspace.client.jobs.list_runs(limit=2), 2)
    return any(run.run_id != stage.stream_run for run in newest)


def check_kill(stage: Stage, kill: Kill) -> str:
    """What the log says of the kill: it was in the middle of a claim. Raises DemoError when it was not."""
    rows = stage.workspace.sql(
        f"""SELECT count_if(status = 'PLANNED') AS planned,
  count_if(status = 'PLANNED' AND try_number = :killed) AS planned_by_it,
  count_if(status IN ('TRIGGERED', 'ERROR') AND try_number = :killed) AS recorded_by_it,
  min(CASE WHEN status = 'CLAIMED' THEN try_number END) AS finished_by
FROM {LOG_TABLE} WHERE epoch = 1 AND dag_run_id = :dag_run""",
        {"killed": kill.try_number, "dag_run": kill.dag_run_id},
    )
    return judged(rows[0], kill)


def judged(row: Mapping[str, Any], kill: Kill) -> str:
    """The claim in words, by the counts of its rows. Raises DemoError when the kill was not in its middle."""
    planned = row["planned"] > 0 and row["planned"] == row["planned_by_it"]
    if not planned or row["recorded_by_it"] or (row["finished_by"] or 0) <= kill.try_number:
        raise DemoError(f"The kill was not in the middle of the claim: {dict(row)}")
    return (
        f"it was in the middle of the claim: try {kill.try_number} had won it with {row['planned']} requests "
        f"and recorded no outcome; try {row['finished_by']} has finished it"
    )
