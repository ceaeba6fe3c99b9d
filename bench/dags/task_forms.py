"""Workflows started by Airflow in this process, in one of three forms: run by `tasks`, with an AIRFLOW_HOME
of its own. Prints one JSON object."""

import json
import os
import time
from datetime import datetime
from typing import Any

from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator
from airflow.sdk import DAG

from databricks_file_arrivals.operators import (
    PlanRequestsOperator,
    RunWorkflowOperator,
    TriggerWorkflowsOperator,
)

NAMES: list[str] = json.loads(os.environ["BENCH_WORKFLOWS"])
FORM = os.environ["BENCH_FORM"]
TABLES: dict[str, Any] = {
    "log_table": os.environ["BENCH_LOG_TABLE"],
    "consumer": FORM,
    "start_from": "earliest",
    "workflow_mapping_table": os.environ["BENCH_MAPPING_TABLE"],
}

with DAG("forms", schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:
    if FORM == "one-task":
        TriggerWorkflowsOperator(task_id="trigger", starts_per_second=None, **TABLES)
    elif FORM == "mapped":
        plan = PlanRequestsOperator(task_id="plan", **TABLES)
        RunWorkflowOperator.partial(task_id="run", log_table=TABLES["log_table"], consumer=FORM).expand(
            request=plan.output
        )
    else:
        DatabricksRunNowOperator.partial(
            task_id="run", wait_for_termination=False, deferrable=False
        ).expand_kwargs(
            [
                {
                    "job_name": name,
                    "job_parameters": {"trigger_id": f"stock-{number}"},
                    "idempotency_token": f"stock-{number}-{os.getpid()}",
                }
                for number, name in enumerate(NAMES)
            ]
        )

if __name__ == "__main__":
    begun = time.perf_counter()
    run = dag.test()
    seconds = time.perf_counter() - begun
    ended = [str(each.state) for each in run.get_task_instances()]
    print("FOUND " + json.dumps({"seconds": seconds, "ended": len(ended), "good": ended.count("success")}))
