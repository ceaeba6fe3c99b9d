"""The Airflow side against the session's local workspace: a connection, a deployed log, jobs to start."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.catalog import VolumeType
from databricks.sdk.service.jobs import (
    JobAccessControlRequest,
    JobParameterDefinition,
    JobPermissionLevel,
    QueueSettings,
    SparkPythonTask,
    Task,
)

from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.signals import StreamPointer
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.ledger import Ledger
from local_workspace.testing import RunningWorkspace

PRINCIPAL = "alice"


def connection(workspace: RunningWorkspace, token: str, **changes: object) -> str:
    """An Airflow connection to the workspace, as the environment variable holds it."""
    parts: dict[str, object] = {
        "conn_type": "databricks",
        "host": "127.0.0.1",
        "port": workspace.port,
        "schema": "http",
        "password": token,
        "extra": {"http_path": f"/sql/1.0/warehouses/{workspace.warehouse_id}"},
    }
    return json.dumps({**parts, **changes})


@pytest.fixture(scope="session")
def databricks(workspace: RunningWorkspace) -> Iterator[RunningWorkspace]:
    """The workspace, as Airflow's connection `databricks_default` of a principal who is not an admin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_DATABRICKS_DEFAULT", connection(workspace, workspace.token(PRINCIPAL)))
        logging.getLogger("airflow").setLevel(logging.WARNING)
        yield workspace


@pytest.fixture(scope="session")
def hook(databricks: RunningWorkspace) -> FileArrivalsHook:
    """The hook under test."""
    return FileArrivalsHook()


@pytest.fixture(scope="session")
def admin(workspace: RunningWorkspace) -> WorkspaceClient:
    """The unmodified SDK, as the administrator."""
    return WorkspaceClient(host=workspace.url, token=workspace.token())


@dataclass
class Log:
    """A deployed log, and ways to put arrivals into it."""

    hook: FileArrivalsHook
    names: Names
    ledger: Ledger
    batches: dict[str, int] = field(default_factory=dict)

    def consumer(self) -> str:
        """A consumer that has seen all that is logged so far."""
        name = f"consumer-{uuid.uuid4().hex[:8]}"
        self.ledger.make_consumer(name, "latest")
        return name

    def land(self, files: Mapping[str, int], stream: str | None = None, root: str = "/in") -> str:
        """Log one batch: so many new files in each directory. Returns the stream's id."""
        batch = self.batches.get(stream or "", -1) + 1
        named = {d: [f"{batch}-{i}.csv" for i in range(count)] for d, count in files.items()}
        return self.land_files(named, stream, root)

    def land_files(self, files: Mapping[str, list[str]], stream: str | None = None, root: str = "/in") -> str:
        """Log one batch: files of these names in each directory. Returns the stream's id."""
        stream = stream or f"stream-{uuid.uuid4().hex[:8]}"
        batch = self.batches[stream] = self.batches.get(stream, -1) + 1
        rows = [{"d": d, "p": f"{d}/{name}"} for d, names in files.items() for name in names]
        self.hook.query(
            f"INSERT INTO {self.names.arrivals.sql} SELECT :stream, :batch, :root, d, p, 10, "
            "current_timestamp(), current_timestamp() "
            "FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<d: STRING, p: STRING>>')))",
            {"stream": stream, "batch": batch, "root": root, "rows": json.dumps(rows)},
        )
        return stream

    def map(self, *rows: tuple[str | None, str | None, str | None], **terms: int | str) -> None:
        """Add rows to the mapping table: directory, workflow, active_ind, and the same terms for all."""
        columns = "".join(f", {name}" for name in terms)
        values = "".join(f", :{name}" for name in terms)
        for directory, workflow, active in rows:
            self.hook.query(
                f"INSERT INTO {self.names.mapping.sql} "
                f"(directory, workflow_name, active_ind, last_updated_ts{columns}) "
                f"VALUES (:directory, :workflow, :active, current_timestamp(){values})",
                {"directory": directory, "workflow": workflow, "active": active, **terms},
            )

    def outcomes(self, consumer: str) -> dict[tuple[str, str | None], str]:
        """The state of each request of a consumer, by directory and workflow."""
        rows = self.hook.query(
            f"SELECT directory, workflow_name, status FROM {self.names.log.derive('_latest').sql} "
            "WHERE consumer = :consumer",
            {"consumer": consumer},
        )
        return {(r["directory"], r["workflow_name"]): r["status"] for r in rows}


@pytest.fixture(scope="session")
def new_log(hook: FileArrivalsHook) -> Callable[[], Log]:
    """Deploys logs, each in a schema of its own."""

    def make() -> Log:
        schema = f"main.log_{uuid.uuid4().hex[:10]}"
        hook.query(f"CREATE SCHEMA {schema}")
        deploy(hook, f"{schema}.workflow_mapping", f"{schema}.file_log")
        names = Names.of(f"{schema}.file_log", f"{schema}.workflow_mapping")
        return Log(hook, names, Ledger(hook, names))

    return make


@dataclass(frozen=True)
class Signals:
    """A signal volume: its path, and the folder of this machine that it is, as the stream's code sees it."""

    path: str
    folder: Path
    full_name: str

    def point(self, log: Log, stream: str, batch: int) -> None:
        """What the stream does after a commit."""
        pointer = StreamPointer(str(log.names.log), stream, batch)
        file = self.folder / "streams" / pointer.file
        file.parent.mkdir(exist_ok=True)
        file.write_text(pointer.text())


@pytest.fixture(scope="session")
def new_signals(admin: WorkspaceClient, hook: FileArrivalsHook) -> Callable[[], Signals]:
    """Makes signal volumes, with a streams' directory in each."""
    hook.query("CREATE SCHEMA IF NOT EXISTS main.signals")

    def make() -> Signals:
        name = f"v_{uuid.uuid4().hex[:10]}"
        made = admin.volumes.create("main", "signals", name, VolumeType.MANAGED)
        folder = Path(made.storage_location or "")
        (folder / "streams").mkdir()
        return Signals(f"/Volumes/main/signals/{name}", folder, f"main.signals.{name}")

    return make


@pytest.fixture(scope="session")
def log(new_log: Callable[[], Log]) -> Log:
    """A log that tests share; each has streams and consumers of its own in it."""
    return new_log()


DECLARED = ("trigger_id", "log_table", "directory", "file_count")


@pytest.fixture(scope="session")
def new_job(admin: WorkspaceClient, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """Makes jobs that do nothing, or what `source` says; the principal may start them unless `level` says
    less."""
    folder: Path = tmp_path_factory.mktemp("jobs")

    def make(
        name: str,
        level: JobPermissionLevel | None = JobPermissionLevel.CAN_MANAGE_RUN,
        declared: tuple[str, ...] = DECLARED,
        source: str = "pass\n",
    ) -> int:
        script = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
        script.write_text(source)
        job = admin.jobs.create(
            name=name,
            tasks=[Task(task_key="t", spark_python_task=SparkPythonTask(python_file=str(script)))],
            parameters=[JobParameterDefinition(name=p, default="") for p in declared],
            queue=QueueSettings(enabled=True),
        )
        assert job.job_id is not None
        if level is not None:
            admin.jobs.update_permissions(
                str(job.job_id),
                access_control_list=[JobAccessControlRequest(user_name=PRINCIPAL, permission_level=level)],
            )
        return job.job_id

    return make


def fails_when_there_is(path: Path) -> str:
    """The source of a job that runs until a file is there, and then fails."""
    return f"""import os, time
while not os.path.exists({str(path)!r}):
    time.sleep(0.05)
raise SystemExit(3)
"""


@pytest.fixture(scope="session")
def jobs(new_job: Callable[..., int]) -> dict[str, int]:
    """Jobs of all kinds: two to start, one that may only be seen, two of one name."""
    return {
        "alpha": new_job("alpha"),
        "beta": new_job("beta"),
        "locked": new_job("locked", JobPermissionLevel.CAN_VIEW),
        "twin": new_job("twin") and new_job("twin"),
        "hidden": new_job("hidden", None),
    }
