"""What compat.py gives is the same on every version: `make matrix` runs this on each of them."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.databricks.hooks.databricks import DatabricksHook

from databricks_file_arrivals import compat

PROXIES = {"https": "http://proxy.example:3128"}


def test_every_name_is_there() -> None:
    watched = [] if compat.EVENT_DRIVEN else ["AssetWatcher"]
    assert [name for name in compat.__all__ if getattr(compat, name, None) is None] == watched


def test_the_exceptions_are_those_that_airflow_acts_on() -> None:
    for kind in (compat.AirflowFailException, compat.AirflowSkipException, compat.AirflowNotFoundException):
        assert issubclass(kind, compat.AirflowException)
    assert issubclass(compat.BaseSensorOperator, compat.BaseOperator)


def test_a_connection_is_fetched_on_the_event_loop(airflow_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "databricks", "host": "h"}))
    found = asyncio.run(compat.get_async_connection(DatabricksHook("mine"), "mine"))
    assert (found.conn_id, found.host) == ("mine", "h")
    with pytest.raises(compat.AirflowNotFoundException):
        asyncio.run(compat.get_async_connection(DatabricksHook("mine"), "no such connection"))


def test_a_retry_begins_anew_whatever_the_try_before_waited_for() -> None:
    class Waits(compat.ResumesItsTry, compat.BaseOperator):
        def execute(self, context: Any) -> str:
            return "anew"

        def resume(self, context: Any, event: str) -> str:
            return event

    def in_try(number: int) -> Any:
        return {"ti": SimpleNamespace(try_number=number)}

    def go_on(deferred: int, resumed: int) -> Any:
        given = {"event": "ended", **compat.of_this_try(in_try(deferred))}
        return Waits(task_id="t").resume_execution("resume", given, in_try(resumed))

    # Airflow 2 begins a retry anew by itself; `execute` may not be called from there.
    of_another = "anew" if compat.EVENT_DRIVEN else "ended"
    assert (go_on(1, 1), go_on(2, 2), go_on(1, 2)) == ("ended", "ended", of_another)


@pytest.mark.skipif(not compat.EVENT_DRIVEN, reason="triggers of Airflow 2 cannot ask, and need not")
async def test_a_trigger_asks_for_the_state_of_its_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = importlib.import_module("airflow.sdk.execution_time.task_runner").RuntimeTaskInstance
    asked: list[dict[str, Any]] = []

    def states(**given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"r": {"t": "deferred", "t_2": None}}

    monkeypatch.setattr(runtime, "get_task_states", states)
    for map_index, state in ((-1, "deferred"), (2, None)):
        ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=map_index)
        assert await compat.task_state(SimpleNamespace(task_instance=ti)) == state
    assert [given["map_index"] for given in asked] == [None, 2]


class OlderHook:
    """As hooks are before Airflow 3.1: both the connection and its extra are refused on an event loop."""

    def get_connection(self, conn_id: str) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return self

    conn_id, host, schema, port, login, password = "mine", "h", None, None, None, "secret"

    @property
    def extra_dejson(self) -> dict[str, str]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return {"http_path": "/w"}


async def test_an_older_hooks_connection_is_read_off_the_loop() -> None:
    found = await compat.get_async_connection(OlderHook(), "mine")
    assert (found.host, found.password, found.extra_dejson) == ("h", "secret", {"http_path": "/w"})
    assert "secret" not in repr(found)


def test_the_stock_provider_that_tells_jobs_nothing_is_named_once_and_stops_no_claim(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "inject_openlineage_context_into_databricks_job_parameters"
    monkeypatch.delattr(
        importlib.import_module("airflow.providers.databricks.utils.openlineage"), name, False
    )
    compat._say_that_jobs_are_not_told.cache_clear()
    nobody: Any = {}
    with caplog.at_level(logging.WARNING, logger="databricks_file_arrivals"):
        assert [compat.lineage_parameters(nobody), compat.lineage_parameters(nobody)] == [{}, {}]
    assert caplog.text.count("7.23 or later") == 1


def test_proxies_are_those_of_the_stock_hook_where_it_knows_them(
    airflow_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: dict[str, Any] = {"conn_type": "databricks", "host": "h"}
    monkeypatch.setenv("AIRFLOW_CONN_DIRECT", json.dumps(parts))
    monkeypatch.setenv("AIRFLOW_CONN_PROXIED", json.dumps({**parts, "extra": {"proxies": PROXIES}}))
    known = hasattr(DatabricksHook, "proxies")
    assert compat.proxies(DatabricksHook("direct")) == {}
    assert compat.proxies(DatabricksHook("proxied")) == (PROXIES if known else {})
    assert compat.proxies(SimpleNamespace()) == {}


def test_polls_that_failed_are_found_among_what_triggered_a_run() -> None:
    def event(**payload: str) -> Any:
        return SimpleNamespace(extra={"from_trigger": True, "payload": payload})

    events = [event(state="due", message="a"), event(state="error", message="b"), SimpleNamespace(extra={})]
    assert compat.failed_polls({"triggering_asset_events": {"x": events}}) == ["b"]
    assert compat.failed_polls({}) == []
