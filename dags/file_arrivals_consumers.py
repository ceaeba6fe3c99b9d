"""Several consumers of one log: each sees every arrival, and routes it by a mapping table of its own.

Take it in place of file_arrivals: consumers that have the same mapping table start each workflow twice.
"""

from datetime import datetime

from airflow import DAG

from databricks_file_arrivals.operators import TriggerWorkflowsOperator
from databricks_file_arrivals.sensors import FileArrivalSensor

# fmt: off
# [START dag]
MAPPINGS = {
    "load": "main.ingest.workflow_mapping",   # consumer: its mapping table
    "audit": "main.ingest.audit_mapping",
}

for consumer, mapping in MAPPINGS.items():
    with DAG(f"file_arrivals_{consumer}", schedule="@continuous", start_date=datetime(2026, 1, 1),
             catchup=False, max_active_runs=1,
             default_args={"log_table": "main.ingest.file_log", "consumer": consumer}):
        arrived = FileArrivalSensor(task_id="arrived")
        arrived >> TriggerWorkflowsOperator(task_id="trigger", workflow_mapping_table=mapping)
# [END dag]
# fmt: on
