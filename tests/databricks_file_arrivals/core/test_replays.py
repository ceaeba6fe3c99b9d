"""What may be replayed, and that the rows of a replay cover the files of what they replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status, trigger_id
from databricks_file_arrivals.core.planning import Arrivals, Claim, Job, Route, matched, route
from databricks_file_arrivals.core.replays import (
    DEFAULT,
    NAMED_ONLY,
    Known,
    Selection,
    may_have_started,
    refusal,
    rerouted,
    restarted,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
CLAIM = Claim("default", "replay", 9, "main.x.log")
JOB = Job(5, frozenset({"trigger_id", "directory", "file_count", "source"}))


def outcome(status: Status, **more: Any) -> LogRow:
    values: dict[str, Any] = {
        "directory": "/in/a",
        "table_name": "a",
        "workflow_name": "load",
        "rule_id": "r",
        "stream_id": "s",
        "from_batch": 2,
        "to_batch": 3,
        "directories": {"/in/a": Range(1, 3)},
        "file_count": 4,
        "attempt": 1,
        **more,
    }
    row = LogRow(status=status, consumer="default", claim_id="old", epoch=3, **values)
    return replace(row, trigger_id=trigger_id(row, row.attempt or 1))


def why(status: Status, known: Known = Known(), **selection: Any) -> str:  # noqa: B008  # it is frozen
    chosen = Selection(consumer="default", **selection)
    return refusal(outcome(status), known, chosen, NOON, DAY)


@pytest.mark.parametrize("status", DEFAULT)
def test_what_started_nothing_or_failed_is_replayed(status: Status) -> None:
    assert why(status) == ""


@pytest.mark.parametrize("status", NAMED_ONLY)
def test_what_has_a_run_is_replayed_when_it_is_named(status: Status) -> None:
    assert f"add --status {status}" in why(status)
    assert f"add --status {status}" in why(status, force=True)
    assert why(status, statuses=(status,)) == ""


@pytest.mark.parametrize("status", [Status.PLANNED, Status.HELD, Status.OVERDUE, Status.DRY_RUN])
def test_what_is_not_over_is_never_replayed(status: Status) -> None:
    assert why(status, force=True)
    with pytest.raises(BadInput, match=f"{status.value} is not replayed"):
        Selection(consumer="default", statuses=(status,))


def test_a_second_replay_has_to_be_forced() -> None:
    assert "replayed before" in why(Status.UNMAPPED, Known(replayed=True))
    assert why(Status.UNMAPPED, Known(replayed=True), force=True) == ""


@pytest.mark.parametrize("status", [Status.ERROR, Status.NOT_RUN])
def test_what_is_still_tried_again_has_to_be_forced(status: Status) -> None:
    soon = Known(failed_at=(NOON - timedelta(seconds=10),))
    assert "at 2026-01-05 12:00:50" in why(status, soon)
    assert "now" in why(status, Known(failed_at=(NOON - timedelta(minutes=5),)))
    assert why(status, soon, force=True) == ""
    given_up = Known(failed_at=tuple(NOON - timedelta(hours=i) for i in range(40)))
    assert why(status, given_up) == ""


def test_only_an_error_with_a_job_may_have_a_run_that_nobody_knows() -> None:
    assert may_have_started(outcome(Status.ERROR, job_id=5))
    assert not may_have_started(outcome(Status.ERROR))
    assert not may_have_started(outcome(Status.FAILED, job_id=5))


def test_a_trigger_id_may_be_shortened_but_not_to_an_epoch() -> None:
    Selection(consumer="default", trigger_ids=("0" * 16,))
    with pytest.raises(BadInput, match="too short"):
        Selection(consumer="default", trigger_ids=("0" * 12,))


# Stored requests.

FILES = (
    "stream_id",
    "from_batch",
    "to_batch",
    "directories",
    "file_pattern",
    "excluded_patterns",
    "file_count",
)


def test_a_stored_request_is_started_with_the_same_files_as_a_request_of_its_own() -> None:
    row = outcome(Status.FAILED, job_id=5, run_id=77, started_run_id=77, attempt=3, error="failed")
    row = replace(row, job_parameters={"trigger_id": row.trigger_id or "", "source": "/in/a/{x}"})
    made = restarted(row, CLAIM, None, [JOB])
    assert [getattr(made, name) for name in FILES] == [getattr(row, name) for name in FILES]
    assert (made.status, made.attempt, made.replay_of) == (Status.PLANNED, 1, row.trigger_id)
    assert (made.epoch, made.claim_id, made.workflow_name, made.rule_id) == (9, "replay", "load", "r")
    assert made.trigger_id == trigger_id(made, 1) != row.trigger_id
    assert (made.run_id, made.started_run_id, made.error, made.job_trigger_time) == (None, None, None, None)


def test_parameters_that_were_filled_in_stay_and_name_the_new_request() -> None:
    row = outcome(Status.ERROR, job_id=5, file_count=4)
    old = row.trigger_id or ""
    stored = {"trigger_id": old, "source": f"/in/{{directory}}/{old}", "gone": "x"}
    made = restarted(replace(row, job_parameters=stored), CLAIM, None, [JOB])
    assert made.job_parameters == {
        "trigger_id": made.trigger_id,
        "source": f"/in/{{directory}}/{made.trigger_id}",
        "directory": "/in/a",
        "file_count": "4",
    }


def test_parameters_of_a_row_that_was_never_started_are_filled_in() -> None:
    row = outcome(Status.INACTIVE, job_parameters={"source": "{directory}/{file_count}", "gone": "{epoch}"})
    made = restarted(row, CLAIM, None, [JOB])
    assert made.job_parameters is not None
    assert made.job_parameters["source"] == "/in/a/4" and "gone" not in made.job_parameters


def test_another_workflow_is_no_start_of_the_rule() -> None:
    made = restarted(outcome(Status.NO_SUCH_WORKFLOW), CLAIM, "laod", [JOB])
    assert (made.status, made.workflow_name, made.rule_id) == (Status.PLANNED, "laod", None)
    assert restarted(outcome(Status.NO_SUCH_WORKFLOW), CLAIM, "load", [JOB]).rule_id == "r"


@pytest.mark.parametrize("jobs", [[], [JOB, Job(6)]])
def test_without_one_job_of_the_name_nothing_is_planned(jobs: list[Job]) -> None:
    made = restarted(outcome(Status.FAILED, job_id=5, job_parameters={}), CLAIM, None, jobs)
    assert made.status is Status.NO_SUCH_WORKFLOW and made.error


# Outcomes without a workflow.


def arrivals(directory: str, files: int) -> Arrivals:
    return Arrivals("s", "/in", directory, 1, 3, 2, 3, files, files * 10, NOON, NOON)


UNMAPPED = outcome(
    Status.UNMAPPED,
    workflow_name=None,
    rule_id=None,
    directories={"/in/a": Range(1, 3), "/in/a/b": Range(1, 3)},
    excluded_patterns=("*.tmp",),
    file_count=5,
)
ARRIVALS = (arrivals("/in/a", 4), arrivals("/in/a/b", 1))


def routes(*rules: MappingRule, picks: Any = None) -> tuple[WorkflowMapping, tuple[Route, ...]]:
    mapping = WorkflowMapping(rules)
    return mapping, route(matched(ARRIVALS, mapping), picks or {})


def test_what_has_a_rule_now_is_started_at_once_whatever_it_would_wait_for() -> None:
    rule = MappingRule("/in/a", "load", settle_seconds=900, min_files=99, completion_marker="DONE")
    picks = {("s", a.directory, 1): {None: a} for a in ARRIVALS}
    mapping, found = routes(rule, picks=picks)
    (made,) = rerouted(UNMAPPED, CLAIM, found, mapping, NOON, {"load": [JOB]})
    assert (made.status, made.workflow_name, made.rule_id) == (Status.PLANNED, "load", rule.rule_id)
    assert (made.file_count, made.directories) == (5, UNMAPPED.directories)
    assert made.excluded_patterns == ("*.tmp",) and made.replay_of == UNMAPPED.trigger_id


def test_what_has_no_rule_still_keeps_a_row_of_its_own() -> None:
    mapping, found = routes(MappingRule("/in/a/b", "load"))
    made = {row.status: row for row in rerouted(UNMAPPED, CLAIM, found, mapping, NOON, {"load": [JOB]})}
    assert set(made) == {Status.PLANNED, Status.UNMAPPED}
    assert made[Status.PLANNED].directories == {"/in/a/b": Range(1, 3)}
    assert made[Status.UNMAPPED].directories == {"/in/a": Range(1, 3)}
    assert {row.replay_of for row in made.values()} == {UNMAPPED.trigger_id}
    assert len({row.trigger_id for row in made.values()}) == 2
    assert all(row.excluded_patterns == ("*.tmp",) for row in made.values())


def test_files_that_no_pattern_picks_exclude_the_patterns_of_then_and_of_now() -> None:
    picks = {("s", a.directory, 1): {"*.csv": a, None: arrivals(a.directory, 1)} for a in ARRIVALS}
    mapping, found = routes(MappingRule("/in/a", "load", file_pattern="*.csv"), picks=picks)
    made = {row.status: row for row in rerouted(UNMAPPED, CLAIM, found, mapping, NOON, {"load": [JOB]})}
    assert made[Status.UNMAPPED].excluded_patterns == ("*.csv", "*.tmp")
    assert made[Status.PLANNED].excluded_patterns == ("*.tmp",)
    assert made[Status.PLANNED].file_pattern == "*.csv"


@pytest.mark.parametrize(
    ("rules", "jobs"),
    [
        ((), {}),
        ((MappingRule("/in/a", "load", active=False),), {}),
        ((MappingRule("/in/a", "load"),), {"load": []}),
    ],
)
def test_nothing_is_written_when_nothing_would_start(
    rules: tuple[MappingRule, ...], jobs: dict[str, list[Job]]
) -> None:
    mapping, found = routes(*rules)
    assert found
    assert rerouted(UNMAPPED, CLAIM, found, mapping, NOON, jobs) == ()
