"""The sensor: passes when something is due, defers when not, and ends an idle stretch as a skip."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.exceptions import TaskDeferred

from databricks_file_arrivals.compat import AirflowException, AirflowSkipException
from databricks_file_arrivals.sensors import FileArrivalSensor
from databricks_file_arrivals.triggers import FileArrivalTrigger
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log

CONTEXT: Any = {}


def sensor(log: Log, **changes: Any) -> FileArrivalSensor:
    return FileArrivalSensor(task_id="arrived", log_table=str(log.names.log), **changes)


def test_it_passes_at_once_when_something_is_due(log: Log) -> None:
    consumer = log.consumer()
    log.land({"/in/a": 1})
    sensor(log, consumer=consumer).execute(CONTEXT)


def test_it_defers_to_a_trigger_with_an_absolute_deadline(log: Log) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(log, consumer=log.consumer(), idle_after=timedelta(minutes=7), poke_interval=9).execute(
            CONTEXT
        )
    made = deferred.value.trigger
    assert isinstance(made, FileArrivalTrigger) and deferred.value.method_name == "resume"
    assert made.poke_interval == 9
    left = datetime.fromisoformat(made.deadline) - datetime.now().astimezone()
    assert timedelta(minutes=6) < left < timedelta(minutes=7)


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
