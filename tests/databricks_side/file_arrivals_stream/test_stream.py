"""Each file is logged once, on classic Spark and on Spark Connect, whatever fails or is killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pyspark import cloudpickle
from pyspark.errors import PySparkException

from databricks_file_arrivals.core.errors import BadInput, TableDiffers, TableMissing, WorkspaceError
from databricks_file_arrivals.core.tables import ARRIVALS, STREAMS, VERSION_PROPERTY, Names
from file_arrivals_stream import stream
from file_arrivals_stream.arrival_writer import ArrivalWriter
from file_arrivals_stream.options import SourceOptions, StreamSettings
from file_arrivals_stream.stream import start_stream
from tests.databricks_side.file_arrivals_stream.conftest import ODD_NAMES, Log, Site, local, no_secret


def test_every_file_is_logged_once_whatever_its_name(site: Site) -> None:
    first = [*site.land("orders/eu 100%", *ODD_NAMES), *site.land("a'b\n;--/東京", *ODD_NAMES)]
    site.run(cloudFiles_maxFilesPerTrigger="7")
    second = [*site.land("orders/eu 100%", "later.csv"), *site.land("", "at the root")]
    rows = site.run(cloudFiles_maxFilesPerTrigger="7")

    assert site.logged() == sorted(map(str, first + second))
    assert [row.batch_id for row in rows] == [0] * 7 + [1] * 7 + [2] * 4 + [3] * 2
    for row in rows:
        path = Path(local(row.path))
        assert local(row.directory) == str(path.parent)
        assert row.file_size == path.stat().st_size
        changed = datetime.fromtimestamp(path.stat().st_mtime_ns // 1_000_000 / 1000, tz=timezone.utc)
        assert row.modified_at == changed.astimezone().replace(tzinfo=None)
        assert row.root == str(site.root)
    assert {row.stream_id for row in rows} == {stream_of(site)}
    known = site.log.query(
        f"SELECT root, checkpoint FROM {site.log.names.streams.sql} WHERE stream_id = '{stream_of(site)}'"
    )
    assert [tuple(row) for row in known] == [(str(site.root), str(site.checkpoint))]


def stream_of(site: Site) -> str:
    """The stream's id as the checkpoint has it."""
    text = (site.checkpoint / "metadata").read_text()
    return text.split('"id":"')[1].split('"')[0]


def test_a_batch_that_fails_ends_the_run_and_is_logged_whole_afterwards(connect_site: Site) -> None:
    site = connect_site
    arrivals = site.log.names.arrivals.sql
    site.log.query(f"ALTER TABLE {arrivals} ADD CONSTRAINT small CHECK (file_size < 1000)")
    try:
        files = [*site.land("d", "a", "b"), *site.land("d", "large", size=2000)]
        with pytest.raises(PySparkException, match=r"DELTA_VIOLATE_CONSTRAINT|CHECK constraint small"):
            site.run()
        assert site.logged() == [], "not a part of the batch"
    finally:
        site.log.query(f"ALTER TABLE {arrivals} DROP CONSTRAINT small")
    rows = site.run()
    assert [row.batch_id for row in rows] == [0, 0, 0]
    assert site.logged() == sorted(map(str, files))


class KilledAfterItsAppend(ArrivalWriter):
    """A writer whose process is killed when the batch is in the log, before Spark knows it."""

    def __call__(self, batch: object, batch_id: int) -> None:
        ArrivalWriter.__call__(self, batch, batch_id)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_batch_function_logs_nothing_twice(
    connect_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = connect_site.land("d", "a", "b")
    # The server does not have the tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    with monkeypatch.context() as patch:
        patch.setattr(stream, "ArrivalWriter", KilledAfterItsAppend)
        with pytest.raises(PySparkException):
            connect_site.run()
    before = connect_site.log.arrivals(connect_site.root)
    assert len(before) == 2
    assert not list(connect_site.checkpoint.glob("commits/0"))
    late = connect_site.land("d", "c")
    after = connect_site.run()
    assert connect_site.logged() == sorted(map(str, files + late))
    assert after[:2] == before, "the rows of the first time, logged_at too"


KILLED_DRIVER = """
import os, signal, sys
from pathlib import Path
from tests.databricks_side.file_arrivals_stream.conftest import Log, Site, classic_session, deployed
from file_arrivals_stream import stream
from file_arrivals_stream.arrival_writer import ArrivalWriter

class Killed(ArrivalWriter):
    def __call__(self, batch, batch_id):
        ArrivalWriter.__call__(self, batch, batch_id)
        if batch_id == 1:
            os.kill(batch.sparkSession.sparkContext._gateway.proc.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

stream.ArrivalWriter = Killed
state, folder, schema = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
spark = classic_session(state / "killed")
from local_workspace.cloud_files import register
register(spark, state)
log = Log(spark, "", state)
for name in ("arrivals", "streams"):
    table = f"{schema}.file_log_{name}"
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    spark.sql(f"CREATE TABLE {table} USING delta LOCATION '{state}/warehouse/{schema}.db/file_log_{name}'")
from databricks_file_arrivals.core.tables import Names
log.names = Names.of(f"{schema}.file_log", f"{schema}.workflow_mapping")
Site(log, folder).run(cloudFiles_maxFilesPerTrigger="3")
"""


def test_a_killed_driver_logs_nothing_twice(classic: Log, tmp_path: Path) -> None:
    site = Site(classic, tmp_path)
    files = site.land("d", *(f"{n}.csv" for n in range(8)))
    schema = classic.names.log.parts[0]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_DRIVER), str(classic.state), str(tmp_path), schema],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert len(site.logged()) == 6, "two batches are in the log"
    assert not (site.checkpoint / "commits" / "1").exists(), "and Spark knows of one"
    rows = site.run(cloudFiles_maxFilesPerTrigger="3")
    assert site.logged() == sorted(map(str, files))
    assert [row.batch_id for row in rows] == [0] * 3 + [1] * 3 + [2] * 2


def test_with_an_interval_the_stream_goes_on(connect_site: Site) -> None:
    """It starts on an empty directory, which is no error."""
    query = start_stream(connect_site.log.spark, connect_site.settings(batch_interval="1 second"))
    try:
        for wave in ("one", "two"):
            (path,) = connect_site.land("d", wave)
            deadline = time.monotonic() + 60
            while str(path) not in connect_site.logged():
                assert time.monotonic() < deadline and query.exception() is None
                time.sleep(0.2)
    finally:
        query.stop()
    assert len(connect_site.logged()) == 2


def test_an_empty_batch_writes_nothing(connect_site: Site) -> None:
    """The first batch of this source is empty then; the stream is known afterwards, and nothing is logged."""
    history = f"DESCRIBE HISTORY {connect_site.log.names.arrivals.sql}"
    before = len(connect_site.log.query(history))
    connect_site.land("d", "there before")
    assert connect_site.run(cloudFiles_includeExistingFiles="false") == []
    assert len(connect_site.log.query(history)) == before
    (new,) = connect_site.land("d", "new")
    connect_site.run(cloudFiles_includeExistingFiles="false")
    assert connect_site.logged() == [str(new)]


def test_options_reach_auto_loader_and_their_values_nobody_else(
    connect_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    connect_site.land("d", "a.csv", "b.json", "c.csv")
    settings = StreamSettings.read(
        {
            "monitored_directory": str(connect_site.root),
            "checkpoint_directory": str(connect_site.checkpoint),
            "log_table": str(connect_site.log.names.log),
            "pathGlobFilter": "*.csv",
            "cloudFiles_maxFilesPerTrigger": "1",
            "cloudFiles_format": "csv",
            "cloudFiles_connectionString": "Endpoint=x;Key={{secrets/azure/queue}}",
            "cloudFiles_queueName": "a-plain-name",
        },
        lambda scope, key: f"{scope}-{key}-value",
    )
    with caplog.at_level(logging.DEBUG, "file_arrivals_stream"):
        stream.run_stream(connect_site.log.spark, settings)
    rows = connect_site.log.arrivals(connect_site.root)
    assert [(Path(row.path).name, row.batch_id) for row in rows] == [("a.csv", 0), ("c.csv", 1)]
    assert "cloudFiles_format has no effect" in caplog.text
    assert "cloudFiles.connectionString, cloudFiles.format, cloudFiles.maxFilesPerTrigger" in caplog.text
    for value in ("azure-queue-value", "Endpoint", "a-plain-name"):
        assert value not in caplog.text


def test_an_option_that_auto_loader_does_not_know_is_its_error_by_name(connect_site: Site) -> None:
    with pytest.raises(PySparkException, match=r"(?i)cloudFiles\.maxFilesPerTriger") as raised:
        connect_site.run(cloudFiles_maxFilesPerTriger="a-value-not-to-be-seen")
    assert "a-value-not-to-be-seen" not in str(raised.value)
    assert connect_site.logged() == []


def test_an_error_that_shows_a_secret_is_raised_without_it() -> None:
    def fail() -> None:
        raise RuntimeError("no queue at Endpoint=s3cret;")

    options = SourceOptions({}, frozenset({"s3cret"}))
    with pytest.raises(WorkspaceError, match=r"no queue at Endpoint=\[REDACTED\];") as raised:
        stream._hiding(options, fail)
    assert raised.value.__context__ is None and raised.value.__cause__ is None


def test_other_errors_are_raised_as_they_are() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        stream._hiding(SourceOptions({}, frozenset({"s3cret"})), fail)


def test_nothing_starts_without_its_tables(connect_site: Site) -> None:
    nowhere = str(connect_site.log.names.log.derive("_nowhere"))
    with pytest.raises(TableMissing, match=r"_nowhere_arrivals does not exist.*deploy_framework"):
        connect_site.run(log_table=nowhere)
    assert not connect_site.checkpoint.exists()


def test_nothing_starts_with_tables_of_another_version(connect_site: Site) -> None:
    log = connect_site.log
    other = Names.of(str(log.names.log.derive("_other")))
    log.query(ARRIVALS.create(other.arrivals))
    log.query(STREAMS.create(other.streams))
    log.query(f"ALTER TABLE {other.streams.sql} SET TBLPROPERTIES ('{VERSION_PROPERTY}' = '0')")
    with pytest.raises(TableDiffers, match="_streams: the schema version is 0, not 1"):
        connect_site.run(log_table=str(other.log))
    assert not connect_site.checkpoint.exists()


def test_a_root_that_is_missing_is_named(site: Site) -> None:
    site.root.rmdir()
    with pytest.raises(BadInput, match=f"monitored_directory {site.root} does not exist") as raised:
        site.run()
    assert "Create it" in str(raised.value)
    assert not site.checkpoint.exists()


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("s3://b/x/y.csv", "s3://b/x"),
        ("s3://b/y.csv", "s3://b"),
        ("/Volumes/m/i/l/a\nb/y z.csv", "/Volumes/m/i/l/a\nb"),
        ("/top", "/"),
        ("file:/top", "file:/"),
        ("dbfs:/in/a:/f", "dbfs:/in/a:"),
    ],
)
def test_the_parent_of_a_path(connect: Log, path: str, directory: str) -> None:
    found = connect.spark.createDataFrame([(path,)], "path string").selectExpr(stream.DIRECTORY).collect()
    assert found[0][0] == directory


@pytest.mark.parametrize(
    "text", ["10 seconds", "1 minute", "INTERVAL 2 hours", "1 day 3 hours", "often", "10", ""]
)
def test_intervals_are_those_that_spark_takes(connect: Log, text: str) -> None:
    """The check before the start says what Spark would say."""
    try:
        settings = StreamSettings.read(
            {
                "monitored_directory": "/a",
                "checkpoint_directory": "/b",
                "log_table": "c",
                "batch_interval": text,
            },
            no_secret,
        )
    except BadInput:
        refused = True
    else:
        refused = bool(settings.interval) is False
    (found,) = connect.spark.sql(
        "SELECT try_cast(:text AS INTERVAL) IS NULL AS refused", {"text": text}
    ).collect()
    assert refused == found.refused
