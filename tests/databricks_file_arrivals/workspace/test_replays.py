"""Replays on real Delta and a real Jobs API: each outcome once, its own files, whoever dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status, trigger_id
from databricks_file_arrivals.core.replays import Selection
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.jobs import JobsApi
from databricks_file_arrivals.workspace.replays import Replay, Replayer
from tests.airflow_side import Log


@dataclass
class Site:
    """A log after a claim, and ways to replay what it left."""

    log: Log
    admin: WorkspaceClient
    jobs: dict[str, int]

    def options(self, give_up_after: timedelta = timedelta(days=1)) -> Options:
        return Options("default", str(self.log.names.log), give_up_after=give_up_after)

    def claim(self) -> None:
        hook, names = self.log.hook, self.log.names
        Claimer(self.log.ledger, ArrivalLog(hook, names), JobsApi(hook), self.options()).run()

    def replayer(self, **options: Any) -> Replayer:
        return Replayer(self.log.hook, self.log.names, self.options(**options))

    def replay(self, replayer: Replayer | None = None, **selection: Any) -> list[Replay]:
        return (replayer or self.replayer()).replay(Selection(consumer="default", **selection))

    def told(self) -> Counter[tuple[str, str]]:
        """Workflow and directory of every run that was started for this log."""
        found: Counter[tuple[str, str]] = Counter()
        for name in ("alpha", "beta"):
            for run in self.admin.jobs.list_runs(job_id=self.jobs[name]):
                told = {p.name: p.value for p in run.job_parameters or ()}
                if told.get("log_table") == str(self.log.names.log):
                    found[name, told["directory"] or ""] += 1
        return found


@pytest.fixture(scope="module")
def site(new_log: Callable[[], Log], jobs: dict[str, int], admin: WorkspaceClient) -> Site:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), ("/in/typo", "alhpa", "Y"))
    stream = log.land(
        {"/in/a": 2, "/in/typo": 1, "/in/none": 1, "/in/none/x": 2, "/in/late": 1, "/in/both": 1}
    )
    log.land({"/in/none/x": 5, "/in/a": 1}, stream)
    site = Site(log, admin, jobs)
    site.claim()
    return site


def statuses(site: Site, directory: str) -> list[tuple[str, str | None, int]]:
    rows = site.log.hook.query(
        f"SELECT status, workflow_name, file_count FROM {site.log.names.log.derive('_latest').sql} "
        "WHERE directory = :directory AND consumer = 'default' ORDER BY epoch, status",
        {"directory": directory},
    )
    return [(r["status"], r["workflow_name"], r["file_count"]) for r in rows]


def test_a_replay_of_nothing_writes_nothing(site: Site) -> None:
    before = site.log.ledger.consumer("default")
    left = site.replay(directory="/in/none")
    assert [(each.rows, each.reason) for each in left] == [((), "the mapping table has no row for it still")]
    assert site.replay(directory="/in/nowhere") == []
    (typo,) = site.replay(statuses=(Status.NO_SUCH_WORKFLOW,))
    assert "no job of the name 'alhpa'" in typo.reason
    after = site.log.ledger.consumer("default")
    assert before is not None and after is not None and after.epoch == before.epoch


def test_what_has_a_rule_now_is_started_with_exactly_its_files_and_the_rest_keeps_a_row(site: Site) -> None:
    before = site.log.ledger.consumer("default")
    site.log.map(("/in/none/x", "beta", "Y"))
    replayer = site.replayer()
    (done,) = site.replay(replayer, directory="/in/none")
    assert (replayer.report.files, replayer.report.arrived) == (8, 0), "none of them counts as a new arrival"
    (started,) = done.starts
    assert (started.directory, started.workflow_name, started.file_count) == ("/in/none/x", "beta", 7)
    files = site.log.hook.query(
        f"SELECT path FROM {site.log.names.arrived_files.sql}(:id)", {"id": started.trigger_id}
    )
    assert len(files) == 7 and all(f["path"].startswith("/in/none/x/") for f in files)
    assert site.told()["beta", "/in/none/x"] == 1
    assert statuses(site, "/in/none") == [("UNMAPPED", None, 8), ("UNMAPPED", None, 1)]
    after = site.log.ledger.consumer("default")
    assert before is not None and after is not None
    assert (after.epoch, after.cursor) == (before.epoch + 1, before.cursor)
    assert after.overdue, "the next operator comes at once: it looks after what was started"
    again = site.replay(directory="/in/none")
    assert sorted(each.reason for each in again) == [
        "it was replayed before: --force does it again",
        "the mapping table has no row for it still",
    ]


def test_another_workflow_may_be_started_for_the_same_files(site: Site) -> None:
    (done,) = site.replay(statuses=(Status.NO_SUCH_WORKFLOW,), start="alpha")
    assert [(r.directory, r.workflow_name, r.file_count) for r in done.starts] == [("/in/typo", "alpha", 1)]
    assert site.told()["alpha", "/in/typo"] == 1


class Died(BaseException):
    """What a killed process would be: nothing catches it."""


def test_a_replay_that_dies_after_its_claim_is_finished_by_the_next_operator(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: JobsApi, rows: Sequence[LogRow]) -> Iterator[int]:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(JobsApi, "start", die)
        with pytest.raises(Died):
            site.replay(directory="/in/late", start="beta")
    assert site.told()["beta", "/in/late"] == 0
    site.claim()
    assert site.told()["beta", "/in/late"] == 1
    (again,) = site.replay(directory="/in/late", start="beta")
    assert "replayed before" in again.reason and site.told()["beta", "/in/late"] == 1


def test_a_task_that_is_tried_again_replays_by_force_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: JobsApi, rows: Sequence[LogRow]) -> Iterator[int]:
        raise Died

    def replay(run: str, try_number: int) -> list[Replay]:
        stamp = {"dag_id": "replay", "dag_run_id": run, "task_id": "t", "try_number": try_number}
        replayer = Replayer(site.log.hook, site.log.names, replace(site.options(), stamp=stamp))
        return site.replay(replayer, directory="/in/forced", start="beta", force=True)

    site.log.land({"/in/forced": 1})
    site.claim()
    with monkeypatch.context() as patch:
        patch.setattr(JobsApi, "start", die)
        with pytest.raises(Died):
            replay("one", 1)
    again = replay("one", 2)
    assert site.told()["beta", "/in/forced"] == 1
    assert {each.reason[:25] for each in again} == {"a try of this task before"}, (
        "what it made is not its own"
    )
    assert any(each.rows for each in replay("another", 1)) and site.told()["beta", "/in/forced"] > 1


def test_two_replays_at_once_start_one_run(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(site.replay, directory="/in/both", start="beta") for _ in range(2)]
        done = [each for found in tries for each in found.result()]
    assert site.told()["beta", "/in/both"] == 1
    assert sorted(bool(each.rows) for each in done) == [False, True]
    assert [each.reason for each in done if not each.rows] == [
        "it was replayed before: --force does it again"
    ]


def test_an_error_whose_run_is_there_after_all_is_told_and_not_started_again(site: Site) -> None:
    """The answer of run-now was lost, and so was every later try."""
    row = LogRow(
        status=Status.PLANNED,
        consumer="default",
        claim_id="lost",
        epoch=1,
        directory="/in/lost",
        table_name="lost",
        workflow_name="alpha",
        attempt=1,
        stream_id="s",
        from_batch=0,
        to_batch=0,
        directories={"/in/lost": Range(-1, 0)},
        file_count=1,
        job_id=site.jobs["alpha"],
    )
    token = trigger_id(row, 1)
    told = {"trigger_id": token, "directory": "/in/lost", "log_table": str(site.log.names.log)}
    row = replace(row, trigger_id=token, job_parameters=told)
    (run_id,) = JobsApi(site.log.hook).start([row])
    failed = replace(row, status=Status.ERROR, run_id=-2, error="no answer")
    closing = LogRow(status=Status.CLAIMED, consumer="default", claim_id="lost", epoch=1)
    site.log.ledger.append([row, failed, closing])
    (waits,) = site.replay(directory="/in/lost")
    assert "tried again by itself" in waits.reason
    given_up = site.replayer(give_up_after=timedelta(0))
    (found,) = site.replay(given_up, directory="/in/lost")
    assert found.reason == f"it was started after all, as run {run_id}; --force does it again"
    assert site.told()["alpha", "/in/lost"] == 1
    (forced,) = site.replay(trigger_ids=(token[:20],), force=True)
    assert forced.starts and site.told()["alpha", "/in/lost"] == 2


def test_a_consumer_of_dry_runs_starts_nothing_for_real(site: Site) -> None:
    shadow = {"consumer": "shadow", "claim_id": "shadow", "epoch": 1}
    site.log.ledger.make_consumer("shadow", "latest")
    site.log.ledger.append([LogRow(status=Status.DRY_RUN, **shadow)])  # type: ignore[arg-type]
    replayer = Replayer(site.log.hook, site.log.names, Options("shadow", str(site.log.names.log)))
    with pytest.raises(BadInput, match="plans dry runs"):
        replayer.preview(Selection(consumer="shadow"))
