"""Each workflow as a task instance of its own, with its retries, log and links, watched to its end.

It has a consumer of its own. To change from file_arrivals to it, leave the consumer out here and pause
that one: two consumers start each workflow twice.
"""

from datetime import datetime

from airflow import DAG

from databricks_file_arrivals.operators import PlanRequestsOperator, RunWorkflowOperator
from databricks_file_arrivals.sensors import FileArrivalSensor

# fmt: off
# [START dag]
LOG = {"log_table": "main.ingest.file_log", "consumer": "by_workflow"}

with DAG("file_arrivals_by_workflow", schedule="@continuous", start_date=datetime(2026, 1, 1), catchup=False,
         max_active_runs=1, default_args=LOG):
    plan = PlanRequestsOperator(task_id="plan", workflow_mapping_table="main.ingest.workflow_mapping")
    run = RunWorkflowOperator.partial(task_id="run", wait_for_completion=True).expand(request=plan.output)
    FileArrivalSensor(task_id="arrived") >> plan >> run
# [END dag]
# fmt: on
