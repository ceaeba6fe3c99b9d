"""Everything that `demo` and `up` share: workspace and Airflow started, deployed, and the stream running."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from demo.airflow import BINARIES, START_SECONDS, USER, Airflow
from demo.jobs import create_workflows, start_stream
from demo.memory import MemorySampler
from demo.processes import DemoError, Processes, until
from demo.scenario import MappingRow, Scenario
from demo.screen import Screen
from demo.wheel import stream_wheel
from demo.workspace import ADMIN, Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
LOG_TABLE = "main.ingest.file_log"
MAPPING_TABLE = "main.ingest.workflow_mapping"
CONSUMED_TABLE = "main.demo.consumed"
BATCH_INTERVAL = "2 seconds"
MARKER = "made-by-the-demo"
_FRESH = ("workspace", "airflow", "landing", "checkpoints", "told", "deploy.log")


class Stage:
    """One state folder and what runs on it."""

    batch_interval = BATCH_INTERVAL
    stream_retries = 3

    def __init__(self, state: Path, screen: Screen) -> None:
        self.state = state
        self.screen = screen
        self.processes = Processes(state)
        self.memory = MemorySampler(self.processes)
        self.workspace = Workspace(state / "workspace", self.processes, BINARIES)
        self.airflow = Airflow(state / "airflow", REPOSITORY / "dags", self.processes)
        self.landing = state / "landing"
        self.stream_run = 0
        self.signal_volume = ""

    def start(self) -> None:
        """Start workspace and Airflow at the same time, and say at once where they will be."""
        self.memory.start()
        self.workspace.start()
        self.airflow.migrate()
        tokens = until(self.workspace.tokens, "the workspace has made its tokens", self.processes, seconds=30)
        self.landing.mkdir()
        for line in (
            f"Databricks  {self.workspace.url}  token of {ADMIN}: {tokens[ADMIN]}",
            f"Airflow     {self.airflow.url}  user {USER}, password {self.airflow.password}",
            f"Landing     {self.landing}",
            f"Logs        {self.state}",
        ):
            self.screen.plain(line)
        self.screen.say("starting the workspace and Airflow")
        self.airflow.start(self.workspace.connection())

    def deploy(self, scenario: Scenario) -> None:
        """Make tables, mapping and jobs, and start the stream."""
        wheel = stream_wheel(REPOSITORY, self.state / "wheels")
        until(self.workspace.is_ready, "the workspace answers", self.processes, seconds=START_SECONDS)
        self.screen.say("the workspace answers")
        self.make_tables()
        self.map(scenario.mapping)
        create_workflows(self.workspace.client, wheel, CONSUMED_TABLE)
        self.screen.say(f"tables, {len(scenario.mapping)} mapping rows and the jobs are made")
        self.start_stream(wheel)
        until(self.airflow.is_ready, "Airflow is ready", self.processes, seconds=START_SECONDS)
        self.screen.say("Airflow is ready")

    def make_tables(self) -> None:
        """Deploy the tables, and make the one that the workflows log to."""
        for schema in ("ingest", "demo"):
            self.workspace.client.schemas.create(name=schema, catalog_name="main")
        command = [str(self.airflow.binaries / "file-arrivals"), "deploy", "--log-table", LOG_TABLE]
        child = self.processes.spawn(
            "file-arrivals deploy",
            [*command, "--workflow-mapping-table", MAPPING_TABLE],
            self.state / "deploy.log",
            self.airflow.environment(self.workspace.connection()),
            ends=True,
        )
        self.workspace.sql(
            f"CREATE TABLE {CONSUMED_TABLE} (workflow STRING, trigger_id STRING, run_id BIGINT, path STRING, "
            "bytes BIGINT, sha256 STRING, read_at TIMESTAMP)"
        )
        self.processes.finish(child)

    def map(self, mapping: Sequence[MappingRow]) -> None:
        """Fill the mapping table: every second directory absolute, the others relative to the landing."""
        rows = [
            {
                "directory": f"{self.landing}/{row.directory}" if nth % 2 else row.directory,
                "workflow_name": row.workflow,
                "active_ind": "Y" if row.active else "N",
            }
            for nth, row in enumerate(mapping)
        ]
        columns = "directory, workflow_name, active_ind"
        schema = "ARRAY<STRUCT<directory: STRING, workflow_name: STRING, active_ind: STRING>>"
        self.workspace.sql(
            f"INSERT INTO {MAPPING_TABLE} ({columns}, last_change_user, last_updated_ts) "
            f"SELECT {columns}, :who, current_timestamp() FROM (SELECT inline(from_json(:rows, '{schema}')))",
            {"who": ADMIN, "rows": json.dumps(rows)},
        )

    def start_stream(self, wheel: Path) -> None:
        """Make the stream job, and return when it watches the landing folder."""
        checkpoint = self.state / "checkpoints" / "landing"
        self.stream_run = start_stream(
            self.workspace.client,
            REPOSITORY / "databricks_side" / "notebooks" / "stream_arrivals.py",
            wheel,
            {
                "monitored_directory": str(self.landing),
                "checkpoint_directory": str(checkpoint),
                "workflow_mapping_table": MAPPING_TABLE,
                "log_table": LOG_TABLE,
                "batch_interval": self.batch_interval,
                "signal_volume": self.signal_volume,
            },
            self.stream_retries,
        )

        def watching() -> bool:
            self.check_stream()
            return (checkpoint / "metadata").exists()

        until(watching, "the stream watches", self.processes, seconds=120)
        self.screen.say(f"the stream watches {self.landing}")

    def check_stream(self) -> None:
        """Raise DemoError when the stream has ended, with what it printed."""
        client = self.workspace.client
        run = client.jobs.get_run(self.stream_run)
        if run.end_time:
            task = (run.tasks or [])[0].run_id
            output = client.jobs.get_run_output(task) if task else None
            raise DemoError(
                f"The stream has ended: {output.error if output else ''}\n{output and output.logs}"
            )

    def stop(self) -> None:
        """End all that was started."""
        self.memory.stop()
        self.processes.end()


S = TypeVar("S", bound=Stage)


@contextmanager
def stage(state: Path, screen: Screen, kind: Callable[[Path, Screen], S]) -> Iterator[S]:
    """A stage on a fresh state folder; whatever happens, all that it started has ended afterwards."""
    with _locked(state):
        Processes(state).end_leftovers()
        _clear(state)
        made = kind(state, screen)
        try:
            yield made
        finally:
            with _undisturbed():
                screen.say("ending all processes")
                made.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C wait: it would leave processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """The state folder for one demo at a time. Refuses a folder with other things in it."""
    if state.exists() and any(state.iterdir()) and not (state / MARKER).exists():
        raise DemoError(f"{state} has files that are not the demo's. Name another folder with --state.")
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / MARKER).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoError(f"A demo runs on {state} already. End it, or name another folder.") from error
        yield


def _clear(state: Path) -> None:
    """Remove what an earlier demo has made; its wheels stay."""
    for name in _FRESH:
        path = state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
