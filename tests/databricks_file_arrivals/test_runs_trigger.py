"""The trigger that waits for runs, made again from its serialised form: against the local workspace."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import RunLifeCycleState

import databricks_file_arrivals.triggers as module
from databricks_file_arrivals.compat import AirflowRuntimeError
from databricks_file_arrivals.core.errors import BadInput, FileArrivalsError, WorkspaceUnavailable
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.triggers import RunsTrigger
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import PRINCIPAL, connection, fails_when_there_is
from tests.airflow_versions import NO_ANSWER

GET, CANCEL = "GET /api/2.*/jobs/runs/get", "POST /api/2.*/jobs/runs/cancel"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(module, "_LONGEST_POLL_PAUSE", 0.3)
    monkeypatch.setattr(module, "FileArrivalsHook", partial(FileArrivalsHook, retry_limit=1))


@dataclass
class Going:
    """A job that runs one at a time until it is told, and what was started of it."""

    admin: WorkspaceClient
    job_id: int
    now: Path

    def start(self, count: int) -> list[int]:
        """Start runs: the first one executes, the others wait in the queue."""
        return [int(self.admin.jobs.run_now(self.job_id).bind()["run_id"]) for _ in range(count)]

    def left(self) -> set[int]:
        """The runs that nobody has cancelled and that have not ended."""
        runs = self.admin.jobs.list_runs(job_id=self.job_id, active_only=True)
        ending = RunLifeCycleState.TERMINATING
        return {int(run.run_id or 0) for run in runs if run.state and run.state.life_cycle_state != ending}


@pytest.fixture
def going(
    databricks: RunningWorkspace, admin: WorkspaceClient, new_job: Callable[..., int], tmp_path: Path
) -> Iterator[Going]:
    """Ended with the test."""
    now = tmp_path / "now"
    job_id = new_job(f"goes on {tmp_path.name}", source=fails_when_there_is(now))
    yield Going(admin, job_id, now)
    now.touch()
    admin.jobs.cancel_all_runs(job_id=job_id)


def trigger(run_ids: list[int], **changes: Any) -> RunsTrigger:
    """A trigger that has been through the database."""
    given = {"run_ids": run_ids, "databricks_conn_id": "databricks_default", "poll_interval": 0.2}
    path, arguments = RunsTrigger(**{**given, **changes}).serialize()
    package, _, name = path.rpartition(".")
    made: RunsTrigger = getattr(import_module(package), name)(**json.loads(json.dumps(arguments)))
    assert made.serialize() == (path, arguments)
    return made


async def fired(made: RunsTrigger) -> dict[str, Any]:
    """The one event that it fires."""
    events = [event.payload async for event in made.run()]
    assert len(events) == 1
    return dict(events[0])


def event(made: RunsTrigger) -> dict[str, Any]:
    return asyncio.run(asyncio.wait_for(fired(made), 60))


def in_seconds(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def test_it_fires_when_the_last_run_has_ended_and_names_those_that_are_gone(going: Going) -> None:
    running, cancelled, deleted = going.start(3)

    async def play() -> dict[str, Any]:
        waiting = asyncio.create_task(fired(trigger([running, cancelled, deleted], since=in_seconds(-60))))
        for run_id in (cancelled, deleted):
            await asyncio.to_thread(going.admin.jobs.cancel_run_and_wait, run_id)
        await asyncio.to_thread(going.admin.jobs.delete_run, deleted)
        await asyncio.sleep(1)
        assert not waiting.done()
        going.now.touch()
        return await asyncio.wait_for(waiting, 60)

    said = asyncio.run(play())
    assert said["state"] == "ended" and said["message"].startswith("3 runs are over")


def test_a_run_that_was_deleted_is_named() -> None:
    said = event(trigger([999_999_999, 999_999_998]))
    assert said["state"] == "ended" and "deleted" in said["message"] and "999999998" in said["message"]


def test_the_deadline_is_absolute_and_what_is_still_running_is_left_and_named(going: Going) -> None:
    run_ids = going.start(2)
    deadline = in_seconds(1.5)
    waiting = trigger(run_ids, deadline=deadline, poll_interval=30)
    said = event(waiting)
    late = (datetime.now(timezone.utc) - datetime.fromisoformat(deadline)).total_seconds()
    assert said["state"] == "timeout" and all(str(run_id) in said["message"] for run_id in run_ids)
    assert 0 <= late < 5 and going.left() == set(run_ids)
    begun = time.monotonic()
    assert event(trigger(run_ids, deadline=deadline))["state"] == "timeout"  # as in a triggerer started anew
    assert time.monotonic() - begun < 5


def test_nothing_is_fired_before_the_deferral_is_known(going: Going, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LOOK", 1.0)
    for made in (trigger([999_999_999]), trigger(going.start(1), deadline=in_seconds(-5))):
        begun = time.monotonic()
        event(made)
        assert time.monotonic() - begun >= 1.0


def test_failures_that_may_pass_are_waited_out_and_counted_in_a_row(
    databricks: RunningWorkspace, going: Going, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FAILED_POLLS", 3)
    (run_id,) = going.start(1)
    away: dict[str, Any] = {"status": 503, "principal": PRINCIPAL}
    with (
        databricks.faults.added("error", GET, times=2, **away),
        databricks.faults.added("error", GET, skip=3, times=2, **away) as second,
    ):

        async def play() -> dict[str, Any]:
            waiting = asyncio.create_task(fired(trigger([run_id])))
            await asyncio.to_thread(databricks.faults.wait_until_hit, second, 2)
            going.now.touch()
            return await asyncio.wait_for(waiting, 60)

        assert asyncio.run(play())["state"] == "ended"
    with databricks.faults.added("error", GET, times=0, **away):
        said = event(trigger([going.start(1)[0]]))
    assert said["state"] == "error" and said["retryable"] and "503" in said["message"]


def test_a_deadline_counts_while_the_workspace_is_away(
    databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", connection(databricks, "x", port=9))
    said = event(trigger([1], databricks_conn_id="down", deadline=in_seconds(0.5)))
    assert said["state"] == "timeout" and "last poll failed" in said["message"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (None, "airflow connections add"),
        ({"password": "no such token"}, "Check its token"),
        ({"user": "bob"}, "CAN_VIEW"),
    ],
)
def test_what_will_not_pass_ends_the_wait_with_what_to_do(
    databricks: RunningWorkspace,
    going: Going,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any] | None,
    what: str,
) -> None:
    if changes is not None:
        token = databricks.token(changes.pop("user", PRINCIPAL))
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(databricks, token, **changes))
    run_ids = going.start(2)
    said = event(trigger(run_ids, databricks_conn_id="other"))
    assert said["state"] == "error" and not said["retryable"]
    assert what in said["message"] and "starts none of them anew" in said["message"]
    assert str(run_ids[1]) in said["message"]


def test_what_will_not_pass_is_believed_when_it_is_seen_twice_in_a_row() -> None:
    passing, lasting = WorkspaceUnavailable("no answer"), BadInput("the connection is not defined")

    def said(*errors: FileArrivalsError) -> TriggerEvent | None:
        made = trigger([1])
        looks = iter(errors)

        def fail(*given: Any) -> Any:
            raise next(looks)

        made._awaited.poll = fail  # type: ignore[method-assign]  # looks that fail
        hook = FileArrivalsHook("any")
        for error in errors:
            assert asyncio.run(made._poll(hook)) is error
        return made._event(errors[-1], None)

    assert (
        said(lasting) is None and said(passing, lasting) is None and said(lasting, passing, lasting) is None
    )
    told = said(passing, lasting, lasting)
    assert told is not None and not told.payload["retryable"]
    told = said(*[passing] * 9, lasting)
    assert told is not None and told.payload["retryable"], "it may still be a connection that is coming back"


def test_a_connection_that_is_mended_meanwhile_is_read_again(
    databricks: RunningWorkspace, going: Going, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MENDED", connection(databricks, "an old token"))
    going.now.touch()
    made = trigger(going.start(1), databricks_conn_id="mended")

    async def play() -> dict[str, Any]:
        waiting = asyncio.create_task(fired(made))
        while not made._failures:
            await asyncio.sleep(0.01)
        monkeypatch.setenv("AIRFLOW_CONN_MENDED", connection(databricks, databricks.token(PRINCIPAL)))
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(play())["state"] == "ended"


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Airflow says of the trigger's task: its `state`, or why that cannot be told."""
    said: dict[str, Any] = {"state": "failed"}

    async def task_state(trigger: RunsTrigger) -> str | None:
        if isinstance(said["state"], Exception):
            raise said["state"]
        state: str | None = said["state"]
        return state

    monkeypatch.setattr(module, "task_state", task_state)
    return said


def test_a_person_who_ends_the_task_cancels_its_runs_and_no_other(going: Going, task: dict[str, Any]) -> None:
    mine, other = going.start(3), going.start(1)
    kept = trigger(mine, cancel_on_kill=False)
    asyncio.run(kept.on_kill())
    asyncio.run(trigger(mine).cleanup())
    # Another triggerer has taken it over; the DAG run's time is over; Airflow cannot say.
    for state in ("deferred", "skipped", AirflowRuntimeError(NO_ANSWER)):
        task["state"] = state
        asyncio.run(trigger(mine).on_kill())
    assert going.left() == {*mine, *other}
    task["state"] = None  # cleared

    async def play() -> None:
        made = trigger(mine)
        waiting = asyncio.create_task(fired(made))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        killing = asyncio.create_task(made.on_kill())
        await asyncio.sleep(0)
        killing.cancel()  # Airflow does, again and again
        await asyncio.gather(killing, return_exceptions=True)
        await asyncio.gather(*module._KILLING)

    asyncio.run(play())
    assert going.left() == set(other)


def test_cancelling_is_bounded_in_time_and_says_what_may_go_on(
    databricks: RunningWorkspace,
    going: Going,
    task: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_KILL_SECONDS", 1.0)
    run_ids = going.start(4)
    with databricks.faults.added("delay", CANCEL, skip=1, times=0, seconds=30, principal=PRINCIPAL) as held:
        begun = time.monotonic()
        asyncio.run(trigger(run_ids).on_kill())
        assert time.monotonic() - begun < 5
        assert databricks.faults.find(held).hits == 3, "they are cancelled at the same time"
    assert "these runs may go on" in capsys.readouterr().out
