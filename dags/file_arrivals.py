"""Start the mapped Databricks job for each batch of arriving files."""

from datetime import datetime

from airflow import DAG

from databricks_file_arrivals.operators import TriggerWorkflowsOperator
from databricks_file_arrivals.sensors import FileArrivalSensor

# fmt: off
# [START dag]
with DAG("file_arrivals", schedule="@continuous", start_date=datetime(2026, 1, 1), catchup=False,
         max_active_runs=1, default_args={"log_table": "main.ingest.file_log",
                                          "workflow_mapping_table": "main.ingest.workflow_mapping"}):
    FileArrivalSensor(task_id="arrived") >> TriggerWorkflowsOperator(task_id="trigger")
# [END dag]
# fmt: on
