"""When nothing is killed any more: wait until nothing is waiting."""

from __future__ import annotations

from dataclasses import dataclass

from demo.processes import DemoError, until
from demo.stage import LOG_TABLE
from demo.watch import CONSUMER

from crash.stage import CrashStage

PATIENCE_SECONDS = 1500.0
PAUSE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is still to be done."""

    unlogged: int
    unclaimed: int
    unfinished: bool
    requests: int
    runs: int

    @property
    def nothing(self) -> bool:
        """Whether all is done."""
        return not any((self.unlogged > 0, self.unclaimed, self.unfinished, self.requests, self.runs))

    def __str__(self) -> str:
        return (
            f"waiting: {self.unlogged} files to be logged, {self.unclaimed} to be claimed, "
            f"{self.requests} requests to be started, {self.runs} runs to end"
        )


def look(stage: CrashStage, landed: int) -> Waiting:
    """What is waiting now."""
    sql, mine = stage.workspace.sql, {"consumer": CONSUMER}
    logged = sql(f"SELECT count(*) AS files FROM {LOG_TABLE}_arrivals")[0]["files"]
    lag = sql(f"SELECT sum(waiting_files) AS files FROM {LOG_TABLE}_lag WHERE consumer = :consumer", mine)
    closed = sql(
        f"SELECT c.epoch, count(l.epoch) AS closed FROM {LOG_TABLE}_consumers c LEFT JOIN {LOG_TABLE} l "
        "ON l.consumer = c.consumer AND l.claim_id = c.claim_id AND l.status = 'CLAIMED' "
        "WHERE c.consumer = :consumer GROUP BY c.epoch",
        mine,
    )[0]
    open_requests = sql(
        f"SELECT count(*) AS requests FROM {LOG_TABLE}_latest "
        "WHERE consumer = :consumer AND status IN ('PLANNED', 'ERROR', 'HELD')",
        mine,
    )[0]["requests"]
    return Waiting(
        unlogged=landed - logged,
        unclaimed=int(lag[0]["files"] or 0),
        unfinished=closed["epoch"] > 0 and not closed["closed"],
        requests=open_requests,
        runs=_active_runs(stage),
    )


def _active_runs(stage: CrashStage) -> int:
    active = stage.workspace.client.jobs.list_runs(active_only=True, limit=25)
    return sum(1 for run in active if run.job_id in stage.jobs)


def settle(stage: CrashStage, landed: int) -> None:
    """Return when nothing is waiting, or when that takes too long; say what is, when it changes."""
    said = ""

    def nothing() -> bool:
        nonlocal said
        waiting = stage.patient(lambda: look(stage, landed), "the tables can be asked")
        if str(waiting) != said:
            said = str(waiting)
            stage.screen.say(said)
        return waiting.nothing

    try:
        until(nothing, "nothing is waiting", stage.processes, seconds=PATIENCE_SECONDS, pause=PAUSE_SECONDS)
    except DemoError as error:
        stage.screen.say(f"it does not settle: {error}")


def started_runs(stage: CrashStage) -> int:
    """How many runs of the workflows the Jobs API has."""
    return sum(1 for job in stage.jobs for _ in stage.workspace.client.jobs.list_runs(job_id=job, limit=25))
