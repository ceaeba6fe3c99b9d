"""What it costs a triggerer to wait for 2,000 runs: one trigger for all of them, and one for each.

The runs are accepted and queued by a local workspace that starts no process for them (`--processes 0`), so
all of them are waited for all of the time; each of its calls is answered 20 ms late (its own fault switch).
All triggers poll every 30 seconds. Those that wait for one run each are let go one after the other over the
first 30 seconds, because in a deployment they are not deferred all at once.

- One trigger: RunsTrigger with 2,000 run ids, what TriggerWorkflowsOperator waits with.
- Ours, one each: RunsTrigger with one run id, what the tasks of the mapped form wait with.
- Stock, one each: DatabricksExecutionTrigger, what a DatabricksRunNowOperator task waits with.

Beside them, on the same event loop, a coroutine asks to be woken every 10 ms and notes how late it is: so
late is every other trigger of the triggerer. The first line is the loop with nothing else on it. Calls are
those that the workspace counted. Server and triggers share this machine's processors.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import (
    JobAccessControlRequest,
    JobPermissionLevel,
    QueueSettings,
    SparkPythonTask,
    Task,
)

from bench.report import publish
from bench.starts import USER, airflow
from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

TICK = 0.01
POLL = 30.0
JOBS = 4  # Databricks, and the local workspace, queue 1,000 runs of a job at most


@dataclass(frozen=True, slots=True)
class Way:
    """What one way of waiting did in a while."""

    name: str
    triggers: int
    seconds: float
    calls: int
    cpu_seconds: float
    late: Sequence[float]
    """By how many seconds each tick was late."""
    mib: float

    def row(self, one: Way) -> dict[str, Any]:
        """The line of the table; `one` is the way with one trigger for all."""
        cuts = quantiles(self.late, n=100)
        rate = self.calls / self.seconds * 60
        ours = one.calls / one.seconds * 60
        return {
            "way": self.name,
            "triggers": self.triggers,
            "calls/min": round(rate),
            "times one": round(rate / ours, 1) if self.triggers else None,
            "late p50 ms": round(cuts[49] * 1000, 1),
            "p99 ms": round(cuts[98] * 1000, 1),
            "max ms": round(max(self.late) * 1000, 1),
            "cpu s/min": round(self.cpu_seconds / self.seconds * 60, 2),
            "MiB more": round(self.mib),
        }


class Bench:
    """A workspace with runs that do not end, and triggers that wait for them."""

    def __init__(self, workspace: RunningWorkspace, seconds: float) -> None:
        self._admin = WorkspaceClient(host=workspace.url, token=workspace.token())
        self._seconds = seconds

    def start_runs(self, count: int) -> list[int]:
        """Start so many runs, of a few jobs that the user may see."""
        from databricks_file_arrivals.hooks import FileArrivalsHook
        from databricks_file_arrivals.workspace.exchange import Call, run_all

        grant = JobAccessControlRequest(user_name=USER, permission_level=JobPermissionLevel.CAN_MANAGE_RUN)
        jobs = [
            self._admin.jobs.create(
                name=f"waits {number}",
                max_concurrent_runs=1,
                tasks=[Task(task_key="t", spark_python_task=SparkPythonTask(python_file="/none.py"))],
                queue=QueueSettings(enabled=True),
                access_control_list=[grant],
            ).job_id
            for number in range(JOBS)
        ]

        def start(number: int) -> Any:
            return (yield Call("POST", "2.2/jobs/run-now", {"job_id": jobs[number % JOBS]}))["run_id"]

        found = run_all([start(number) for number in range(count)], FileArrivalsHook().call, 16)
        return [run_id for run_id in found if isinstance(run_id, int)]

    def watch(self, name: str, makers: Sequence[Callable[[], Any]]) -> Way:
        """Let triggers wait for a while."""
        return asyncio.run(self._watch(name, makers))

    async def _watch(self, name: str, makers: Sequence[Callable[[], Any]]) -> Way:
        before = psutil.Process().memory_info().rss
        waiting = []
        for made in [make() for make in makers]:
            waiting.append(asyncio.create_task(_exhaust(made)))
            await asyncio.sleep(POLL / len(makers) if len(makers) > 1 else 0)
        # The first look comes after 8 s, and what it leaves behind belongs to no minute of many.
        await asyncio.sleep(10 if makers else 0)
        late: list[float] = []
        ticking = asyncio.create_task(_tick(late))
        calls, busy, begun = await self._calls(), time.process_time(), time.perf_counter()
        late.clear()
        await asyncio.sleep(self._seconds)
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
        ticking.cancel()
        more = await self._calls() - calls
        grown = (psutil.Process().memory_info().rss - before) / 2**20
        ended = [each for each in waiting if each.done()]
        assert not ended, f"{len(ended)} triggers ended: {ended[0].result()}"
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return Way(name, len(makers), seconds, more, busy, late, grown)

    async def _calls(self) -> int:
        """How many calls the user has made so far; asked for on a thread."""
        ask = self._admin.api_client.do
        counts = await asyncio.to_thread(ask, "GET", "/local/calls", query={"principal": USER})
        assert isinstance(counts, dict)
        return sum(counts.values())


async def _exhaust(trigger: Any) -> list[Any]:
    return [event async for event in trigger.run()]


async def _tick(late: list[float]) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(max(0.0, time.perf_counter() - due))


def ways(bench: Bench, run_ids: Sequence[int]) -> list[Way]:
    """All of them, the cheapest first."""
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    from databricks_file_arrivals.triggers import RunsTrigger

    def ours(ids: Sequence[int]) -> Callable[[], Any]:
        return lambda: RunsTrigger(run_ids=ids, databricks_conn_id="databricks_default", poll_interval=POLL)

    def stock(run_id: int) -> Callable[[], Any]:
        return lambda: DatabricksExecutionTrigger(run_id, "databricks_default", int(POLL))

    return [
        bench.watch("nothing", []),
        bench.watch("one trigger", [ours(run_ids)]),
        bench.watch("ours, one each", [ours([run_id]) for run_id in run_ids]),
        bench.watch("stock, one each", [stock(run_id) for run_id in run_ids]),
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="runs (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90, help="of each way (default: %(default)s)")
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
        bench = Bench(workspace, given.seconds)
        run_ids = bench.start_runs(given.count)
        workspace.faults.add("delay", "* /api/2.*", times=0, seconds=given.latency, principal=USER)
        found = ways(bench, run_ids)
    publish(
        "watch",
        f"Waiting for {given.count:,} runs, polls every {POLL:.0f} s, {given.latency * 1000:.0f} ms a call",
        [way.row(found[1]) for way in found],
        latency_ms=given.latency * 1000,
        poll_seconds=POLL,
        seconds=given.seconds,
    )


if __name__ == "__main__":
    main()
