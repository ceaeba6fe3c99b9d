"""How fast workflows are started, and in how many calls: ours, the seed's way, and one stock task each.

All of them start jobs of the same local workspace, a real server on a socket, with a user's token and grants;
each of its calls is answered 20 ms late (its own fault switch), as a workspace in the same region would.
Ours starts 1,000, each a workflow of its own; the others a slice, because their time grows with the number.

- Ours: `JobsApi`, what the operator uses, from 1,000 names to 1,000 run ids, 16 connections, and no limit of
  starts a second. The default limit, 15 a second, stays under what Databricks documents, so on Databricks
  this measures the client, not what a workspace would take.
- The seed's way, with the SDK: for each row list by name, get, list_runs, run_now, one after the other.
- Stock: a task of DatabricksRunNowOperator for each workflow (job_name, job_parameters, idempotency_token,
  wait_for_termination=False, deferrable=False, all else as it comes) in one `dag.test()`: no scheduler and no
  executor, which in a deployment add their own time to each task.

The workspace accepts and queues runs, and starts no process for them (`--processes 0`): on Databricks, too,
they run elsewhere than where they are accepted. Client and server share this machine's processors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import (
    JobAccessControlRequest,
    JobParameterDefinition,
    JobPermissionLevel,
    QueueSettings,
    SparkPythonTask,
    Task,
)

from bench.report import publish
from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

USER = "airflow"
STOCK_TASKS = Path(__file__).parent / "dags" / "stock_tasks.py"
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Way:
    """What one way of starting took: all of it, and the starts alone where they can be told apart."""

    name: str
    starts: int
    seconds: float
    calls: int
    names_seconds: float = 0.0
    name_calls: int = 0

    def row(self, seeds: float) -> dict[str, Any]:
        """The line of the table; `seeds` is the rate of the seed's way."""
        rate = self.starts / self.seconds
        return {
            "way": self.name,
            "starts": self.starts,
            "seconds": round(self.seconds, 2),
            "starts/s": round(rate, 1),
            "without names": round(self.starts / (self.seconds - self.names_seconds), 1),
            "calls/start": round((self.calls - self.name_calls) / self.starts, 2),
            "calls for names": self.name_calls,
            "times the seed": round(rate / seeds, 1),
        }


class Bench:
    """A workspace with many jobs, and the ways to start them."""

    def __init__(self, workspace: RunningWorkspace, names: list[str]) -> None:
        self._workspace = workspace
        self._names = names
        self._admin = WorkspaceClient(host=workspace.url, token=workspace.token())

    def make_jobs(self) -> None:
        """A job for each name, with a queue, which the user may start."""
        grant = JobAccessControlRequest(user_name=USER, permission_level=JobPermissionLevel.CAN_MANAGE_RUN)
        for name in self._names:
            self._admin.jobs.create(
                name=name,
                max_concurrent_runs=1,
                tasks=[Task(task_key="t", spark_python_task=SparkPythonTask(python_file="/none.py"))],
                parameters=[JobParameterDefinition(name="trigger_id", default="")],
                queue=QueueSettings(enabled=True),
                access_control_list=[grant],
            )

    def calls(self) -> int:
        """How many calls the user has made so far."""
        counts = self._admin.api_client.do("GET", "/local/calls", query={"principal": USER})
        assert isinstance(counts, dict)
        return sum(counts.values())

    def ours(self) -> Way:
        """What the operator does between plan and record."""
        from databricks_file_arrivals.core.outcomes import LogRow, Status
        from databricks_file_arrivals.hooks import FileArrivalsHook
        from databricks_file_arrivals.workspace.exchange import Call
        from databricks_file_arrivals.workspace.jobs import JobsApi

        hook = FileArrivalsHook()
        hook.call(Call("GET", "2.0/preview/scim/v2/Me"))  # what is imported or read once is not measured
        api = JobsApi(hook, CONNECTIONS, None)
        before, begun = self.calls(), time.perf_counter()
        jobs = api.jobs_named(self._names)
        found, named = self.calls(), time.perf_counter()
        rows = [
            LogRow(
                status=Status.PLANNED,
                consumer="bench",
                claim_id="bench",
                epoch=1,
                job_id=jobs[name][0].job_id,
                trigger_id=(token := uuid.uuid4().hex),
                job_parameters={"trigger_id": token},
            )
            for name in self._names
        ]
        runs = api.start(rows)
        ended = time.perf_counter()
        assert len({run for run in runs if isinstance(run, int)}) == len(rows), runs
        after, names = self.calls(), f"ours, {CONNECTIONS} connections"
        return Way(names, len(rows), ended - begun, after - before, named - begun, found - before)

    def seeds(self, count: int) -> Way:
        """Four calls for each row, one after the other."""
        client = WorkspaceClient(host=self._workspace.url, token=self._workspace.token(USER))
        client.current_user.me()
        before, begun = self.calls(), time.perf_counter()
        for name in self._names[:count]:
            (job,) = client.jobs.list(name=name)
            assert job.job_id is not None
            client.jobs.get(job.job_id)
            list(client.jobs.list_runs(job_id=job.job_id, active_only=True))
            client.jobs.run_now(job.job_id, job_parameters={"trigger_id": "seed"})
        return Way("the seed's way", count, time.perf_counter() - begun, self.calls() - before)

    def stock(self, count: int) -> Way:
        """A task each."""
        before = self.calls()
        done = subprocess.run(
            [sys.executable, str(STOCK_TASKS)],
            env={**os.environ, "BENCH_WORKFLOWS": json.dumps(self._names[:count])},
            capture_output=True,
            text=True,
        )
        found = [line.removeprefix("FOUND ") for line in done.stdout.splitlines() if "FOUND " in line[:6]]
        assert found, done.stderr[-3000:]
        told = json.loads(found[0])
        assert told["succeeded"] == count, told
        return Way("a stock task each", count, told["seconds"], self.calls() - before)


@contextmanager
def airflow(workspace: RunningWorkspace) -> Iterator[None]:
    """An Airflow home with its database, and the connection to the workspace."""
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as home:
        os.environ["AIRFLOW_HOME"] = home
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(STOCK_TASKS.parent)
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
        os.environ["AIRFLOW_CONN_DATABRICKS_DEFAULT"] = json.dumps(
            {
                "conn_type": "databricks",
                "host": "127.0.0.1",
                "port": workspace.port,
                "schema": "http",
                "password": workspace.token(USER),
                "extra": {"http_path": f"/sql/1.0/warehouses/{workspace.warehouse_id}"},
            }
        )
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
        yield


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="workflows (default: %(default)s)")
    parser.add_argument("--slice", type=int, default=100, help="for the others (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds added to each call")
    given = parser.parse_args()
    setup()
    with (
        tempfile.TemporaryDirectory(prefix="bench-workspace-") as folder,
        running_workspace(
            Path(folder) / "state", principals=[USER], options=["--processes", "0"], faults=True
        ) as workspace,
        airflow(workspace),
    ):
        bench = Bench(workspace, [f"load {number:04}" for number in range(given.count)])
        bench.make_jobs()
        workspace.faults.add("delay", "* /api/2.*", times=0, seconds=given.latency, principal=USER)
        ours = bench.ours()
        seeds, stock = bench.seeds(given.slice), bench.stock(given.slice)
    rate = seeds.starts / seeds.seconds
    publish(
        "starts",
        f"Starting {given.count:,} workflows, {given.latency * 1000:.0f} ms added to each call",
        [way.row(rate) for way in (ours, seeds, stock)],
        latency_ms=given.latency * 1000,
        connections=CONNECTIONS,
    )


if __name__ == "__main__":
    main()
