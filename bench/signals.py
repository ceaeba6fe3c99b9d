"""What it costs to know that something is new: with a signal volume, and by SQL, in an idle and a busy hour.

Each single thing that sensors, triggers and operators do is done against the local workspace, many times, and
its calls, bytes and statements are counted by the workspace itself (`/local/usage`). An hour is put together
from them: so many looks, so many claims. The warehouse is awake from a statement until it stops by
itself, so many seconds after the last one; what that costs is in `PRICES`, with its source.

- idle: nothing arrives for an hour; the tables are asked once (`reconcile_every`)
- busy: a batch every five minutes, each of them claimed and its run started
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.catalog import VolumeType

from bench.report import publish
from bench.starts import USER, airflow
from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

HOUR = 3600.0
BATCHES = 12
"""In a busy hour."""
AUTO_STOP = (60.0, 600.0)
"""Seconds: the shortest that the API takes for a serverless warehouse, and the default one."""
PRICES: dict[str, tuple[float, str]] = {
    "serverless SQL, $ per DBU": (0.70, "databrickspricing.com/serverless, rates of April 2026"),
    "2X-Small, DBU per hour": (4.0, "community.databricks.com, warehouse cost calculation, 71385"),
}


@dataclass(frozen=True, slots=True)
class Use:
    """What a thing uses once: calls, bytes both ways, and the seconds of the warehouse."""

    calls: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done in an hour: how often, what, and whether the warehouse is woken at each time."""

    way: str
    hour: str
    parts: tuple[tuple[int, Use], ...]

    def row(self) -> dict[str, Any]:
        """The line of the table."""
        row: dict[str, Any] = {
            "hour": self.hour,
            "way": self.way,
            "calls": round(sum(n * use.calls for n, use in self.parts)),
            "kB": round(sum(n * use.bytes for n, use in self.parts) / 1000, 1),
        }
        for stop in AUTO_STOP:
            row[f"awake s, stops after {stop:.0f}"] = round(awake(self._statements(), stop))
        dollars = PRICES["serverless SQL, $ per DBU"][0] * PRICES["2X-Small, DBU per hour"][0] / HOUR
        row["$ a month, 60"] = round(awake(self._statements(), AUTO_STOP[0]) * dollars * 24 * 30, 2)
        return row

    def _statements(self) -> list[tuple[float, float]]:
        """When statements run, each kind of thing evenly over the hour."""
        return [
            (HOUR * (n + 0.5) / times, HOUR * (n + 0.5) / times + use.seconds)
            for times, use in self.parts
            if use.seconds
            for n in range(times)
        ]


def awake(statements: Sequence[tuple[float, float]], auto_stop: float) -> float:
    """For how many seconds of an hour that repeats a warehouse is awake."""
    total, until = 0.0, 0.0
    for begin, end in sorted(statements):
        total += max(end + auto_stop - max(begin, until), 0.0)
        until = max(until, end + auto_stop)
    return min(total, HOUR)


class Bench:
    """A deployed log with a signal volume and one job, and the things that are done with it."""

    def __init__(self, workspace: RunningWorkspace, times: int) -> None:
        from databricks_file_arrivals.core.deployment import deploy
        from databricks_file_arrivals.core.signals import SignalVolume
        from databricks_file_arrivals.core.tables import Names
        from databricks_file_arrivals.hooks import FileArrivalsHook

        self._times = times
        self._admin = WorkspaceClient(host=workspace.url, token=workspace.token())
        self.hook = FileArrivalsHook()
        self._admin.schemas.create(name="ingest", catalog_name="main")
        made = self._admin.volumes.create("main", "ingest", "signals", VolumeType.MANAGED)
        self._folder = Path(made.storage_location or "")
        (self._folder / "streams").mkdir()
        self.names = Names.of("main.ingest.file_log", "main.ingest.workflow_mapping")
        self.volume = SignalVolume.parse("/Volumes/main/ingest/signals")
        deploy(self.hook, str(self.names.mapping), str(self.names.log))
        self._batch = -1
        self._stream = str(uuid.uuid4())

    def use(self, thing: Callable[[], object], before: Callable[[], object] = lambda: None) -> Use:
        """What a thing uses, on the average of many times; `before` each of them something else is done."""
        calls = size = 0
        seconds: list[float] = []
        for _ in range(self._times):
            before()
            self._admin.api_client.do("DELETE", "/local/usage")
            thing()
            found: Any = self._admin.api_client.do("GET", "/local/usage", query={"principal": USER})
            counts = found["calls"].values()
            calls += sum(c["calls"] for c in counts)
            size += sum(c["bytes_received"] + c["bytes_sent"] for c in counts)
            spans = [(s["started_at"] / 1000, s["ended_at"] / 1000) for s in found["statements"]]
            seconds.append(max((e for _, e in spans), default=0) - min((b for b, _ in spans), default=0))
        return Use(calls / self._times, size / self._times, statistics.median(seconds))

    def land(self) -> None:
        """Log a batch of one file, and point to it, as the stream does."""
        from databricks_file_arrivals.core.signals import StreamPointer

        self._batch += 1
        self.hook.query(
            f"INSERT INTO {self.names.arrivals.sql} VALUES (:stream, :batch, '/in', '/in/a', :path, 1, "
            "current_timestamp(), current_timestamp())",
            {"stream": self._stream, "batch": self._batch, "path": f"/in/a/{self._batch}"},
        )
        pointer = StreamPointer(str(self.names.log), self._stream, self._batch)
        (self._folder / "streams" / pointer.file).write_text(pointer.text())

    def claim(self, *, points: bool) -> None:
        """What TriggerWorkflowsOperator does when it is due."""
        from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
        from databricks_file_arrivals.workspace.claims import Claimer, Options
        from databricks_file_arrivals.workspace.exchange import run
        from databricks_file_arrivals.workspace.files import write_file
        from databricks_file_arrivals.workspace.jobs import JobsApi
        from databricks_file_arrivals.workspace.ledger import Ledger

        options = Options("default", str(self.names.log))
        claimer = Claimer(
            Ledger(self.hook, self.names), ArrivalLog(self.hook, self.names), JobsApi(self.hook), options
        )
        claimer.run()
        if points and claimer.pointer is not None:
            text = claimer.pointer.text().encode()
            run(write_file(self.volume.consumer("default"), text), self.hook.call)


def measure(bench: Bench) -> list[Plan]:
    """Measure each thing, and put the hours together."""
    from databricks_file_arrivals.workspace.exchange import run
    from databricks_file_arrivals.workspace.gate import ConsumerWatch, Gate
    from databricks_file_arrivals.workspace.watch import Look, StreamWatch

    warehouse, call = bench.hook.warehouse_id, bench.hook.call
    log = str(bench.names.log)

    def settled() -> None:
        bench.land()
        bench.claim(points=True)

    settled()
    by_sql = ConsumerWatch.of(log, "default", None, HOUR)
    sql_idle = bench.use(lambda: run(by_sql.look(warehouse), call))
    streams, gate = StreamWatch(bench.names, bench.volume), Gate(bench.names, "default", bench.volume)

    def signal_look() -> None:
        run(gate.look(run(streams.look(warehouse), call), warehouse), call)

    signal_look()
    time.sleep(1.1)  # a pointer is read twice
    signal_look()
    signal_idle = bench.use(signal_look)
    reconcile = bench.use(lambda: run(gate.confirm(Look({}), warehouse), call))
    signal_due = bench.use(signal_look, before=bench.land)
    sql_due = bench.use(lambda: run(by_sql.look(warehouse), call), before=bench.land)
    claim = bench.use(lambda: bench.claim(points=False), before=bench.land)
    claim_points = bench.use(lambda: bench.claim(points=True), before=bench.land)
    slow, fast = int(HOUR / 30), int(HOUR / 2)
    busy_sql, busy_signals = (BATCHES, sql_due), (2 * BATCHES, signal_due)
    return [
        Plan("by SQL, every 30 s", "idle", ((slow, sql_idle),)),
        Plan("signal volume, every 30 s", "idle", ((slow, signal_idle), (1, reconcile))),
        Plan("signal volume, every 2 s", "idle", ((fast, signal_idle), (1, reconcile))),
        Plan("by SQL, every 30 s", "busy", ((slow, sql_idle), busy_sql, (BATCHES, claim))),
        Plan("signal volume, every 30 s", "busy",
             ((slow, signal_idle), (1, reconcile), busy_signals, (BATCHES, claim_points))),
        Plan("signal volume, every 2 s", "busy",
             ((fast, signal_idle), (1, reconcile), busy_signals, (BATCHES, claim_points))),
    ]  # fmt: skip


def main() -> int:
    """Measure on a fresh workspace."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=10, help="how often each is done (default: %(default)s)")
    given = parser.parse_args()
    setup()
    with (
        tempfile.TemporaryDirectory(prefix="bench-workspace-") as folder,
        running_workspace(Path(folder) / "state", principals=[USER]) as workspace,
        airflow(workspace),
    ):
        rows = [plan.row() for plan in measure(Bench(workspace, given.times))]
    prices = {name: f"{value} ({source})" for name, (value, source) in PRICES.items()}
    publish("signals", "What it costs to know that something is new", rows, prices=prices)
    return 0


if __name__ == "__main__":
    sys.exit(main())
