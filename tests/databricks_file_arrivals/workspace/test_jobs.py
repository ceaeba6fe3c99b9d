"""Jobs by name, runs by token and what became of them, against the local workspace; and in how many calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient

from databricks_file_arrivals.core.errors import BadInput, FileArrivalsError, Refused, WorkspaceError
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.planning import Job
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import Answer, Call
from databricks_file_arrivals.workspace.jobs import STARTS_PER_SECOND, Client, JobsApi
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import DECLARED, PRINCIPAL, fails_when_there_is

NOW = datetime.now(timezone.utc)


@dataclass
class Watched:
    """A client that remembers what it was asked."""

    client: Client
    asked: list[str] = field(default_factory=list)

    def call(self, request: Call) -> Answer:
        self.asked.append(request.endpoint.removeprefix("2.2/jobs/"))
        return self.client.call(request)


@dataclass
class Listing:
    """A workspace of lists alone, as large as it has to be: jobs by name, and completed runs."""

    names: list[str] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    def call(self, request: Call) -> Answer:
        query = request.body or {}
        if request.endpoint.endswith("runs/get"):
            return ended(query["run_id"])
        if request.endpoint.endswith("runs/list"):
            return self._page("runs", self.runs, ended, query)
        every: Sequence[int] = range(len(self.names))
        if "name" in query:
            every = [i for i in every if self.names[i] == query["name"]]
        return self._page("jobs", every, self._job, query)

    def _job(self, job_id: int) -> dict[str, Any]:
        return {"job_id": job_id, "settings": {"name": self.names[job_id], "parameters": []}}

    def _page(
        self, key: str, ids: Sequence[int], entry: Callable[[int], Any], query: Mapping[str, Any]
    ) -> Answer:
        begin, limit = int(query.get("page_token", 0)), query["limit"]
        more = {"next_page_token": str(begin + limit)} if begin + limit < len(ids) else {}
        return {key: [entry(each) for each in ids[begin : begin + limit]], **more}


def ended(run_id: int) -> dict[str, Any]:
    state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
    return {"run_id": run_id, "job_id": 1, "state": state}


@pytest.fixture
def api(hook: FileArrivalsHook) -> JobsApi:
    return JobsApi(hook, 4, None)


def request(job_id: int, token: str, **more: object) -> LogRow:
    row = LogRow(status=Status.PLANNED, consumer="c", claim_id="x", epoch=1, job_id=job_id, trigger_id=token)
    return replace(row, job_parameters={"trigger_id": token, "directory": "/in/it's"}, **more)  # type: ignore[arg-type]


def started(run_id: int, job_id: int | None = 1) -> LogRow:
    return request(job_id or 0, str(run_id), started_run_id=run_id, job_trigger_time=NOW)


def start_one(api: JobsApi, row: LogRow) -> int:
    (run_id,) = api.start([row])
    assert isinstance(run_id, int), run_id
    return run_id


def test_a_name_is_matched_exactly_and_all_of_that_name_are_found(
    api: JobsApi, jobs: dict[str, int], new_job: Callable[..., int]
) -> None:
    upper = new_job("ALPHA", declared=())
    found = api.jobs_named(["alpha", "ALPHA", "twin", "hidden", "no such job"])
    assert found["alpha"] == [Job(jobs["alpha"], frozenset(DECLARED))]
    assert found["ALPHA"] == [Job(upper, frozenset())]
    assert len(found["twin"]) == 2
    assert found["hidden"] == found["no such job"] == []
    assert api.jobs_named(["ALPHA"]) == {"ALPHA": [Job(upper, frozenset())]}


@pytest.mark.parametrize(
    ("jobs", "names", "calls"),
    [
        (80, 5, 1),  # one page holds them all
        (5_000, 1_000, 50),
        (5_000, 20, 10 + 20),  # the sweep is given up after half of what the look-ups cost
        (5_000, 1, 1),
        (5_000, 0, 0),
    ],
)
def test_names_are_found_by_a_sweep_or_one_by_one_whichever_costs_less(
    jobs: int, names: int, calls: int
) -> None:
    client = Watched(Listing([f"job {i}" for i in range(jobs)]))
    found = JobsApi(client).jobs_named(f"job {i}" for i in range(names))
    assert {name: [job.job_id for job in of] for name, of in found.items()} == {
        f"job {i}": [i] for i in range(names)
    }
    assert len(client.asked) == calls


def test_a_second_job_of_a_name_is_found_wherever_it_stands() -> None:
    names = ["twin", *(f"job {i}" for i in range(900)), "twin"]
    for wanted in (["twin"], ["twin", *(f"job {i}" for i in range(30))]):
        assert len(JobsApi(Listing(names)).jobs_named(wanted)["twin"]) == 2


def test_a_token_reaches_the_same_run_however_often(api: JobsApi, jobs: dict[str, int]) -> None:
    rows = [request(jobs["alpha"], token * 64) for token in ("a", "a", "b")]
    first, again, other = api.start(rows)
    assert first == again != other
    assert start_one(api, rows[0]) == first


def test_one_that_fails_stops_no_other_and_says_why(api: JobsApi, jobs: dict[str, int]) -> None:
    rows = [request(jobs[name], f"one-that-fails-{name}") for name in ("alpha", "locked", "beta")]
    first, refused, last = api.start(rows)
    assert isinstance(first, int) and isinstance(last, int)
    assert isinstance(refused, Refused) and refused.code == "PERMISSION_DENIED" and not refused.retryable


def test_a_start_costs_one_call(hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    client = Watched(hook)
    JobsApi(client, 4, None).start([request(jobs["alpha"], f"one-call-{i}") for i in range(5)])
    assert client.asked == ["run-now"] * 5


def test_starts_keep_the_pace_that_they_are_given(hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    assert 0 < STARTS_PER_SECOND < 20
    begun = time.monotonic()
    JobsApi(hook, 4, 20).start([request(jobs["locked"], f"pace-{i}") for i in range(9)])
    assert time.monotonic() - begun >= 8 / 20


RUN_NOW = "POST /api/2.*/jobs/run-now"


def test_a_name_of_a_megabyte_is_refused_before_anybody_is_asked() -> None:
    row = LogRow(
        status=Status.PLANNED,
        consumer="c",
        claim_id="c",
        epoch=1,
        job_id=1,
        job_parameters={"directory": "x" * 1_000_000},
    )
    watched = Watched(Listing())
    (error,) = JobsApi(watched, connections=1).start([row])
    assert isinstance(error, BadInput) and "let the job declare trigger_id" in str(error)
    assert not watched.asked


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_is_lost_leaves_one_run(
    databricks: RunningWorkspace, admin: WorkspaceClient, new_job: Callable[..., int], when: str
) -> None:
    job_id = new_job(f"answer lost {when}")
    with databricks.faults.added("drop", RUN_NOW, when=when, principal=PRINCIPAL) as lost:
        run_id = start_one(JobsApi(FileArrivalsHook()), request(job_id, f"answer-lost-{when}"))
        assert databricks.faults.find(lost).hits == 1
    assert [run.run_id for run in admin.jobs.list_runs(job_id=job_id)] == [run_id]


def test_a_workspace_that_is_busy_is_asked_again_when_it_says(
    databricks: RunningWorkspace, jobs: dict[str, int]
) -> None:
    terms: dict[str, Any] = {"status": 429, "retry_after": 1, "times": 2, "principal": PRINCIPAL}
    with databricks.faults.added("error", RUN_NOW, **terms) as busy:
        begun = time.monotonic()
        runs = JobsApi(FileArrivalsHook(), 4, None).start(
            [request(jobs["alpha"], f"busy-{i}") for i in range(4)]
        )
        assert len(set(runs)) == 4 and all(isinstance(run, int) for run in runs)
        assert time.monotonic() - begun >= 1 and databricks.faults.find(busy).hits == 2


def test_an_old_request_looks_for_its_run_before_it_starts_one(
    hook: FileArrivalsHook, api: JobsApi, jobs: dict[str, int]
) -> None:
    known = start_one(api, request(jobs["alpha"], "d" * 64))
    client = Watched(hook)
    old = request(jobs["alpha"], "d" * 64, recorded_at=NOW - timedelta(days=2))
    assert start_one(JobsApi(client), old) == known
    assert client.asked and "run-now" not in client.asked
    never_started = request(jobs["alpha"], "e" * 64, recorded_at=NOW - timedelta(days=2))
    assert start_one(api, never_started) != known


def test_an_old_request_that_cannot_be_told_is_not_started(api: JobsApi, jobs: dict[str, int]) -> None:
    silent = replace(request(jobs["alpha"], "f" * 64, recorded_at=NOW - timedelta(days=2)), job_parameters={})
    (error,) = api.start([silent])
    assert isinstance(error, WorkspaceError) and "cannot be told" in str(error)


def test_a_run_is_active_until_it_has_ended_and_is_found_then_too(
    api: JobsApi, admin: WorkspaceClient, new_job: Callable[..., int], tmp_path: Path
) -> None:
    job_id = new_job("seen to its end", source=fails_when_there_is(tmp_path / "end"))
    rows = [request(job_id, f"to-its-end-{i}", job_trigger_time=NOW) for i in range(3)]
    ids = [start_one(api, row) for row in rows]
    # The job runs one at a time: the last one waits in the queue for the others.
    active = api.active_runs()
    assert active[ids[2]].queued and not active[ids[2]].ended and active[ids[2]].job_id == job_id
    admin.jobs.cancel_run_and_wait(ids[2])
    rows = [replace(row, started_run_id=run) for row, run in zip(rows, ids, strict=True)]
    found = api.ended_runs([*rows, started(999_999_999)])
    assert found.keys() <= set(ids) and 999_999_999 not in found
    cancelled = found[ids[2]]
    assert cancelled.ended and not cancelled.succeeded and not cancelled.never_ran
    assert ids[2] not in api.active_runs()
    (tmp_path / "end").touch()


@pytest.mark.parametrize(
    ("completed", "wanted", "most"),
    [
        (range(1_000), range(1_000), 40),  # they are all there: pages of 25
        (range(5_000, 0, -1), range(4_000, 5_000), 41),  # the newest first
        (range(5_000, 0, -1), range(1, 21), 25),  # far down: given up, and asked for one by one
        ([], range(100, 200), 101),
        (range(5_000), [77], 1),
    ],
)
def test_ended_runs_are_found_in_few_calls(completed: range, wanted: range, most: int) -> None:
    client = Watched(Listing(runs=list(completed)))
    found = JobsApi(client, 4, None).ended_runs([started(run_id) for run_id in wanted])
    assert found == {run_id: Run.read(ended(run_id)) for run_id in wanted}
    assert 0 < len(client.asked) <= most
    assert len(client.asked) <= math.ceil(1.25 * len(wanted)) + 1


def test_what_cannot_be_told_of_ended_runs_is_an_error() -> None:
    class Down:
        def call(self, request: Call) -> Answer:
            raise WorkspaceError("no answer")

    with pytest.raises(FileArrivalsError, match="no answer"):
        JobsApi(Down()).ended_runs([started(1)])
    assert JobsApi(Down()).ended_runs([]) == {}
