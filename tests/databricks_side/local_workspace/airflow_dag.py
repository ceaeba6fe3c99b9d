"""Run with an AIRFLOW_HOME of its own: the stock hook and operators, unmodified, against a workspace.

Prints one JSON object: what each task ended as, and what the hook read.
"""

import asyncio
import json
import os
from datetime import datetime
from typing import Any

from airflow.providers.databricks.hooks.databricks import DatabricksHook
from airflow.providers.databricks.operators.databricks import (
    DatabricksRunNowOperator,
    DatabricksSQLStatementsOperator,
)
from airflow.sdk import DAG

JOB_ID, FAILING_ID = os.environ["JOB_ID"], os.environ["FAILING_ID"]
JOB_NAME = os.environ["JOB_NAME"]

with DAG("stock", schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:
    DatabricksRunNowOperator(
        task_id="sync",
        job_name=JOB_NAME,
        polling_period_seconds=1,
        job_parameters={"p": "sync"},
    )
    DatabricksRunNowOperator(
        task_id="deferred",
        job_id=JOB_ID,
        deferrable=True,
        polling_period_seconds=1,
        job_parameters={"p": "deferred"},
        idempotency_token=f"deferred-{JOB_ID}",
    )
    DatabricksRunNowOperator(task_id="failing", job_id=FAILING_ID, deferrable=True, polling_period_seconds=1)
    for name, deferrable in (("sql_sync", False), ("sql_deferred", True)):
        DatabricksSQLStatementsOperator(
            task_id=name,
            statement="SELECT count(*) FROM range(10)",
            warehouse_id="local",
            deferrable=deferrable,
            polling_period_seconds=1,
            wait_for_termination=True,
        )
    DatabricksSQLStatementsOperator(
        task_id="sql_failing",
        statement="SELECT * FROM main.default.nope",
        warehouse_id="local",
        polling_period_seconds=1,
    )


async def _read_later(run_id: int) -> dict[str, Any]:
    async with DatabricksHook() as hook:
        state = await hook.a_get_run_state(run_id)
        return {"state": state.result_state, "url": await hook.a_get_run_page_url(run_id)}


def main() -> None:
    """Run the DAG, then read with the hook what it did, synchronously and not."""
    hook = DatabricksHook()
    connected, message = hook.test_connection()
    run = dag.test()
    tasks = {each.task_id: str(each.state) for each in run.get_task_instances()}
    run_id = hook.run_now({"job_id": JOB_ID, "idempotency_token": f"deferred-{JOB_ID}"})
    later = asyncio.run(_read_later(run_id))
    found = {
        "connected": connected,
        "message": message,
        "tasks": tasks,
        "jobs": [job["job_id"] for job in hook.list_jobs(job_name=JOB_NAME)],
        "found": hook.find_job_id_by_name(JOB_NAME),
        "parameters": hook.get_run(run_id)["job_parameters"],
        "later": later,
    }
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main()
