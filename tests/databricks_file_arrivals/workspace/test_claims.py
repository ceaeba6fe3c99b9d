"""The claim protocol on real Delta and a real Jobs API: whoever dies, each request is started once."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed
from databricks.sdk.service.jobs import JobSettings, SparkPythonTask, Task

from databricks_file_arrivals.core.errors import (
    ClaimContended,
    FileArrivalsError,
    LedgerError,
    StatementFailed,
    WorkspaceUnavailable,
)
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.planning import Job
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog, Batch
from databricks_file_arrivals.workspace.awaiting import AwaitedRequests
from databricks_file_arrivals.workspace.claims import Claimer, Options, capped
from databricks_file_arrivals.workspace.jobs import JobsApi
from databricks_file_arrivals.workspace.ledger import Ledger
from databricks_file_arrivals.workspace.starts import Report
from local_workspace.api.run_store import end_run
from local_workspace.state import State
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log

FILES = {"/in/a": 2, "/in/a/deep er/'q\"": 1, "/in/b": 1}
REQUESTS: dict[tuple[str, str | None], str] = {
    ("/in/a", "alpha"): "TRIGGERED",
    ("/in/a", "beta"): "TRIGGERED",
    ("/in/b", "beta"): "TRIGGERED",
}


class Died(BaseException):
    """What a killed process would be: nothing catches it."""


@dataclass
class Sql:
    """The hook, failing once at a statement that begins so: before it has its effect or after."""

    hook: FileArrivalsHook
    at: str = ""
    after: bool = False
    raises: FileArrivalsError | None = None

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        failure = None
        if statement.startswith(self.at):
            failure, self.raises = self.raises, None
        if failure is not None and not self.after:
            raise failure
        rows = self.hook.query(statement, parameters)
        if failure is not None:
            raise failure
        return rows


class Starter(JobsApi):
    """The real Jobs API, counting, and dying or failing after so many starts."""

    def __init__(
        self, hook: FileArrivalsHook, dies_after: int | None = None, fails: frozenset[str] = frozenset()
    ):
        super().__init__(hook, connections=1)
        self.started: Counter[str] = Counter()
        self.dies_after = dies_after
        self.fails = fails
        self._lock = Lock()

    def start(self, rows: Sequence[LogRow]) -> Sequence[int | FileArrivalsError]:
        return [self._one(row) for row in rows]

    def _one(self, row: LogRow) -> int | FileArrivalsError:
        if row.workflow_name in self.fails:
            return WorkspaceUnavailable("no answer")
        (run,) = super().start([row])
        if not isinstance(run, FileArrivalsError):
            with self._lock:
                self.started[str(row.trigger_id)] += 1
                if self.dies_after is not None and len(self.started) > self.dies_after:
                    raise Died
        return run

    def jobs_named(self, names: Iterable[str]) -> Mapping[str, Sequence[Job]]:
        return super().jobs_named(names)


@pytest.fixture(scope="module")
def mapped(new_log: Callable[[], Log], jobs: dict[str, int]) -> Log:
    """A log whose mapping has fan-out, an inactive row, workflows that cannot be started, and bad rows."""
    log = new_log()
    log.map(
        ("/in/a", "alpha", "Y"),
        ("/in/a/", "beta", "Y"),
        ("b", "beta", "Y"),
        ("/in/off", "alpha", "N"),
        ("/in/missing", "no such job", "Y"),
        ("/in/twin", "twin", "Y"),
        ("/in/locked", "locked", "Y"),
        ("/in/hidden", "hidden", "Y"),
    )
    return log


def claim(
    log: Log, consumer: str, sql: Sql | None = None, starter: Starter | None = None, **options: Any
) -> Report:
    """One operator's pass."""
    return passing(log, consumer, Ledger(sql or Sql(log.hook), log.names), starter, **options)


def passing(
    log: Log, consumer: str, ledger: Ledger, starter: Starter | None = None, **options: Any
) -> Report:
    """One operator's pass over a ledger that may be a special one."""
    given = Options(consumer, str(log.names.log), **options)
    return Claimer(ledger, ArrivalLog(log.hook, log.names), starter or Starter(log.hook), given).run()


def outcomes(log: Log, consumer: str) -> dict[tuple[str, str | None], str]:
    """The state of each request; whether a run has ended already, when it is looked at, chance decides."""
    return {key: status.replace("SUCCEEDED", "TRIGGERED") for key, status in log.outcomes(consumer).items()}


def runs_of(admin: WorkspaceClient, jobs: dict[str, int], log: Log, consumer: str) -> Counter[str]:
    """How many runs the workspace has for each trigger_id of a consumer."""
    wanted: set[str] = {
        r["trigger_id"]
        for r in log.hook.query(
            f"SELECT trigger_id FROM {log.names.log.sql} WHERE consumer = :c AND trigger_id IS NOT NULL",
            {"c": consumer},
        )
    }
    found: Counter[str] = Counter()
    for name in ("alpha", "beta"):
        for run in admin.jobs.list_runs(job_id=jobs[name]):
            told = next((p.value for p in run.job_parameters or () if p.name == "trigger_id"), None)
            if told in wanted:
                found[str(told)] += 1
    return found


def test_every_kind_of_outcome_stands_in_the_log(
    mapped: Log, admin: WorkspaceClient, jobs: dict[str, int]
) -> None:
    consumer = mapped.consumer()
    elsewhere = {
        "/in/off/x": 1,
        "/in/missing": 1,
        "/in/twin": 1,
        "/in/locked": 1,
        "/in/hidden": 1,
        "/in/z/y": 3,
    }
    mapped.land({**FILES, **elsewhere})
    report = claim(mapped, consumer)
    expected: dict[tuple[str, str | None], str] = {
        **REQUESTS,
        ("/in/off", None): "INACTIVE",
        ("/in/missing", "no such job"): "NO_SUCH_WORKFLOW",
        ("/in/twin", "twin"): "NO_SUCH_WORKFLOW",
        ("/in/hidden", "hidden"): "NO_SUCH_WORKFLOW",
        ("/in/locked", "locked"): "ERROR",
        ("/in/z", None): "UNMAPPED",
    }
    assert outcomes(mapped, consumer) == expected
    assert len(report.outcomes) == len(expected)
    assert {(r.directory, r.workflow_name): r.status.value for r in report.outcomes} == expected
    assert len(report.refused) == 1 and "PERMISSION_DENIED" in report.refused[0]
    assert set(runs_of(admin, jobs, mapped, consumer).values()) == {1}
    again = claim(mapped, consumer)
    assert set(again.counts) <= {"SUCCEEDED"} and again.epoch is None


def test_a_claim_that_died_between_two_starts_is_finished_with_the_same_tokens(
    mapped: Log, admin: WorkspaceClient, jobs: dict[str, int]
) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)
    with pytest.raises(Died):
        claim(mapped, consumer, starter=Starter(mapped.hook, dies_after=1))
    mapped.map(("/in/b", "alpha", "Y"))  # the plan is stored: a rule that came later changes nothing of it
    try:
        claim(mapped, consumer)
    finally:
        mapped.hook.query(
            f"DELETE FROM {mapped.names.mapping.sql} WHERE directory = '/in/b' AND workflow_name = 'alpha'"
        )
    assert outcomes(mapped, consumer) == REQUESTS
    assert sorted(runs_of(admin, jobs, mapped, consumer).values()) == [1, 1, 1]


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, answer lost"])
def test_a_failed_compare_and_swap_is_decided_by_the_row(after: bool, mapped: Log) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)
    lost = Sql(mapped.hook, "UPDATE", after, StatementFailed("FAILED", "", "no answer", retryable=True))
    report = claim(mapped, consumer, lost)
    assert report.counts["TRIGGERED"] == 3
    row = mapped.ledger.consumer(consumer)
    assert row is not None and row.epoch == report.epoch


def test_a_compare_and_swap_that_is_not_allowed_says_so_and_starts_nothing(mapped: Log) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)
    refused = Sql(
        mapped.hook, "UPDATE", False, StatementFailed("FAILED", "INSUFFICIENT_PERMISSIONS", "no MODIFY")
    )
    starter = Starter(mapped.hook)
    with pytest.raises(StatementFailed, match="no MODIFY"):
        claim(mapped, consumer, refused, starter)
    assert not starter.started


def test_who_loses_the_epoch_starts_nothing_of_its_plan(
    mapped: Log, admin: WorkspaceClient, jobs: dict[str, int]
) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)

    class Overtaken(Ledger):
        overtaken = False

        def swap(self, row: Any, claim_id: str, cursor: Mapping[str, int]) -> bool:
            if not self.overtaken:
                self.overtaken = True
                claim(mapped, consumer)
            return super().swap(row, claim_id, cursor)

    starter = Starter(mapped.hook)
    report = passing(mapped, consumer, Overtaken(mapped.hook, mapped.names), starter)
    assert report.epoch is None and not starter.started
    assert outcomes(mapped, consumer) == REQUESTS
    assert sorted(runs_of(admin, jobs, mapped, consumer).values()) == [1, 1, 1]


def test_who_loses_every_time_says_so(mapped: Log) -> None:
    consumer = mapped.consumer()

    class AlwaysOvertaken(Ledger):
        def swap(self, row: Any, claim_id: str, cursor: Mapping[str, int]) -> bool:
            mapped.hook.query(
                f"UPDATE {mapped.names.consumers.sql} SET epoch = epoch + 1 WHERE consumer = :c",
                {"c": consumer},
            )
            return False

    mapped.land({"/in/z": 1})
    with pytest.raises(ClaimContended, match="consumer of its own"):
        passing(mapped, consumer, AlwaysOvertaken(mapped.hook, mapped.names))


def test_a_start_that_may_pass_leaves_the_claim_to_the_next_try(
    mapped: Log, admin: WorkspaceClient, jobs: dict[str, int]
) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)
    failing = Starter(mapped.hook, fails=frozenset(["alpha"]))
    with pytest.raises(WorkspaceUnavailable):
        claim(mapped, consumer, starter=failing, last_try=False)
    assert len(failing.started) == 2, "the others are started all the same"
    claim(mapped, consumer)
    assert outcomes(mapped, consumer) == REQUESTS
    assert sorted(runs_of(admin, jobs, mapped, consumer).values()) == [1, 1, 1]


def test_an_error_is_recorded_on_the_last_try_and_tried_again_later(mapped: Log) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)
    report = claim(mapped, consumer, starter=Starter(mapped.hook, fails=frozenset(["alpha"])), last_try=True)
    assert len(report.unavailable) == 1 and report.counts["ERROR"] == 1
    row = mapped.ledger.consumer(consumer)
    assert row is not None and row.next_due is not None and not row.overdue
    assert not claim(mapped, consumer).counts["TRIGGERED"], "its pause is not over"
    mapped.hook.query(
        f"UPDATE {mapped.names.log.sql} SET recorded_at = recorded_at - INTERVAL 2 MINUTES "
        "WHERE consumer = :c",
        {"c": consumer},
    )
    assert claim(mapped, consumer).counts["TRIGGERED"] == 1
    assert outcomes(mapped, consumer) == REQUESTS


def test_a_claim_is_capped_by_whole_batches_and_the_rest_goes_next(mapped: Log) -> None:
    consumer = mapped.consumer()
    stream = mapped.land({"/in/a": 1, "/in/b": 1})
    mapped.land({"/in/a": 2}, stream)
    assert (
        claim(mapped, consumer, max_directories=2).files == 3
    )  # one of /in/a for alpha and for beta, one of /in/b
    assert claim(mapped, consumer, max_directories=2).files == 4
    assert claim(mapped, consumer, max_directories=2).epoch is None


def test_capped_takes_at_least_one_batch_and_never_skips_one() -> None:
    batches = [Batch("s", 0, 50), Batch("s", 1, 1), Batch("t", 4, 1), Batch("t", 5, 100), Batch("t", 6, 1)]
    assert capped(batches, 10) == {"s": 0}
    assert capped(batches, 51) == {"s": 0, "t": 4}, "in turn: no stream waits for another"
    assert capped(batches, 52) == {"s": 1, "t": 4}
    assert capped(batches, 1000) == {"s": 1, "t": 6}


def test_a_plan_that_is_not_read_back_whole_starts_nothing(mapped: Log) -> None:
    consumer = mapped.consumer()
    mapped.land(FILES)

    class Forgetful(Ledger):
        def append(self, rows: Iterable[LogRow]) -> None:
            super().append([r for r in rows if r.directory != "/in/b"])

    starter = Starter(mapped.hook)
    with pytest.raises(LedgerError, match="not all there"):
        passing(mapped, consumer, Forgetful(mapped.hook, mapped.names), starter)
    assert not starter.started


def test_a_consumer_made_later_starts_where_it_is_told(mapped: Log) -> None:
    stream = mapped.land({"/in/z": 1})
    latest, earliest, cursor = ("made-latest", "made-earliest", "made-at-a-cursor")
    assert claim(mapped, latest).epoch is None
    assert claim(mapped, earliest, start_from="earliest").files >= 1
    row = mapped.ledger.consumer(latest)
    assert row is not None
    before = {**row.cursor, stream: row.cursor[stream] - 1}
    assert claim(mapped, cursor, start_from=before).files == 1


def test_holds_grow_and_go_and_silence_is_told(new_log: Callable[[], Log], jobs: dict[str, int]) -> None:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), file_pattern="*.csv", min_files=3, completion_marker="DONE")
    log.map(("/in/silent", "alpha", "Y"), expect_every_seconds=1)
    stream = log.land({"/in/a": 1, "/in/a/x": 1})
    first = claim(log, "default")
    assert [(r.directory, r.file_count) for r in first.holds] == [("/in/a", 2)]
    log.land({"/in/z": 1}, stream)  # a batch between
    time.sleep(1.1)
    second = claim(log, "default")
    assert (first.counts + second.counts)["OVERDUE"] == 1, "told once"
    assert second.holds == log.ledger.holds(log.ledger.consumer("default"))  # type: ignore[arg-type]  # it is there
    log.land_files({"/in/a": ["2.csv", "DONE", "other.txt"]}, stream)
    report = claim(log, "default")
    assert (report.counts["TRIGGERED"], report.counts["OVERDUE"]) == (1, 0)
    assert report.counts["UNMAPPED"] == 1, "other.txt: no pattern picks it"
    assert not report.holds
    (held, row) = log.hook.query(
        f"SELECT status, directories, file_count, waits_for, completion_marker FROM {log.names.log.sql} "
        "WHERE status IN ('HELD', 'PLANNED') ORDER BY epoch"
    )
    assert (held["status"], held["waits_for"]) == ("HELD", ["min_files", "completion_marker"])
    assert (row["status"], row["file_count"], row["completion_marker"]) == ("PLANNED", 3, "DONE")
    ranges = {d: (int(r["after"]), int(r["up_to"])) for d, r in row["directories"].items()}
    assert ranges == {"/in/a": (-1, 2), "/in/a/x": (-1, 0)}
    now = log.ledger.consumer("default")
    assert now is not None and log.ledger.holds(now) == []


def test_nobody_is_called_silent_while_arrivals_are_not_read(
    new_log: Callable[[], Log], jobs: dict[str, int]
) -> None:
    log = new_log()
    log.map(("/in/regular", "alpha", "Y"), expect_every_seconds=3600)

    def overdue(**options: Any) -> int:
        """How many a claim tells of, two hours after what it knows."""
        log.hook.query(f"UPDATE {log.names.log.sql} SET last_arrival_at = last_arrival_at - INTERVAL 2 HOURS")
        return claim(log, "default", **options).counts["OVERDUE"]

    log.hook.query(f"UPDATE {log.names.mapping.sql} SET last_updated_ts = last_updated_ts - INTERVAL 9 HOURS")
    stream = log.land({"/in/regular": 1})
    claim(log, "default")
    log.land({"/in/a": 1}, stream)
    log.land({"/in/regular": 1}, stream)
    assert overdue(max_directories=1) == 0, "its files are in the next batch"
    assert overdue(max_directories=1) == 0
    log.land({"/in/a": 1}, stream)
    assert overdue() == 1


def test_a_hold_is_looked_at_when_somebody_is_to_be_told_of_it(
    new_log: Callable[[], Log], jobs: dict[str, int]
) -> None:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), min_files=3)
    log.land({"/in/a": 1})
    told_at = datetime(2100, 1, 1, tzinfo=timezone.utc)
    asked: list[tuple[str | None, datetime]] = []

    def tell(holds: Sequence[LogRow], now: datetime) -> datetime:
        asked.extend((hold.directory, now) for hold in holds)
        return told_at

    before = claim(log, "default").now
    row = log.ledger.consumer("default")
    assert row is not None and row.next_due is not None and row.next_due < told_at, "max_wait_seconds"
    assert row.updated_at == before, "whoever looks next knows what was told of by then"
    told_at = row.next_due - timedelta(hours=1)
    log.land({"/in/z": 1})
    report = claim(log, "default", tell_of_holds=tell)
    assert asked == [("/in/a", report.now)] and report.looked == before
    row = log.ledger.consumer("default")
    assert row is not None and row.next_due == told_at


@pytest.mark.parametrize("given_up", [False, True])
def test_a_later_attempt_that_a_waiting_task_left_is_seen_though_the_consumer_went_on(
    new_log: Callable[[], Log], new_job: Callable[..., int], admin: WorkspaceClient, given_up: bool
) -> None:
    log, name = new_log(), f"fails-{uuid.uuid4().hex[:8]}"
    job = new_job(name, source="raise SystemExit(3)")
    log.map(("/in/a", name, "Y"))
    stream = log.land({"/in/a": 1})
    task = {"dag_id": "d", "dag_run_id": "r", "task_id": "t"}

    def awaited(starter: Starter) -> AwaitedRequests:
        options = Options("default", str(log.names.log), stamp={**task, "try_number": 2})
        found = log.ledger.of_task("default", task, datetime(2026, 1, 1, tzinfo=timezone.utc))
        return AwaitedRequests(log.ledger, starter, options, found)

    claim(log, "default", stamp={**task, "try_number": 1})
    (run,) = admin.jobs.list_runs(job_id=job)
    with pytest.raises(OperationFailed):
        admin.jobs.wait_get_run_job_terminated_or_skipped(run.run_id or 0)
    assert len(awaited(Starter(log.hook)).look(over=True).unsuccessful) == 1
    log.land({"/in/z": 1}, stream)
    claim(log, "default")
    row = log.ledger.consumer("default")
    assert row is not None and row.open_from == row.epoch == 2 and row.next_due is None

    standing = awaited(Starter(log.hook, fails=frozenset([name]))).run_again()
    assert [(r.attempt, r.status.value) for r in standing.rows] == [(2, "ERROR")]
    row = log.ledger.consumer("default")
    assert row is not None and row.next_due is not None, "an operator is to look in a minute"
    pass_by(log, 2)
    if given_up:
        still = Starter(log.hook, fails=frozenset([name]))
        begun = claim(log, "default", starter=still, give_up_after=timedelta(minutes=2)).now
        pass_by(log, 30, begun)
        pass_by(log, 2)
        log.land({"/in/z": 1}, stream)
        report = claim(log, "default", give_up_after=timedelta(minutes=2))
        assert (report.counts["TRIGGERED"], report.counts["ERROR"]) == (0, 0), "an old failure counts"
        return
    assert claim(log, "default").counts["TRIGGERED"] == 1
    assert len(list(admin.jobs.list_runs(job_id=job))) == 2
    row = log.ledger.consumer("default")
    assert row is not None and row.open_from == 1, "until it is known to be executed"


def pass_by(log: Log, minutes: int, before: datetime | None = None) -> None:
    """Let so many minutes have passed since later attempts were recorded, those before some time only."""
    log.hook.query(
        f"UPDATE {log.names.log.sql} SET recorded_at = recorded_at - make_interval(0, 0, 0, 0, 0, :minutes) "
        "WHERE attempt = 2 AND recorded_at < coalesce(CAST(:before AS TIMESTAMP), current_timestamp())",
        {"minutes": minutes, "before": before.isoformat() if before else None},
    )


def test_a_run_that_was_accepted_and_never_ran_is_followed_by_a_new_attempt(
    new_log: Callable[[], Log],
    new_job: Callable[..., int],
    admin: WorkspaceClient,
    databricks: RunningWorkspace,
) -> None:
    """The runs of a busy job wait in its queue, until one is dropped from it, and one cancelled."""
    log, name = new_log(), f"busy-{uuid.uuid4().hex[:8]}"
    job = new_job(name)
    script = str(Path(__file__).with_name("busy.py"))
    tasks = [Task(task_key="t", spark_python_task=SparkPythonTask(script))]
    admin.jobs.update(job, new_settings=JobSettings(max_concurrent_runs=1, tasks=tasks))
    log.map(("/in/a", name, "Y"))
    log.map(("/in/b", name, "Y"), when_queued="skip")
    log.map(("/in/c", name, "Y"), min_interval_seconds=3600)
    admin.jobs.run_now(job)
    stream = log.land({"/in/a": 1, "/in/b": 1, "/in/c": 1})
    assert claim(log, "default").counts["TRIGGERED"] == 3
    log.land({"/in/a": 1, "/in/b": 1, "/in/c": 1}, stream)
    second = claim(log, "default")
    assert (second.counts["HELD"], second.counts["COALESCED"]) == (2, 1)
    table = log.names.log.sql
    queued = log.hook.query(f"SELECT directory, started_run_id AS id FROM {table} WHERE status = 'TRIGGERED'")
    ids = {row["directory"]: row["id"] for row in queued}
    admin.jobs.cancel_run_and_wait(ids["/in/a"])
    with State(databricks.folder).writing() as db:  # what Databricks does by itself
        end_run(db, ids["/in/c"], "MAX_CONCURRENT", "dropped from the queue")
    third = claim(log, "default")
    assert (third.counts["FAILED"], third.counts["NOT_RUN"]) == (1, 1)
    assert third.counts["TRIGGERED"] == 1, "/in/a was held by its queued run"
    log.hook.query(f"UPDATE {table} SET recorded_at = recorded_at - INTERVAL 2 MINUTES")
    assert claim(log, "default").counts["TRIGGERED"] == 1, "what somebody cancelled stays so"
    attempts = log.hook.query(
        f"SELECT directory, trigger_id, job_parameters FROM {table} WHERE attempt = 2 AND status = 'PLANNED'"
    )
    assert [row["directory"] for row in attempts] == ["/in/c"]
    assert all(row["job_parameters"]["trigger_id"] == row["trigger_id"] for row in attempts)
    admin.jobs.cancel_all_runs(job_id=job)
