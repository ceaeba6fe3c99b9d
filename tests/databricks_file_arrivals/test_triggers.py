"""The triggers, made again from their serialised form and run on an event loop."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

import databricks_file_arrivals.triggers as module
from databricks_file_arrivals.compat import EVENT_DRIVEN
from databricks_file_arrivals.core.errors import WorkspaceUnavailable
from databricks_file_arrivals.core.insistence import Insistence
from databricks_file_arrivals.triggers import Failed, FileArrivalEventTrigger, FileArrivalTrigger, pause_after
from databricks_file_arrivals.workspace.watch import Look
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, connection

event_driven = pytest.mark.skipif(not EVENT_DRIVEN, reason="Airflow 2 has no event-driven scheduling")


def rebuilt(made: BaseTrigger) -> Any:
    """A trigger that has been through the database."""
    path, arguments = made.serialize()
    package, _, name = path.rpartition(".")
    return getattr(import_module(package), name)(**arguments)


def trigger(log_table: str, consumer: str, **changes: Any) -> FileArrivalTrigger:
    given = {
        "log_table": log_table,
        "consumer": consumer,
        "databricks_conn_id": "databricks_default",
        "warehouse_id": None,
        "deadline": (datetime.now(timezone.utc) + timedelta(minutes=5)).isoformat(),
        "poke_interval": 0.2,
        "reconcile_every": 3600.0,
        "first_look": 0.0,
    }
    return rebuilt(FileArrivalTrigger(**{**given, **changes}))  # type: ignore[no-any-return]


def event_trigger(log_table: str, consumer: str, **changes: Any) -> FileArrivalEventTrigger:
    given = {
        "log_table": log_table,
        "consumer": consumer,
        "databricks_conn_id": "databricks_default",
        "warehouse_id": None,
        "signal_volume": None,
        "poll_interval": 0.2,
        "reconcile_every": 3600.0,
        "linger": 0.0,
    }
    return rebuilt(FileArrivalEventTrigger(**{**given, **changes}))  # type: ignore[no-any-return]


def events(made: FileArrivalTrigger) -> list[dict[str, str]]:
    """All that it fires."""

    async def collect() -> list[dict[str, str]]:
        return [event.payload async for event in made.run()]

    return asyncio.run(asyncio.wait_for(collect(), 120))


@pytest.fixture(autouse=True)
def no_first_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LOOK", 0.0)


# The sensor's.


def test_it_fires_once_when_something_arrives_while_it_waits(log: Log) -> None:
    consumer = log.consumer()

    async def wait() -> list[dict[str, str]]:
        made = trigger(str(log.names.log), consumer)

        async def collect() -> list[dict[str, str]]:
            return [event.payload async for event in made.run()]

        waiting = asyncio.create_task(collect())
        await asyncio.sleep(2)
        assert not waiting.done()
        await asyncio.to_thread(log.land, {"/in/a": 1})
        return await asyncio.wait_for(waiting, 60)

    (event,) = asyncio.run(wait())
    assert event["state"] == "due" and "not claimed" in event["message"]


def test_it_fires_idle_after_its_deadline(log: Log) -> None:
    past = (datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()
    (event,) = events(trigger(str(log.names.log), log.consumer(), deadline=past))
    assert event["state"] == "idle"


def test_what_arrived_before_the_deadline_is_due_though_it_is_late(log: Log) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})
    past = (datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()
    assert [e["state"] for e in events(trigger(str(log.names.log), consumer, deadline=past))] == ["due"]


def test_it_lingers_before_it_fires(log: Log) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})
    begun = datetime.now()
    assert [e["state"] for e in events(trigger(str(log.names.log), consumer, linger=1.5))] == ["due"]
    assert datetime.now() - begun > timedelta(seconds=1.5)


def test_an_error_that_will_not_pass_fires_at_once(databricks: RunningWorkspace) -> None:
    (event,) = events(trigger("main.nowhere.file_log", "default"))
    assert event["state"] == "error" and "file-arrivals deploy" in event["message"]


def test_what_a_template_made_wrong_is_said(databricks: RunningWorkspace) -> None:
    """Where the run before has failed, the trigger is the first to look."""
    (event,) = events(trigger("main.x.file_log", "default", signal_volume="/tmp/signals"))
    assert event["state"] == "error" and "/tmp/signals" in event["message"]


def test_an_error_that_may_pass_is_tried_again_before_it_fires(
    databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAILURES", 2)
    pauses: list[int] = []

    def pause(failures: int, usual: float) -> float:
        pauses.append(failures)
        return 0.1

    monkeypatch.setattr(module, "pause_after", pause)
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", connection(databricks, "x", port=9))
    (event,) = events(trigger("main.x.file_log", "default", databricks_conn_id="down"))
    assert event["state"] == "error" and pauses == [1]


def test_a_connection_that_is_removed_while_it_waits_is_named(
    log: Log, databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = log.consumer()
    monkeypatch.setattr(module, "pause_after", lambda failures, usual: 0.1)

    async def wait() -> dict[str, str]:
        monkeypatch.setenv("AIRFLOW_CONN_PASSING", connection(databricks, databricks.token("alice")))
        made = trigger(str(log.names.log), consumer, databricks_conn_id="passing")
        waiting = asyncio.ensure_future(anext(made.run()))
        await asyncio.sleep(1.5)
        assert not waiting.done()
        monkeypatch.delenv("AIRFLOW_CONN_PASSING")
        # What may pass makes it read its connection anew.
        lock = {"status": 400, "error_code": "COULD_NOT_ACQUIRE_LOCK", "times": 5}
        databricks.faults.add("error", "POST /api/2.0/sql/statements", principal="alice", **lock)
        return (await asyncio.wait_for(waiting, 100)).payload  # type: ignore[no-any-return]

    event = asyncio.run(wait())
    databricks.faults.clear()
    assert event["state"] == "error" and "airflow connections add passing" in event["message"]


def test_what_is_to_be_looked_at_again_is_told_though_no_file_arrives(log: Log) -> None:
    """As after a replay, whose operator is to come at once."""
    consumer = log.consumer()

    async def wait() -> Any:
        waiting = asyncio.ensure_future(anext(event_trigger(str(log.names.log), consumer).run()))
        await asyncio.sleep(2)
        assert not waiting.done()
        row = log.ledger.consumer(consumer)
        assert row is not None
        await asyncio.to_thread(log.ledger.swap, row, "a replay's", row.cursor)
        return (await asyncio.wait_for(waiting, 60)).payload

    if EVENT_DRIVEN:
        assert "looked at again" in asyncio.run(wait())["message"]


def test_the_first_look_waits_until_the_deferral_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert module.FIRST_LOOK >= 8
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for first_look in (0.0, 30.0):
        with pytest.raises(asyncio.CancelledError):
            events(trigger("main.x.file_log", "default", first_look=first_look))
    assert slept == [module.FIRST_LOOK, 30.0], "no trigger of ours fires before its task's deferral is known"


def test_pauses_grow_and_are_never_shorter_than_usual() -> None:
    assert [pause_after(n, 2.0) for n in (1, 2, 3, 4)] == [5.0, 10.0, 20.0, 40.0]
    assert pause_after(1, 30.0) == 30.0 and pause_after(10**6, 2.0) == 300.0


# The asset's.


async def spoken(made: FileArrivalEventTrigger, looks: AsyncIterator[Look | Failed]) -> list[dict[str, str]]:
    return [event.payload async for event in made.filter_shared_stream(looks)]


async def stream(*looks: Look | Failed | Callable[[], object], pause: float = 0.0) -> AsyncIterator[Any]:
    for look in looks:
        if callable(look):
            await asyncio.to_thread(look)
        else:
            yield look
        await asyncio.sleep(pause)


@event_driven
def test_it_says_so_at_once_again_and_anew_after_a_claim(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Insistence", partial(Insistence, first_pause=600.0))
    consumer = log.consumer()
    one = log.land({"/in/a": 1})

    def claim(batch: int) -> None:
        row = log.ledger.consumer(consumer)
        assert row is not None
        log.ledger.swap(row, f"claim-{batch}", {**row.cursor, one: batch})
        log.ledger.settle(consumer, row.epoch + 1, None, row.epoch + 1, row.now)

    first, second = Look({one: 0}), Look({one: 1})
    looks = stream(
        first, first, lambda: claim(0), first, lambda: log.land({"/in/a": 1}, one), second, second, pause=0.1
    )
    said = asyncio.run(spoken(event_trigger(str(log.names.log), consumer), looks))
    assert [s["message"].split(" of ")[0] for s in said] == ["batch 0", "batch 1"]
    monkeypatch.setattr(module, "Insistence", partial(Insistence, first_pause=1.0))
    again = asyncio.run(spoken(event_trigger(str(log.names.log), consumer), stream(*[second] * 4, pause=0.6)))
    assert 2 <= len(again) <= 3, "a trigger that starts anew says it, and says it again"
    assert again[0] == {"state": "due", "message": said[1]["message"], "log_table": str(log.names.log),
                        "consumer": consumer}  # fmt: skip


@event_driven
def test_polls_that_fail_are_told_rarely_and_nothing_else_is_lost(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = log.consumer()
    stream_id = log.land({"/in/a": 1})
    down = [Failed(WorkspaceUnavailable("down"), n) for n in range(1, 10)]
    said = asyncio.run(
        spoken(event_trigger(str(log.names.log), consumer), stream(*down, Look({stream_id: 0})))
    )
    assert [(s["state"], s["message"][:7]) for s in said] == [("error", "down"), ("due", "batch 0")]


@event_driven
def test_one_poll_serves_all_triggers_of_a_log(log: Log, databricks: RunningWorkspace, admin: Any) -> None:
    shared_stream = pytest.importorskip(
        "airflow.triggers.shared_stream", reason="polls are shared from 3.3 on"
    )
    consumers = [log.consumer() for _ in range(3)]
    made = [event_trigger(str(log.names.log), consumer, poll_interval=0.5) for consumer in consumers]

    def statements() -> int:
        counts = admin.api_client.do("GET", "/local/calls", query={"principal": "alice"})
        return int(counts.get("POST /api/2.0/sql/statements", 0))

    async def watch() -> int:
        manager = shared_stream.SharedStreamManager()
        looks = [
            manager.subscribe(trigger_id=n, trigger=t, key=t.shared_stream_key()) for n, t in enumerate(made)
        ]
        firing = [t.filter_shared_stream(look) for t, look in zip(made, looks, strict=True)]
        waiting = [asyncio.ensure_future(anext(events)) for events in firing]
        await asyncio.sleep(4)
        before = await asyncio.to_thread(statements)
        await asyncio.sleep(3)
        polls = await asyncio.to_thread(statements) - before
        await asyncio.to_thread(log.land, {"/in/a": 1})
        found = await asyncio.wait_for(asyncio.gather(*waiting), 60)
        assert [event.payload["consumer"] for event in found] == consumers
        for n, t in enumerate(made):
            await manager.unsubscribe(n, t.shared_stream_key())
        return polls

    assert 1 <= asyncio.run(watch()) <= 14, "while nothing arrives, three triggers cost two statements a poll"


@event_driven
def test_without_sharing_it_polls_by_itself(log: Log) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})

    async def first() -> Any:
        async for event in event_trigger(str(log.names.log), consumer).run():
            return event.payload

    assert asyncio.run(asyncio.wait_for(first(), 60))["state"] == "due"


@event_driven
def test_a_poll_goes_on_after_failures(databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause_after", lambda failures, usual: 0.05)
    made = event_trigger("main.nowhere.file_log", "default")

    async def some() -> list[Look | Failed]:
        polling = made.open_shared_stream(made.serialize()[1])
        return [await anext(polling) for _ in itertools.repeat(None, 3)]

    found = asyncio.run(asyncio.wait_for(some(), 60))
    assert [each.failures for each in found if isinstance(each, Failed)] == [1, 2, 3]


@event_driven
def test_a_triggerer_without_this_package_fails_what_was_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """What installation says of it; the failure then takes one of the task's tries, as Airflow has it."""
    runner = import_module("airflow.jobs.triggerer_job_runner").TriggerRunner()
    path, _ = trigger("main.a.log", "c").serialize()
    monkeypatch.setitem(sys.modules, module.__name__, None)  # the import fails, as if it were not there
    runner.to_create.append(SimpleNamespace(id=7, classpath=path))
    asyncio.run(runner.create_triggers())
    ((trigger_id, error),) = runner.failed_triggers
    assert trigger_id == 7 and isinstance(error, ImportError) and not runner.triggers
