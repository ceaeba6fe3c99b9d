"""What operators have in common: the pointer that they leave, and how they fail at their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from databricks_file_arrivals.compat import AirflowException, AirflowFailException
from databricks_file_arrivals.core.signals import ConsumerPointer, SignalVolume
from databricks_file_arrivals.tasks import fail_at_end
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.files import read_file
from databricks_file_arrivals.workspace.starts import Report
from tests.airflow_side import Log, Signals
from tests.airflow_versions import load_dag, run_dag
from tests.conftest import DAG_FOLDERS

SOURCE = """
from datetime import datetime
from airflow import DAG
from databricks_file_arrivals.operators import TriggerWorkflowsOperator

with DAG("pointing", schedule=None, start_date=datetime(2026, 1, 1)):
    TriggerWorkflowsOperator(task_id="trigger", **{arguments!r})
"""


def test_the_pointer_is_where_the_consumer_is_and_never_fails_a_claim(
    airflow_db: str, log: Log, new_signals: Callable[[], Signals], jobs: dict[str, int], admin: Any
) -> None:
    signals, consumer = new_signals(), log.consumer()
    arguments = {
        "log_table": str(log.names.log),
        "workflow_mapping_table": str(log.names.mapping),
        "consumer": consumer,
        "signal_volume": signals.path,
    }
    file = DAG_FOLDERS["written"] / "pointing.py"
    file.write_text(SOURCE.format(arguments=arguments))
    stream = log.land({"/in/tasks": 1})
    assert run_dag(load_dag(file)).state == "success"
    row = log.ledger.consumer(consumer)
    path = SignalVolume.parse(signals.path).consumer(consumer)
    pointer = ConsumerPointer.parse(run(read_file(path), log.hook.call))
    assert row is not None and pointer.cursor == row.cursor and row.cursor[stream] == 0
    assert (pointer.epoch, pointer.next_due, pointer.log_table) == (
        row.epoch,
        row.next_due,
        str(log.names.log),
    )
    change = {"principal": "account users", "remove": ["WRITE_VOLUME"]}
    admin.api_client.do(
        "PATCH",
        f"/api/2.1/unity-catalog/permissions/volume/{signals.full_name}",
        body={"changes": [change]},
    )
    log.land({"/in/tasks": 1}, stream)
    assert run_dag(load_dag(file)).state == "success"
    assert ConsumerPointer.parse(run(read_file(path), log.hook.call)) == pointer, "it may not be written"


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        (Report(refused=["a"]), AirflowFailException),
        (Report(refused=["a"], unavailable=["b"]), AirflowException),
    ],
)
def test_a_refusal_is_not_retried_and_an_outage_is(report: Report, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        fail_at_end(report)
    assert type(raised.value) is kind and "1 refused" in str(raised.value)
    fail_at_end(Report())
