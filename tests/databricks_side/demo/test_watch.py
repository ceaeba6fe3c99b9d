"""When everything is done, and which run belongs to which request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from databricks.sdk.service.jobs import BaseRun, JobParameter
from demo.watch import Counts, accepted_at, doubled_runs, told

DONE = Counts(logged=10, planned=3, epoch=2, claims=2, accepted=3, finished=3)


def test_done() -> None:
    assert DONE.claimed and DONE.done(10)
    assert str(DONE) == "10 files logged, 3 requests planned, 3 runs accepted, 3 finished"


@pytest.mark.parametrize(
    "counts",
    [
        replace(DONE, logged=9),
        replace(DONE, claims=1),
        replace(DONE, epoch=0, claims=0),
        replace(DONE, finished=2),
    ],
)
def test_not_done(counts: Counts) -> None:
    assert not counts.done(10)


def run(trigger_id: str) -> BaseRun:
    return BaseRun(
        job_parameters=[
            JobParameter(name="file_count", value="1"),
            JobParameter(name="trigger_id", value=trigger_id),
        ]
    )


def test_each_request_has_one_run() -> None:
    one, other = run("a"), run("b")
    assert told([one, other]) == {"a": one, "b": other}
    assert doubled_runs([one, other]) == []


@pytest.mark.parametrize("more", [run("a"), BaseRun()])
def test_a_run_too_many_is_found(more: BaseRun) -> None:
    assert doubled_runs([run("a"), more]) == ["2 runs for 1 requests"]


def test_accepted_at() -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
    assert accepted_at(BaseRun(start_time=int(noon.timestamp() * 1000) + 250)) == noon.replace(
        microsecond=250_000
    )
