"""Real Spark and real Delta for the stream: a session of classic Spark, and one of Spark Connect."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from databricks_file_arrivals.core.tables import Names
from file_arrivals_stream.deploy import deploy_framework
from file_arrivals_stream.options import StreamSettings
from file_arrivals_stream.stream import run_stream
from local_workspace.cloud_files import register
from local_workspace.engine import JAVA_TUNING, Engine, setup
from local_workspace.jars import jar_paths
from local_workspace.runtime import session

ODD_NAMES = (
    "a.csv",
    "b c.csv",
    "q'uo\"te.csv",
    "100%25.csv",
    "x;-- DROP.csv",
    "new\nline.csv",
    "Zoë, 東京.csv",
    "back\\slash.csv",
    "zero",
)


def classic_session(state: Path) -> SparkSession:
    """A JVM of this process's own, as on a classic cluster; its catalog ends with it."""
    jars = [str(path) for path in jar_paths() if path.name != "catalog-names.jar"]
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "900m")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.jars", ",".join(jars))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        # Delta's parser drops bound parameters otherwise (delta-io/delta#7640); on Databricks it does not.
        .config("spark.sql.legacy.parameterSubstitution.constantsOnly", "true")
        .config("spark.sql.warehouse.dir", str(state / "warehouse"))
        .config("spark.sql.sources.default", "delta")
        .config("spark.sql.session.timeZone", "UTC")
        # What makes the workspace's own Spark quick with few rows.
        .config("spark.driver.extraJavaOptions", JAVA_TUNING)
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it logs at exit, when nobody listens any more
    register(spark, state)
    return spark


@dataclass
class Log:
    """A deployed log on one kind of Spark."""

    spark: Any
    catalog: str
    state: Path
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        schema = f"{self.catalog}ingest_{uuid.uuid4().hex[:8]}"
        self.spark.sql(f"CREATE SCHEMA {schema}")
        self.names = Names.of(f"{schema}.file_log", f"{schema}.workflow_mapping")

    def query(self, statement: str) -> list[Any]:
        rows: list[Any] = self.spark.sql(statement).collect()
        return rows

    def arrivals(self, root: Path) -> list[Any]:
        """What is logged of a root, in order."""
        table = self.names.arrivals.sql
        return self.query(f"SELECT * FROM {table} WHERE root = '{root}' ORDER BY stream_id, batch_id, path")


@dataclass
class Site:
    """A monitored directory with its checkpoint, and runs of its stream."""

    log: Log
    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "landing"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def land(self, directory: str, *names: str, size: int = 5) -> list[Path]:
        """Write files; a name that begins with `zero` makes an empty one."""
        made = []
        for name in names:
            path = self.root / directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"" if name.startswith("zero") else b"x" * size)
            made.append(path)
        return made

    def settings(self, **changes: str) -> StreamSettings:
        given = {
            "monitored_directory": str(self.root),
            "checkpoint_directory": str(self.checkpoint),
            "log_table": str(self.log.names.log),
            "workflow_mapping_table": str(self.log.names.mapping),
        }
        return StreamSettings.read(given | changes, no_secret)

    def run(self, **changes: str) -> list[Any]:
        """Let the stream log what is there; what is logged of the root then."""
        run_stream(self.log.spark, self.settings(**changes))
        return self.log.arrivals(self.root)

    def logged(self) -> list[str]:
        """The paths that are logged, as this machine knows them, each as often as it is logged."""
        return sorted(local(row.path) for row in self.log.arrivals(self.root))


def local(path: str) -> str:
    return path.removeprefix("file:")


def no_secret(scope: str, key: str) -> str:
    raise AssertionError(f"{scope}/{key} was asked for")


def deployed(log: Log) -> Log:
    deploy_framework(str(log.names.mapping), str(log.names.log), spark=log.spark)
    return log


@pytest.fixture(scope="session")
def connect(workspace_state: Path) -> Iterator[Log]:
    """A log on the one Spark Connect server of the test session."""
    setup()
    engine = Engine(workspace_state)
    ours = not engine.alive()
    engine.start()
    spark = session(engine.remote, workspace_state)
    yield deployed(Log(spark, "main.", workspace_state))
    spark.stop()
    if ours:
        engine.stop()


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log on classic Spark."""
    setup()
    state = tmp_path_factory.mktemp("classic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        for name in ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"):
            patch.delenv(name, raising=False)
        spark = classic_session(state)
        yield deployed(Log(spark, "", state))
        spark.stop()


@pytest.fixture(scope="session", params=["connect", "classic"])
def log(request: pytest.FixtureRequest) -> Log:
    """The log on each kind of Spark in turn."""
    found: Log = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def site(log: Log, tmp_path: Path) -> Site:
    """A new monitored directory, logged on each kind of Spark in turn."""
    (tmp_path / "landing").mkdir()
    return Site(log, tmp_path)


@pytest.fixture
def connect_site(connect: Log, tmp_path: Path) -> Site:
    """A new monitored directory, logged on Spark Connect."""
    (tmp_path / "landing").mkdir()
    return Site(connect, tmp_path)
