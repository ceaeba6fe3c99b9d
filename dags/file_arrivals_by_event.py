"""Start the mapped Databricks jobs when files have arrived, by an event; Airflow 3.0 or later."""

from datetime import datetime

from airflow import DAG

from databricks_file_arrivals.assets import file_arrival_asset
from databricks_file_arrivals.operators import TriggerWorkflowsOperator

LOG = "main.ingest.file_log"
SIGNALS = "/Volumes/main/ingest/signals"

# fmt: off
# [START dag]
arrivals = file_arrival_asset("file_arrivals", log_table=LOG, signal_volume=SIGNALS)

with DAG("file_arrivals_by_event", schedule=[arrivals], start_date=datetime(2026, 1, 1), catchup=False,
         max_active_runs=1):
    TriggerWorkflowsOperator(task_id="trigger", log_table=LOG, signal_volume=SIGNALS,
                             workflow_mapping_table="main.ingest.workflow_mapping")
# [END dag]
# fmt: on
