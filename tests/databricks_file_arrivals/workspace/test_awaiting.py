"""Runs that are waited for, poll by poll: against a Jobs API of any size for the calls, and the real one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from databricks_file_arrivals.core.runs import ENDED
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.awaiting import Awaited, listed
from databricks_file_arrivals.workspace.exchange import Answer, Call, run
from tests.airflow_side import Log, fails_when_there_is

LISTED_AS_ACTIVE = {"QUEUED", "PENDING", "RUNNING", "TERMINATING"}
"""All that Databricks promises to list with active_only."""


@dataclass
class Jobs:
    """A Jobs API that only tells of runs: state by run id, a page of 25 at a time, the newest first."""

    states: dict[int, str] = field(default_factory=dict)
    refusals: dict[int, int] = field(default_factory=dict)
    calls: int = 0

    def call(self, request: Call) -> Answer:
        self.calls += 1
        query = request.body or {}
        if request.endpoint.endswith("runs/get"):
            run_id = query["run_id"]
            if run_id not in self.states:
                status = self.refusals.get(run_id, 400)
                raise Refused(status, "PERMISSION_DENIED" if status == 403 else "INVALID", f"run {run_id}")
            return self._run(run_id)
        wanted = LISTED_AS_ACTIVE if "active_only" in query else ENDED
        ids = [run_id for run_id in sorted(self.states, reverse=True) if self.states[run_id] in wanted]
        begin = int(query.get("page_token", 0))
        more = {"next_page_token": str(begin + 25)} if begin + 25 < len(ids) else {}
        return {"runs": [self._run(run_id) for run_id in ids[begin : begin + 25]], **more}

    def _run(self, run_id: int) -> dict[str, Any]:
        return {"run_id": run_id, "job_id": 1, "state": {"life_cycle_state": self.states[run_id]}}

    def poll(self, awaited: Awaited) -> int:
        """Poll once: the calls that it took."""
        before = self.calls
        run(awaited.poll(), self.call)
        return self.calls - before


def of(state: str, run_ids: Iterable[int]) -> dict[int, str]:
    return dict.fromkeys(run_ids, state)


@pytest.mark.parametrize(
    ("awaited", "others", "first", "then"),
    [
        (1, 0, 1, 1),
        (1, 5_000, 1, 1),
        (20, 0, 1, 1),
        (2_000, 0, 80, 80),
        (2_000, 3_000, 200, 200),
        (10, 3_000, 10 + 10, 10),  # the list is given up, and not tried again
    ],
)
def test_a_poll_of_running_ones_takes_few_calls(awaited: int, others: int, first: int, then: int) -> None:
    jobs = Jobs(of("RUNNING", range(awaited + others)))  # ours are the oldest: the last in the list
    watched = Awaited(range(awaited))
    assert (jobs.poll(watched), jobs.poll(watched)) == (first, then)
    assert watched.left == set(range(awaited))


def test_two_thousand_that_end_between_two_polls_are_seen_in_few_calls() -> None:
    jobs = Jobs(of("RUNNING", range(2_000)))
    watched = Awaited(range(2_000))
    jobs.poll(watched)
    jobs.states = of("TERMINATED", range(2_000))
    assert jobs.poll(watched) == 1 + 80 and not watched.left and not watched.gone


STATES = ["RUNNING", "QUEUED", "BLOCKED", "WAITING_FOR_RETRY", "SOMETHING_NEW", "TERMINATED", "SKIPPED"]


@given(
    polls=st.lists(
        st.dictionaries(st.integers(0, 60), st.sampled_from([*STATES, "deleted"]), max_size=40), max_size=6
    ),
    others=st.integers(0, 200),
)
def test_only_what_says_that_it_has_ended_or_is_gone_is_left_out(
    polls: list[dict[int, str]], others: int
) -> None:
    jobs = Jobs(of("RUNNING", range(60 + others)))
    watched = Awaited(range(60))
    over: set[int] = set()
    gone: set[int] = set()
    for changes in polls:
        for run_id, state in changes.items():
            if run_id in watched.left:
                jobs.states[run_id] = state
                (over if state in ENDED else set()).add(run_id)
                if state == "deleted":
                    gone.add(run_id)
                    del jobs.states[run_id]
        left = len(watched.left)
        assert jobs.poll(watched) <= 2.25 * left + 2
        assert watched.left == set(range(60)) - over - gone and watched.gone == gone


def test_an_unknown_state_is_waited_for_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs(of("DREAMING", range(30)))
    watched = Awaited(range(30))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            jobs.poll(watched)
    assert watched.left == set(range(30))
    (said,) = caplog.messages
    assert "DREAMING" in said and "waited for" in said


def test_when_no_run_may_be_seen_nothing_is_known_and_some_are_gone() -> None:
    nothing = Jobs(refusals=dict.fromkeys(range(30), 403))
    watched = Awaited(range(30))
    with pytest.raises(Refused, match="CAN_VIEW") as raised:
        nothing.poll(watched)
    assert raised.value.status == 403 and len(watched.left) == 30
    some = Jobs({1: "RUNNING"}, refusals={0: 403})
    watched = Awaited(range(2))
    some.poll(watched)
    assert watched.left == {1} and watched.gone == {0}


def test_run_ids_are_listed_for_a_person() -> None:
    assert listed({3, 1}) == "1, 3"
    assert listed(range(1, 102)).endswith("19, 20 and 81 more")


def test_the_real_api_shows_ends_of_all_kinds(
    hook: FileArrivalsHook, admin: WorkspaceClient, new_job: Callable[..., int], tmp_path: Path
) -> None:
    since = datetime.now(timezone.utc)
    job_id = new_job("fails when told", source=fails_when_there_is(tmp_path / "now"))
    running, cancelled, deleted = (int(admin.jobs.run_now(job_id).bind()["run_id"]) for _ in range(3))
    for run_id in (cancelled, deleted):
        admin.jobs.cancel_run_and_wait(run_id)
    admin.jobs.delete_run(deleted)
    watched = Awaited([running, cancelled, deleted, 999_999_999], since)
    run(watched.poll(), hook.call)
    assert watched.left == {running} and watched.gone == {deleted, 999_999_999}
    (tmp_path / "now").touch()
    deadline = time.monotonic() + 60
    while watched.left and time.monotonic() < deadline:
        run(watched.poll(), hook.call)
        time.sleep(0.2)
    assert not watched.left and watched.gone == {deleted, 999_999_999}


def test_what_a_task_waits_for_is_what_it_planned_or_started_in_claims_that_count(log: Log) -> None:
    consumer, mine = log.consumer(), {"dag_id": "d", "dag_run_id": "it's", "task_id": "t"}

    def row(status: Status, claim: str, token: str | None, task: dict[str, str], attempt: int = 1) -> LogRow:
        names = {"consumer": consumer, "claim_id": claim, "epoch": 1, "directory": token, "rule_id": "r"}
        row = LogRow(status=status, **names, **task)  # type: ignore[arg-type]  # the names of its fields
        return replace(row, trigger_id=token and f"{token}{attempt}", attempt=attempt)

    other = {**mine, "dag_run_id": "another"}
    log.ledger.append(
        [
            row(Status.PLANNED, "won", "planned", mine),
            row(Status.TRIGGERED, "won", "planned", other),
            row(Status.PLANNED, "won", "started", other),
            row(Status.TRIGGERED, "won", "started", mine),
            row(Status.FAILED, "won", "started", other),
            row(Status.PLANNED, "won", "started", other, attempt=2),
            row(Status.PLANNED, "won", "theirs", other),
            row(Status.FAILED, "won", "theirs", mine),
            row(Status.PLANNED, "lost", "void", mine),
            row(Status.CLAIMED, "won", None, other),
        ]
    )
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    found = log.ledger.of_task(consumer, mine, since)
    assert {(r.trigger_id, r.status) for r in latest(found.rows).values()} == {
        ("planned1", Status.TRIGGERED),
        ("started2", Status.PLANNED),
    }
    assert len(found.rows) == 6 and found.now is not None and found.now > since
    assert not log.ledger.of_task(consumer, {**mine, "task_id": "nobody"}, since).rows
    assert not log.ledger.of_task(consumer, mine, since + timedelta(hours=2)).rows
