"""The asset to schedule DAGs on: what it is made of, and what it refuses while a DAG is parsed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databricks_file_arrivals import compat
from databricks_file_arrivals.assets import file_arrival_asset
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.triggers import FileArrivalEventTrigger

event_driven = pytest.mark.skipif(not compat.EVENT_DRIVEN, reason="Airflow 2 has no event-driven scheduling")


def trigger(**given: Any) -> FileArrivalEventTrigger:
    made: Any = file_arrival_asset("files", log_table="main.ingest.file_log", **given)
    (watcher,) = made.watchers
    found: FileArrivalEventTrigger = watcher.trigger
    return found


@event_driven
def test_it_watches_by_a_trigger_of_its_consumer() -> None:
    made = trigger(
        consumer="audit", dry_run=True, linger=timedelta(seconds=5), reconcile_every=timedelta(minutes=9)
    )
    assert (made.consumer, made.linger, made.reconcile_every) == ("audit-dry-run", 5.0, 540.0)
    assert trigger().consumer == "default" and trigger(linger=5).linger == 5.0


@event_driven
def test_it_looks_often_where_that_costs_nothing() -> None:
    assert trigger().poll_interval == 30.0
    assert trigger(signal_volume="/Volumes/main/ingest/signals").poll_interval == 2.0
    assert trigger(poll_interval=7).poll_interval == 7


@event_driven
def test_consumers_of_one_log_share_a_poll_and_others_do_not() -> None:
    one, other = trigger(consumer="a"), trigger(consumer="b", linger=timedelta(seconds=3))
    assert one.shared_stream_key() == other.shared_stream_key()
    assert one.shared_stream_key() != trigger(warehouse_id="w").shared_stream_key()


@event_driven
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"log_table": "a.b.c.d"}, "does not name a table"),
        ({"signal_volume": "/tmp/x"}, "/Volumes/catalog"),
        ({"poll_interval": 0}, "poll_interval is 0"),
    ],
)
def test_what_cannot_be_used_is_an_error_of_the_dag_file(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        file_arrival_asset("files", **{"log_table": "main.ingest.file_log", **given})


def test_on_airflow_2_it_names_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "EVENT_DRIVEN", False)
    with pytest.raises(BadInput, match="Use FileArrivalSensor"):
        file_arrival_asset("files", log_table="main.ingest.file_log")
