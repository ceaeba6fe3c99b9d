"""The sensor: passes when something is due, defers when not, and ends an idle stretch as a skip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import TaskDeferred

from databricks_file_arrivals.compat import AirflowException, AirflowSkipException
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.signals import ConsumerPointer
from databricks_file_arrivals.sensors import FileArrivalSensor
from databricks_file_arrivals.triggers import FileArrivalTrigger
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.files import write_file
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, Signals

CONTEXT: Any = {"ti": SimpleNamespace(try_number=1)}


def sensor(log: Log, **changes: Any) -> FileArrivalSensor:
    return FileArrivalSensor(task_id="arrived", log_table=str(log.names.log), **changes)


def deferred(made: FileArrivalSensor, context: Any = CONTEXT) -> FileArrivalTrigger:
    """The trigger that it defers to."""
    with pytest.raises(TaskDeferred) as raised:
        made.execute(context)
    assert isinstance(raised.value.trigger, FileArrivalTrigger) and raised.value.method_name == "resume"
    return raised.value.trigger


def test_what_is_due_passes_at_once_unless_it_lingers(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})
    sensor(log, consumer=consumer).execute(CONTEXT)
    monkeypatch.delenv("AIRFLOW__FILE_ARRIVALS__LINGER")
    sensor(log, consumer=consumer, linger=0).execute(CONTEXT)
    lingering = deferred(sensor(log, consumer=consumer))
    assert (lingering.first_look, lingering.linger) == (30.0, 0.0), "it has been seen: it lingers once"


def test_with_a_signal_volume_nothing_is_asked_of_the_warehouse_while_nothing_is_new(
    log: Log, databricks: RunningWorkspace, new_signals: Callable[[], Signals]
) -> None:
    signals, consumer = new_signals(), log.consumer()
    row = log.ledger.consumer(consumer)
    assert row is not None
    pointer = ConsumerPointer(str(log.names.log), consumer, row.epoch, row.cursor)
    run(write_file(f"{signals.path}/consumers/{consumer}.json", pointer.text().encode()), log.hook.call)
    stream = log.land({"/in/a": 1})
    signals.point(log, "other", -1)
    with databricks.faults.added(
        "error", "POST /api/2.0/sql/statements", status=503, times=0, principal="alice"
    ):
        made = deferred(sensor(log, consumer=consumer, signal_volume=signals.path, linger=7))
    assert (made.signal_volume, made.first_look, made.linger) == (signals.path, 0.0, 7.0)
    signals.point(log, stream, 0)
    sensor(log, consumer=consumer, signal_volume=signals.path, linger=0).execute(CONTEXT)


@dataclass
class Ended:
    """A DAG run, and a task instance that knows it as the one before."""

    state: str
    end_date: datetime
    start_date: datetime
    try_number: int = 1

    def get_previous_dagrun(self) -> Ended:
        return self


@pytest.mark.parametrize(
    ("state", "failing", "ago", "pause"),
    [
        ("success", 300, 5, 0),
        ("failed", 1, 5, 25),
        ("failed", 300, 5, 295),
        ("failed", 300, 400, 0),
        ("failed", 86_400, 5, 595),
        ("failed", None, 5, 115),
    ],
)
def test_after_a_failed_run_it_waits_before_it_looks(
    log: Log, state: str, failing: int | None, ago: int, pause: int
) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})
    end = datetime.now(timezone.utc) - timedelta(seconds=ago)
    before = Ended(state, end, end)
    succeeded = None if failing is None else end - timedelta(seconds=failing)
    context: Any = {"ti": before, "prev_end_date_success": succeeded}
    made = sensor(log, consumer=consumer, linger=0)
    if not pause:
        made.execute(context)
    else:
        assert deferred(made, context).first_look == pytest.approx(pause, abs=1)


def test_it_defers_to_a_trigger_with_an_absolute_deadline(log: Log) -> None:
    made = deferred(sensor(log, consumer=log.consumer(), idle_after=timedelta(minutes=7), poke_interval=9))
    assert made.poke_interval == 9
    left = datetime.fromisoformat(made.deadline) - datetime.now().astimezone()
    assert timedelta(minutes=6) < left < timedelta(minutes=7)


def test_a_pause_between_looks_is_one() -> None:
    with pytest.raises(BadInput, match="poke_interval is 0"):
        FileArrivalSensor(task_id="wait", log_table="main.a.log", poke_interval=0)


def test_what_the_trigger_says_decides(log: Log) -> None:
    made = sensor(log)
    made.resume(CONTEXT, {"state": "due", "message": "m"})
    with pytest.raises(AirflowSkipException, match="idle"):
        made.resume(CONTEXT, {"state": "idle", "message": "idle"})
    with pytest.raises(AirflowException, match="broken"):
        made.resume(CONTEXT, {"state": "error", "message": "broken"})


def test_without_deferral_an_idle_stretch_is_a_skip_too(log: Log) -> None:
    made = sensor(log, consumer=log.consumer(), deferrable=False, idle_after=0, poke_interval=0.1)
    with pytest.raises(AirflowSkipException, match="nothing arrived"):
        made.execute(CONTEXT)


def test_an_error_says_what_to_do_and_is_retried(databricks: RunningWorkspace) -> None:
    made = FileArrivalSensor(task_id="arrived", log_table="main.nowhere.file_log")
    with pytest.raises(AirflowException, match="file-arrivals deploy") as raised:
        made.execute(CONTEXT)
    assert type(raised.value) is AirflowException
    assert made.retries is not None and made.retries >= 1 and made.retry_exponential_backoff


@pytest.mark.parametrize("name", ["main.x.y.z", "main..log", "log; DROP TABLE x", ""])
def test_a_bad_table_name_is_named(databricks: RunningWorkspace, name: str) -> None:
    with pytest.raises(AirflowException, match="does not name a table"):
        FileArrivalSensor(task_id="arrived", log_table=name).execute(CONTEXT)


def test_reschedule_mode_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match="deferrable=True"):
        sensor(log, mode="reschedule")


def test_arguments_of_the_dag_are_taken() -> None:
    defaults = {"log_table": "main.a.b", "workflow_mapping_table": "main.a.c", "retries": 1}
    made = FileArrivalSensor(task_id="arrived", default_args=defaults)  # type: ignore[call-arg]  # the DAG's
    assert made.log_table == "main.a.b" and made.retries == 1
