"""How long it takes from a landed file to an accepted run, the event way and the sensor way, part by part.

A real stream with a 1 s interval, a real Airflow (scheduler, triggerer, API server, executor, PostgreSQL)
and the local workspace on one machine. A wave is one file; the next one lands a random while after the run of
the last was accepted, so that it meets every loop at any place of its turn. Signals are on; nothing lingers.
Both ways look once a second; a Databricks file arrival trigger looks about every minute (its documentation).

- stream: from the file's own time to its row in the arrival log
- poll: until the trigger has said so (event way: the asset's event; sensor way: the sensor's task has passed)
- DAG run: until the run of the DAG is queued (event way only: the other is there already)
- task start: until the operator's task instance has started
- operator: until Databricks has accepted the run, by the run's own start time
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "databricks_side"))

from crash.postgres import Postgres
from databricks.sdk.service import jobs
from databricks.sdk.service.catalog import VolumeType
from demo.airflow import START_SECONDS, Airflow
from demo.processes import until
from demo.scenario import MappingRow
from demo.screen import Screen
from demo.stage import LOG_TABLE, MAPPING_TABLE, REPOSITORY, Stage, stage
from demo.wheel import stream_wheel
from demo.workspace import PRINCIPAL

from bench.report import publish

DAGS = Path(__file__).parent / "dags" / "latency"
SIGNALS = "/Volumes/main/ingest/signals"
WORKFLOW = "orders_load"
PARTS = ("stream", "poll", "DAG run", "task start", "operator")
PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Wave:
    """The moments of one file, as seconds since 1970."""

    landed: float
    logged: float
    said: float
    queued: float
    started: float
    accepted: float

    def parts(self) -> dict[str, float]:
        """How long each part took; the moments may be of an operator that was under way already."""
        moments = [self.landed, self.logged, self.said, self.queued, self.started, self.accepted]
        ordered = [max(moments[: n + 1]) for n in range(len(moments))]
        return {name: ordered[n + 1] - ordered[n] for n, name in enumerate(PARTS)}


class LatencyStage(Stage):
    """The demo's stage with signals, both ways in one DAG file, and PostgreSQL for Airflow."""

    batch_interval = "1 second"

    def __init__(self, state: Path, screen: Screen) -> None:
        super().__init__(state, screen)
        self.postgres = Postgres(self.processes, state)
        settings = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url,
            "LATENCY_LOG_TABLE": LOG_TABLE,
            "LATENCY_MAPPING_TABLE": MAPPING_TABLE,
            "LATENCY_SIGNALS": SIGNALS,
        }
        self.airflow = Airflow(state / "airflow", DAGS, self.processes, "event", settings)

    def start(self) -> None:
        self.postgres.start()
        until(self.postgres.is_ready, "PostgreSQL answers", self.processes, seconds=60)
        super().start()

    def set_up(self) -> None:
        """Make volume, tables, mapping and a job that does next to nothing; start the stream."""
        wheel = stream_wheel(REPOSITORY, self.state / "wheels")
        until(self.workspace.is_ready, "the workspace answers", self.processes, seconds=START_SECONDS)
        self.make_tables()
        volume = self.workspace.client.volumes.create("main", "ingest", "signals", VolumeType.MANAGED)
        self.signal_volume = volume.storage_location or ""
        self.map([MappingRow("orders", WORKFLOW)])
        self._make_job()
        self.start_stream(wheel)
        until(self.airflow.is_ready, "Airflow is ready", self.processes, seconds=START_SECONDS)

    def _make_job(self) -> None:
        """A job whose runs end at once: they would keep the machine busy that is measured."""
        script = self.state / "nothing.py"
        script.write_text("pass\n")
        level = jobs.JobPermissionLevel.CAN_MANAGE_RUN
        self.workspace.client.jobs.create(
            name=WORKFLOW,
            tasks=[jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(script)))],
            parameters=[jobs.JobParameterDefinition(name="trigger_id", default="")],
            queue=jobs.QueueSettings(enabled=True),
            access_control_list=[jobs.JobAccessControlRequest(user_name=PRINCIPAL, permission_level=level)],
        )

    def stop(self) -> None:
        super().stop()
        self.postgres.remove()


class Way:
    """One way to start, measured by its DAG of the same name."""

    def __init__(self, made: LatencyStage, name: str) -> None:
        self._made = made
        self._name = name
        self._airflow = made.airflow.of(name)

    def waves(self, count: int) -> list[Wave]:
        """Land file after file; the first one, which makes the consumer and warms everything, is left out."""
        self._airflow.unpause()
        found = []
        for nth in range(-1, count):
            time.sleep(random.uniform(1.0, 4.0))
            wave = self._wave()
            if nth >= 0:
                found.append(wave)
                self._made.screen.say(
                    f"{self._name} {nth + 1} of {count}: {wave.accepted - wave.landed:.1f} s"
                )
        self._airflow.unpause(paused=True)
        return found

    def _wave(self) -> Wave:
        made, before = self._made, self._newest_run()
        path = made.landing / "orders" / f"{self._name}-{time.time_ns()}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("1\n")
        landed = time.time()
        # Asking the tables would keep the machine busy that is measured.
        until(lambda: self._newest_run() != before, "a run starts", made.processes, seconds=PATIENCE)
        recorded = partial(self._accepted, f"file:{path}")  # as Spark names it
        row = until(recorded, "it is recorded", made.processes, seconds=PATIENCE, pause=1.0)
        run = made.workspace.client.jobs.get_run(row["started_run_id"])
        return Wave(
            landed,
            row["logged_at"].timestamp(),
            *self._in_airflow(row["dag_run_id"]),
            accepted=(run.start_time or 0) / 1000,
        )

    def _newest_run(self) -> int | None:
        runs = self._made.workspace.client.jobs.list_runs(limit=1)
        return next((run.run_id for run in runs if run.run_name == WORKFLOW), None)

    def _accepted(self, path: str) -> Any:
        found = self._made.workspace.sql(
            f"SELECT a.logged_at, l.started_run_id, l.dag_run_id FROM {LOG_TABLE}_arrivals a "
            f"JOIN {LOG_TABLE} l ON a.stream_id = l.stream_id AND l.status = 'TRIGGERED' "
            "AND a.batch_id > l.directories[a.directory].after "
            "AND a.batch_id <= l.directories[a.directory].up_to WHERE a.path = :path AND consumer = :way",
            {"path": path, "way": self._name},
        )
        return found[0] if found else None

    def _in_airflow(self, run_id: str) -> tuple[float, float, float]:
        """When it was said, when the DAG run was queued and when the operator's task started."""
        runs = f"dags/{self._name}/dagRuns/{run_id}"
        queued = _seconds(self._airflow.call("GET", runs)["queued_at"])
        (operator,) = (t for t in self._tasks(runs) if t["task_id"] == "trigger")
        if self._name == "event":
            events = self._airflow.call("GET", f"{runs}/upstreamAssetEvents")["asset_events"]
            said = min(_seconds(event["timestamp"]) for event in events)
        else:
            (sensor,) = (t for t in self._tasks(runs) if t["task_id"] == "arrived")
            said = _seconds(sensor["end_date"])
        return said, queued, _seconds(operator["start_date"])

    def _tasks(self, runs: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._airflow.call("GET", f"{runs}/taskInstances")["task_instances"]
        return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def at(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def rows(name: str, waves: Sequence[Wave]) -> list[dict[str, Any]]:
    """The lines of the table: all of it, then part by part."""
    whole = {"all": [w.accepted - w.landed for w in waves]}
    whole |= {part: [w.parts()[part] for w in waves] for part in PARTS}
    return [
        {"way": name, "part": part, "waves": len(values), "p50 s": round(at(values, 0.5), 2),
         "p95 s": round(at(values, 0.95), 2), "longest s": round(max(values), 2)}
        for part, values in whole.items()
    ]  # fmt: skip


def main() -> int:
    """Measure both ways, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waves", type=int, default=50, help="files for each way (default: %(default)s)")
    parser.add_argument("--state", type=Path, default=REPOSITORY / ".state" / "latency", help="its folder")
    given = parser.parse_args()
    screen = Screen()
    with stage(given.state.absolute(), screen, LatencyStage) as made:
        made.start()
        made.set_up()
        found = {name: Way(made, name).waves(given.waves) for name in ("event", "sensor")}
    lines = [line for name, waves in found.items() for line in rows(name, waves)]
    publish("latency", "From a landed file to an accepted run", lines, interval="1 second", look="1 second")
    event = next(line for line in lines if line["way"] == "event" and line["part"] == "all")
    print(f"latency: event way p50 {event['p50 s']} s, p95 {event['p95 s']} s over {event['waves']} waves")
    return 0


if __name__ == "__main__":
    sys.exit(main())
