"""Start what had no workflow when it arrived, now that the mapping table has one; a person runs it."""

from datetime import datetime

from airflow import DAG
from airflow.models.param import Param

from databricks_file_arrivals.replays import ReplayOperator

# fmt: off
# [START dag]
with DAG("file_arrivals_replay", schedule=None, start_date=datetime(2026, 1, 1), catchup=False,
         params={"directory": Param("", type="string", description="only this directory and those below it"),
                 "since": Param("", type="string", description="recorded since, such as 2026-05-31T14:00")}):
    ReplayOperator(task_id="replay", log_table="main.ingest.file_log",
                   workflow_mapping_table="main.ingest.workflow_mapping",
                   statuses=["UNMAPPED", "INACTIVE", "NO_SUCH_WORKFLOW"],
                   directory="{{ params.directory }}", since="{{ params.since }}")
# [END dag]
# fmt: on
