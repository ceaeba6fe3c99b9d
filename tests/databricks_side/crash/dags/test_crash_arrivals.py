"""The DAG of the crash test parses, and is the ready one with less patience."""

from __future__ import annotations

from airflow.dag_processing.dagbag import DagBag
from crash.stage import DAG_ID, DAGS


def test_it_is_the_sensor_and_the_operator() -> None:
    bag = DagBag(DAGS)
    assert not bag.import_errors
    dag = bag.dags[DAG_ID]
    assert dag.max_active_runs == 1 and not dag.catchup
    arrived, trigger = dag.get_task("arrived"), dag.get_task("trigger")
    assert arrived.downstream_task_ids == {"trigger"}
    assert (arrived.retries, trigger.retries) == (5, 5) and not trigger.retry_exponential_backoff
