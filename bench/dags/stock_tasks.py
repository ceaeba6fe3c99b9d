"""One stock DatabricksRunNowOperator task for each workflow, run by Airflow in this process: started by
`starts`, with an AIRFLOW_HOME of its own. Prints one JSON object."""

import json
import os
import time
from datetime import datetime

from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator
from airflow.sdk import DAG

NAMES: list[str] = json.loads(os.environ["BENCH_WORKFLOWS"])

with DAG("stock", schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:
    for number, name in enumerate(NAMES):
        DatabricksRunNowOperator(
            task_id=f"t{number}",
            job_name=name,
            job_parameters={"trigger_id": f"stock-{number}"},
            idempotency_token=f"stock-{number}-{os.getpid()}",
            wait_for_termination=False,
            deferrable=False,
        )

if __name__ == "__main__":
    begun = time.perf_counter()
    run = dag.test()
    seconds = time.perf_counter() - begun
    ended = [str(each.state) for each in run.get_task_instances()]
    print("FOUND " + json.dumps({"seconds": seconds, "succeeded": ended.count("success")}))
