"""How far everything is: what the tables and the Jobs API say, told when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from databricks.sdk.service.jobs import BaseRun, RunResultState

from demo.processes import until
from demo.report import Outcome, Read
from demo.stage import CONSUMED_TABLE, LOG_TABLE, Stage

PAUSE_SECONDS = 2.0
PATIENCE_SECONDS = 900.0
CONSUMER = "default"


@dataclass(frozen=True, slots=True)
class Counts:
    """How far the arrivals, the claims and the runs are."""

    logged: int
    planned: int
    epoch: int
    claims: int
    accepted: int
    finished: int

    def __str__(self) -> str:
        return (
            f"{self.logged} files logged, {self.planned} requests planned, {self.accepted} runs accepted, "
            f"{self.finished} finished"
        )

    @property
    def claimed(self) -> bool:
        """Whether every claim that was won is finished, and there is one."""
        return self.epoch > 0 and self.claims == self.epoch

    def done(self, landed: int) -> bool:
        """Whether all that landed is logged, every claim is finished, and all runs have ended."""
        return self.logged >= landed and self.claimed and self.finished == self.accepted


class Watch:
    """Looks, says what has changed, and waits."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._said = ""

    def until_logged(self, landed: int) -> None:
        """Wait until the arrival log has so many files."""
        self._wait(lambda: self.look().logged >= landed, f"{landed} files are logged")

    def until_claimed(self) -> None:
        """Wait until every claim that was won is finished."""
        self._wait(lambda: self.look().claimed, "the claim is finished")

    def until_done(self, landed: int) -> None:
        """Wait until all that landed is claimed and every run has ended."""

        def done() -> bool:
            # A last look, because what was claimed since the first one waits no more, and has no run in it.
            return self.look().done(landed) and self._waiting() == 0 and self.look().done(landed)

        self._wait(done, "everything is read")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until(condition, what, self._stage.processes, seconds=PATIENCE_SECONDS, pause=PAUSE_SECONDS)

    def look(self) -> Counts:
        """The counts now, told when they have changed. Raises DemoError when the stream has ended."""
        self._stage.check_stream()
        sql, default = self._stage.workspace.sql, {"consumer": CONSUMER}
        # Three small scans: joins and distinct counts would cost the two cores more than a run does.
        logged = sql(f"SELECT count(*) AS files FROM {LOG_TABLE}_arrivals")
        epoch = sql(f"SELECT epoch FROM {LOG_TABLE}_consumers WHERE consumer = :consumer", default)
        log = sql(
            f"SELECT status, epoch, trigger_id FROM {LOG_TABLE} "
            "WHERE consumer = :consumer AND status IN ('PLANNED', 'CLAIMED')",
            default,
        )
        runs = self.runs()
        counts = Counts(
            logged=logged[0]["files"],
            planned=len({row["trigger_id"] for row in log if row["status"] == "PLANNED"}),
            epoch=epoch[0]["epoch"],
            claims=len({row["epoch"] for row in log if row["status"] == "CLAIMED"}),
            accepted=len(runs),
            finished=sum(1 for run in runs if run.end_time),
        )
        if str(counts) != self._said:
            self._said = str(counts)
            self._stage.screen.say(self._said)
        return counts

    def _waiting(self) -> int:
        """How many files are logged and not claimed, or held because a run for them is queued."""
        rows = self._stage.workspace.sql(
            f"SELECT sum(waiting_files) AS files FROM {LOG_TABLE}_lag WHERE consumer = :consumer UNION ALL "
            f"SELECT coalesce(sum(file_count), 0) AS files FROM {LOG_TABLE}_held WHERE consumer = :consumer",
            {"consumer": CONSUMER},
        )
        return sum(int(row["files"]) for row in rows)

    def runs(self) -> list[BaseRun]:
        """All runs of the workflows, the newest first."""
        every = self._stage.workspace.client.jobs.list_runs(limit=25)
        return [run for run in every if run.run_id != self._stage.stream_run]

    def outcomes(self) -> list[Outcome]:
        """The states of all requests, by status."""
        rows = self._stage.workspace.sql(
            "SELECT status, count(*) AS requests, sum(file_count) AS files "
            f"FROM {LOG_TABLE}_latest GROUP BY status"
        )
        return [Outcome(**row) for row in rows]

    def reads(self) -> list[Read]:
        """What the workflows have read."""
        rows = self._stage.workspace.sql(f"SELECT workflow, path, sha256 FROM {CONSUMED_TABLE}")
        return [Read(row["workflow"], self.relative(row["path"]), row["sha256"]) for row in rows]

    def relative(self, path: str) -> str:
        """A path of the arrival log relative to the landing folder."""
        return path.removeprefix("file:").removeprefix(f"{self._stage.landing}/")

    def ways(self) -> list[dict[str, Any]]:
        """For each file that was read: when it was logged, planned and read, and by which request."""
        rows = self._stage.workspace.sql(
            f"""SELECT c.workflow, c.path, c.read_at, c.trigger_id, a.logged_at, p.recorded_at AS planned_at
FROM {CONSUMED_TABLE} c JOIN {LOG_TABLE}_arrivals a ON a.path = c.path
JOIN {LOG_TABLE} p ON p.trigger_id = c.trigger_id AND p.status = 'PLANNED'"""
        )
        return [{**row, "path": row["path"].removeprefix("file:")} for row in rows]

    def failures(self, runs: Sequence[BaseRun]) -> list[str]:
        """How many of the runs have failed, with the error of one; nothing when none has."""
        failed = [run for run in runs if not _succeeded(run)]
        if not failed:
            return []
        client = self._stage.workspace.client
        task = (client.jobs.get_run(failed[0].run_id or 0).tasks or [])[0].run_id
        output = client.jobs.get_run_output(task) if task else None
        return [
            f"{len(failed)} runs have failed; one is run {failed[0].run_id} of {failed[0].run_name}: "
            f"{output.error if output else ''}\n{(output and output.error_trace) or ''}"
        ]


def _succeeded(run: BaseRun) -> bool:
    return run.state is not None and run.state.result_state is RunResultState.SUCCESS


def accepted_at(run: BaseRun) -> datetime:
    """When the Jobs API has accepted a run."""
    return datetime.fromtimestamp((run.start_time or 0) / 1000, timezone.utc)


def told(runs: Sequence[BaseRun]) -> dict[str, BaseRun]:
    """The runs by the trigger_id that they were told."""
    return {
        parameter.value: run
        for run in runs
        for parameter in run.job_parameters or []
        if parameter.name == "trigger_id" and parameter.value
    }


def doubled_runs(runs: Sequence[BaseRun]) -> list[str]:
    """What is wrong when there are more runs than requests that have one."""
    requests = len(told(runs))
    return [f"{len(runs)} runs for {requests} requests"] if len(runs) != requests else []
