"""The trigger, made again from its serialised form and run on an event loop."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any

import pytest

import databricks_file_arrivals.triggers as module
from databricks_file_arrivals.triggers import FileArrivalTrigger
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, connection


def trigger(log_table: str, consumer: str, **changes: Any) -> FileArrivalTrigger:
    """A trigger that has been through the database."""
    given = {
        "log_table": log_table,
        "consumer": consumer,
        "databricks_conn_id": "databricks_default",
        "warehouse_id": None,
        "deadline": (datetime.now(timezone.utc) + timedelta(minutes=5)).isoformat(),
        "poke_interval": 0.2,
    }
    path, arguments = FileArrivalTrigger(**{**given, **changes}).serialize()
    package, _, name = path.rpartition(".")
    return getattr(import_module(package), name)(**arguments)  # type: ignore[no-any-return]


def events(made: FileArrivalTrigger) -> list[dict[str, str]]:
    """All that it fires."""

    async def collect() -> list[dict[str, str]]:
        return [event.payload async for event in made.run()]

    return asyncio.run(asyncio.wait_for(collect(), 120))


@pytest.fixture(autouse=True)
def no_first_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LOOK", 0.0)


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


def test_an_error_that_will_not_pass_fires_at_once(databricks: RunningWorkspace) -> None:
    (event,) = events(trigger("main.nowhere.file_log", "default"))
    assert event["state"] == "error" and "file-arrivals deploy" in event["message"]


def test_an_error_that_may_pass_is_tried_again_before_it_fires(
    databricks: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FAILURES", 2)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.1)
    looks = 0
    look = FileArrivalTrigger._look

    async def counting(self: FileArrivalTrigger, *given: Any) -> str:
        nonlocal looks
        looks += 1
        return await look(self, *given)

    monkeypatch.setattr(FileArrivalTrigger, "_look", counting)
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", connection(databricks, "x", port=9))
    (event,) = events(trigger("main.x.file_log", "default", databricks_conn_id="down"))
    assert event["state"] == "error" and looks == 2


def test_the_first_look_waits_until_the_deferral_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert module.FIRST_LOOK >= 8
