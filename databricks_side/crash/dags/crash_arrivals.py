"""The ready DAG, impatient: it looks every second and tries again at once, so that it can die often."""

from datetime import datetime, timedelta

from airflow import DAG

from databricks_file_arrivals.operators import TriggerWorkflowsOperator
from databricks_file_arrivals.sensors import FileArrivalSensor

SOON = {"retries": 5, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": False}
LOG_TABLE = "main.ingest.file_log"
MAPPING_TABLE = "main.ingest.workflow_mapping"

with DAG(
    "crash_arrivals",
    schedule="@continuous",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=SOON,
):
    arrived = FileArrivalSensor(
        task_id="arrived", log_table=LOG_TABLE, poke_interval=1, idle_after=timedelta(minutes=2)
    )
    arrived >> TriggerWorkflowsOperator(
        task_id="trigger", log_table=LOG_TABLE, workflow_mapping_table=MAPPING_TABLE
    )
