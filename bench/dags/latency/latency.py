"""The two ways to start, as small as they can be, without lingering; of a consumer of its own each."""

import os
from datetime import datetime, timedelta

from airflow import DAG

from databricks_file_arrivals.assets import file_arrival_asset
from databricks_file_arrivals.operators import TriggerWorkflowsOperator
from databricks_file_arrivals.sensors import FileArrivalSensor

LOG = {"log_table": os.environ["LATENCY_LOG_TABLE"], "signal_volume": os.environ["LATENCY_SIGNALS"]}
MAPPING = os.environ["LATENCY_MAPPING_TABLE"]
ALWAYS = {"start_date": datetime(2026, 1, 1), "catchup": False, "max_active_runs": 1}

arrivals = file_arrival_asset("latency", consumer="event", poll_interval=1, **LOG)

with DAG("event", schedule=[arrivals], **ALWAYS, default_args={**LOG, "consumer": "event"}):
    TriggerWorkflowsOperator(task_id="trigger", workflow_mapping_table=MAPPING, start_from="earliest")

with DAG("sensor", schedule="@continuous", **ALWAYS, default_args={**LOG, "consumer": "sensor"}):
    arrived = FileArrivalSensor(task_id="arrived", poke_interval=1, linger=timedelta(0))
    arrived >> TriggerWorkflowsOperator(
        task_id="trigger", workflow_mapping_table=MAPPING, start_from="earliest"
    )
