"""`cloudFiles`: every file once, exactly as Spark's own binaryFile describes it, through any crash."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.connect.streaming.query import StreamingQuery
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxFiles
from pyspark.sql.types import StructType

from local_workspace.cloud_files import CloudFilesError, FileRange, FileStreamReader, Settings, encoded
from local_workspace.engine import Engine, spark_settings
from local_workspace.jars import jar_paths
from local_workspace.journal import Journal, SeenFile
from local_workspace.runtime import session
from tests.databricks_side.local_workspace.conftest import Runs, eventually

ODD_NAMES = [
    *(
        "plain.csv",
        "a b.csv",
        "it's.csv",
        'q"uote.csv',
        "100%.csv",
        "%20.csv",
        "x;--.csv",
        "new\nline.csv",
        "tab\t.csv",
    ),
    *(
        "üñ日本🎉.csv",
        "e\u0301.csv",
        "[b].csv",
        "{c}.csv",
        "h#ash.csv",
        "q?m.csv",
        "a+b&c=d@e,f:g$h!i(j)*~.csv",
    ),
    *(
        "back\\slash.csv",
        "caret^`|<>.csv",
        "\u00a0nbsp\u200b.csv",
        "ctl\x01\x7f\x85.csv",
        "${x}.csv",
        "_p=1.csv",
    ),
]
HIDDEN_NAMES = ["_hidden.csv", ".dot.csv", "half.csv._COPYING_"]


def land(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


class TestOptions:
    def parse(self, **options: str) -> Settings:
        given = {"path": "/landing", "cloudFiles.format": "binaryFile"}
        return Settings.parse(
            given | {name.replace("_", "."): value for name, value in options.items()}, "/j"
        )

    def test_defaults(self) -> None:
        settings = self.parse()
        assert (settings.root, settings.max_files, settings.max_bytes) == ("/landing", 1000, None)
        assert (settings.include_existing, settings.allow_overwrites, settings.content) == (
            True,
            False,
            False,
        )

    def test_case_does_not_matter(self) -> None:
        assert self.parse(CLOUDFILES_MAXFILESPERTRIGGER="7").max_files == 7

    @pytest.mark.parametrize(
        ("text", "count"), [("5", 5), ("10b", 10), ("1k", 1024), ("2 MB", 2 * 1024**2), ("3gib", 3 * 1024**3)]
    )
    def test_bytes(self, text: str, count: int) -> None:
        assert self.parse(cloudFiles_maxBytesPerTrigger=text).max_bytes == count

    def test_an_unknown_option_is_refused_by_name_and_not_by_value(self) -> None:
        with pytest.raises(
            CloudFilesError, match=r"cloudfiles\.maxfilepertrigger.*mean cloudFiles\.maxFilesPer"
        ) as e:
            self.parse(cloudFiles_maxFilePerTrigger="secret-value")
        assert "secret-value" not in str(e.value)

    @pytest.mark.parametrize(
        "name",
        ["useNotifications", "connectionString", "queueName", "resourceGroup", "subscriptionId", "tenantId"],
    )
    def test_what_listing_makes_unnecessary_is_accepted(self, name: str) -> None:
        assert self.parse(**{f"cloudFiles_{name}": "anything"}) == self.parse()

    def test_other_options_are_not_ours(self) -> None:
        assert self.parse(recursiveFileLookup="true", header="x") == self.parse()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cloudFiles.format": "csv"}, "'csv': the local workspace lists files as binaryFile only"),
            ({"cloudFiles.format": ""}, "cloudFiles.format is required"),
            ({"path": ""}, r"needs the folder to watch"),
            ({"path": "abfss://c@a/x"}, "folders of this machine, not abfss"),
            ({"path": "landing"}, "must be absolute"),
            ({"cloudFiles.maxFilesPerTrigger": "0"}, "maxFilesPerTrigger must be a positive number"),
            ({"cloudFiles.maxFilesPerTrigger": "many"}, "maxFilesPerTrigger must be a positive number"),
            ({"cloudFiles.maxBytesPerTrigger": "10x"}, "maxBytesPerTrigger must be a positive number"),
            ({"cloudFiles.includeExistingFiles": "yes"}, "includeExistingFiles must be true or false"),
            ({"modifiedAfter": "yesterday"}, "modifiedAfter must be a time"),
        ],
    )
    def test_bad_values(self, options: dict[str, str], message: str) -> None:
        with pytest.raises(CloudFilesError, match=message):
            Settings.parse({"path": "/landing", "cloudFiles.format": "binaryFile"} | options, "/j")

    @pytest.mark.parametrize(
        "path", ["/a b/ü", "/a b/ü/", "file:/a b/ü", "file:///a b/ü", "dbfs:/a b/ü", "FILE:/a b/ü"]
    )
    def test_ways_to_write_the_root(self, path: str) -> None:
        assert self.parse(path=path).root == "/a b/ü"


class TestReader:
    """Offsets and journals, by themselves."""

    LIMIT = ReadMaxFiles(1000)

    @pytest.fixture
    def settings(self, root: Path, tmp_path: Path) -> Settings:
        options = {"path": str(root), "cloudFiles.format": "binaryFile"}
        return Settings.parse(options, str(tmp_path / "journals"))

    def names(self, reader: FileStreamReader, start: dict[str, Any], end: dict[str, Any]) -> list[str]:
        paths = [
            path
            for partition in reader.partitions(start, end)
            for batch in reader.read(partition)
            for path in batch.column(0).to_pylist()
        ]
        return [path.rpartition("/")[2] for path in paths]

    def test_nothing_yet_is_no_batch(self, settings: Settings) -> None:
        reader = FileStreamReader(settings)
        start = reader.initialOffset()
        assert reader.latestOffset(start, self.LIMIT) == start
        assert reader.partitions(start, start) == []
        assert reader.reportLatestOffset() is None

    def test_it_goes_on_where_it_was(self, settings: Settings, root: Path) -> None:
        land(root, "a", "b")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        land(root, "c")
        later = FileStreamReader(settings)
        two = later.latestOffset(one, self.LIMIT)
        assert sorted(self.names(later, later.initialOffset(), one)) == ["a", "b"]
        assert self.names(later, one, two) == ["c"]
        assert later.latestOffset(two, self.LIMIT) == two == later.reportLatestOffset()

    def test_a_first_batch_is_replayed_from_the_journal_that_its_end_names(
        self, settings: Settings, root: Path
    ) -> None:
        land(root, "a", text="old")
        lost = FileStreamReader(settings)
        end = lost.latestOffset(lost.initialOffset(), self.LIMIT)
        land(root, "a", text="changed since")
        land(root, "b")
        replaying = FileStreamReader(settings)
        (batch,) = replaying.read(replaying.partitions(replaying.initialOffset(), end)[0])
        assert batch.column(2).to_pylist() == [3]

    def test_two_queries_know_nothing_of_each_other(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        offsets = [
            reader.latestOffset(reader.initialOffset(), self.LIMIT)
            for reader in (FileStreamReader(settings), FileStreamReader(settings))
        ]
        assert offsets[0]["journal"] != offsets[1]["journal"]
        assert [offset["seq"] for offset in offsets] == [1, 1]

    @pytest.mark.parametrize(("limit", "expected"), [(ReadMaxFiles(2), 2), (ReadAllAvailable(), 5)])
    def test_limits(self, settings: Settings, root: Path, limit: ReadLimit, expected: int) -> None:
        land(root, *"abcde")
        settings = dataclasses.replace(settings, max_bytes=None)
        reader = FileStreamReader(settings)
        assert reader.latestOffset(reader.initialOffset(), limit)["seq"] == expected

    def test_default_limit(self, settings: Settings) -> None:
        assert FileStreamReader(settings).getDefaultReadLimit() == ReadMaxFiles(1000)

    def test_the_bytes_limit_admits_one_file_at_least(self, settings: Settings, root: Path) -> None:
        land(root, *"abc", text="12345")
        reader = FileStreamReader(dataclasses.replace(settings, max_bytes=11))
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        assert one["seq"] == 2
        reader = FileStreamReader(dataclasses.replace(settings, max_bytes=1))
        assert reader.latestOffset(one, self.LIMIT)["seq"] == 3

    def test_available_now_ends_with_what_was_there(self, settings: Settings, root: Path) -> None:
        land(root, "a", "b", "c")
        reader = FileStreamReader(settings)
        reader.prepareForTriggerAvailableNow()
        land(root, "late")
        one = reader.latestOffset(reader.initialOffset(), ReadMaxFiles(2))
        land(root, "later")
        two = reader.latestOffset(one, ReadMaxFiles(2))
        assert (one["seq"], two["seq"]) == (2, 3)
        assert reader.latestOffset(two, ReadMaxFiles(2)) == two
        assert sorted(self.names(reader, reader.initialOffset(), two)) == ["a", "b", "c"]

    def test_existing_files_left_out_stay_out_and_none_after_them_is_lost(
        self, settings: Settings, root: Path
    ) -> None:
        settings = dataclasses.replace(settings, include_existing=False)
        land(root, "old")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        assert one["seq"] == 0 and one != reader.initialOffset()  # an empty batch, which remembers `old`
        land(root, "new")
        restarted = FileStreamReader(settings)
        two = restarted.latestOffset(one, self.LIMIT)
        assert self.names(restarted, one, two) == ["new"]

    def test_existing_files_count_at_the_first_start_only(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        land(root, "b")
        changed = FileStreamReader(dataclasses.replace(settings, include_existing=False))
        assert self.names(changed, one, changed.latestOffset(one, self.LIMIT)) == ["b"]

    def test_overwritten_files(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        land(root, "a", text="longer")
        assert reader.latestOffset(one, self.LIMIT) == one
        allowing = FileStreamReader(dataclasses.replace(settings, allow_overwrites=True))
        assert self.names(allowing, one, allowing.latestOffset(one, self.LIMIT)) == ["a"]

    def test_a_time_window(self, settings: Settings, root: Path) -> None:
        for number, name in enumerate(["old", "right", "new"]):
            land(root, name)
            os.utime(root / name, (number, number))
        inside = dataclasses.replace(settings, modified_after_ms=500, modified_before_ms=2000)
        reader = FileStreamReader(inside)
        start = reader.initialOffset()
        assert self.names(reader, start, reader.latestOffset(start, self.LIMIT)) == ["right"]

    def test_a_lost_journal_is_an_error_that_says_what_to_do(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        reader.stop()
        for path in Path(settings.journals).iterdir():
            path.unlink()
        restarted = FileStreamReader(settings)
        for call in (
            lambda: restarted.latestOffset(one, self.LIMIT),
            lambda: restarted.partitions(restarted.initialOffset(), one),
        ):
            with pytest.raises(
                CloudFilesError, match=r"is gone: .*Restore it, or start with a new checkpoint"
            ):
                call()
        assert list(Path(settings.journals).iterdir()) == []

    def test_an_older_journal_is_an_error_too(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        reader = FileStreamReader(settings)
        one = reader.latestOffset(reader.initialOffset(), self.LIMIT)
        with pytest.raises(CloudFilesError, match="ends at file 1, the checkpoint is at 5"):
            FileStreamReader(settings).latestOffset({**one, "seq": 5}, self.LIMIT)

    def test_a_root_that_is_not_there_is_named(self, settings: Settings, root: Path) -> None:
        root.rmdir()
        reader = FileStreamReader(settings)
        with pytest.raises(CloudFilesError, match=f"cannot read the folder {root}: No such file"):
            reader.latestOffset(reader.initialOffset(), self.LIMIT)

    def test_big_batches_are_read_in_parts(self, settings: Settings) -> None:
        journal = Journal(settings.journals)
        journal.create(ignored=[])
        journal.add([SeenFile(f"/{number}", 1, 1) for number in range(10_001)], False)
        reader = FileStreamReader(settings)
        start, end = {"seq": 0}, {"journal": journal.id, "seq": 10_001}
        parts = [part for part in reader.partitions(start, end) if isinstance(part, FileRange)]
        assert [(part.after, part.up_to) for part in parts] == [(0, 10_000), (10_000, 10_001)]
        assert len(set(self.names(reader, start, end))) == 10_001

    def test_the_reader_and_its_partitions_travel(self, settings: Settings, root: Path) -> None:
        land(root, "a")
        reader = FileStreamReader(settings)
        start = reader.initialOffset()
        end = reader.latestOffset(start, self.LIMIT)
        there, part = pickle.loads(pickle.dumps((reader, reader.partitions(start, end)[0])))
        assert [batch.column(0).to_pylist() for batch in there.read(part)] == [[f"file:{root}/a"]]


def stream(spark: SparkSession, root: Path, **options: str) -> Any:
    reader = spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    for name, value in options.items():
        reader = reader.option(name.replace("_", "."), value)
    return reader.load(str(root))


def start(frame: Any, checkpoint: Path, table: str, **trigger: Any) -> StreamingQuery:
    writer = frame.writeStream.option("checkpointLocation", str(checkpoint))
    query: StreamingQuery = writer.trigger(**(trigger or {"availableNow": True})).toTable(table)
    return query


def finish(query: StreamingQuery) -> None:
    assert query.awaitTermination(120) is True
    assert query.exception() is None


class TestOnConnect:
    def test_files_are_described_as_binary_file_describes_them(
        self, spark: SparkSession, schema: str, root: Path, tmp_path: Path
    ) -> None:
        for folder in ("", "sub dir/ü%/[x]", "_k=1", "_no", ".no"):
            land(root, *(str(Path(folder, name)) for name in [*ODD_NAMES, *HIDDEN_NAMES]))
        finish(start(stream(spark, root), tmp_path / "checkpoint", f"{schema}.t"))
        columns = ["path", "modificationTime", "length", "_metadata"]
        expected = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(str(root))
        ours = {row.path: row for row in spark.table(f"{schema}.t").select(*columns).collect()}
        theirs = {row.path: row for row in expected.select(*columns).collect()}
        assert ours == theirs
        assert len(ours) == 3 * len(ODD_NAMES)
        assert {path.removeprefix("file:") for path in ours} == {
            str(path) for path in root.rglob("*.csv") if path.name in ODD_NAMES and "no" not in path.parts[-2]
        }

    def test_empty_files_are_kept(self, spark: SparkSession, schema: str, root: Path, tmp_path: Path) -> None:
        land(root, "empty", "sub/empty", text="")
        finish(start(stream(spark, root), tmp_path / "checkpoint", f"{schema}.t"))
        assert [row.length for row in spark.table(f"{schema}.t").collect()] == [0, 0]

    def test_checkpoints_old_and_new(
        self, spark: SparkSession, schema: str, root: Path, tmp_path: Path
    ) -> None:
        land(root, *(f"f{number}" for number in range(5)))
        for checkpoint, expected in (("one", 5), ("one", 5), ("two", 10)):
            frame = stream(spark, root, cloudFiles_maxFilesPerTrigger="2")
            finish(start(frame, tmp_path / checkpoint, f"{schema}.t"))
            assert spark.table(f"{schema}.t").count() == expected
        land(root, "f5")
        finish(start(stream(spark, root), tmp_path / "one", f"{schema}.t"))
        assert spark.table(f"{schema}.t").count() == 11
        assert len(list((tmp_path / "one" / "commits").glob("[0-9]"))) == 4  # 2 + 2 + 1, then 1

    def test_processing_time(self, spark: SparkSession, schema: str, root: Path, tmp_path: Path) -> None:
        table = f"{schema}.t"
        query = start(stream(spark, root), tmp_path / "checkpoint", table, processingTime="100 milliseconds")
        for number in range(3):
            land(root, f"d{number}/f")
            eventually(lambda: spark.catalog.tableExists(table))
            eventually(partial(self.counts, spark, table, number + 1))
        query.stop()

    @staticmethod
    def counts(spark: SparkSession, table: str, expected: int) -> bool:
        return spark.table(table).count() == expected

    def test_pattern(self, spark: SparkSession, schema: str, root: Path, tmp_path: Path) -> None:
        land(root, "a.csv", "b.json", "x/c.csv", "x/d.txt")
        frame = stream(spark, root, pathGlobFilter="*.{csv,json}")
        finish(start(frame, tmp_path / "checkpoint", f"{schema}.t"))
        assert spark.table(f"{schema}.t").count() == 3

    def test_content_is_asked_for(self, spark: SparkSession, schema: str, root: Path, tmp_path: Path) -> None:
        land(root, "a", text="ü")
        with pytest.raises(PySparkException, match=r"UNRESOLVED_COLUMN.*content"):
            _ = stream(spark, root).select("content").schema
        finish(start(stream(spark, root, local_content="true"), tmp_path / "checkpoint", f"{schema}.t"))
        assert [bytes(row.content) for row in spark.table(f"{schema}.t").collect()] == ["ü".encode()]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cloudFiles.format": "json"}, "lists files as binaryFile only"),
            (
                {"cloudFiles.inferColumnTypes": "secret-value"},
                "does not know the option cloudfiles.infercolumntypes",
            ),
        ],
    )
    def test_options_are_refused_at_once(
        self, spark: SparkSession, root: Path, options: dict[str, str], message: str
    ) -> None:
        reader = spark.readStream.format("cloudFiles").options(
            **{"cloudFiles.format": "binaryFile", **options}
        )
        with pytest.raises(PySparkException, match=message) as refusal:
            _ = reader.load(str(root)).schema
        assert "secret-value" not in str(refusal.value)

    def test_a_schema_of_one_s_own_is_refused(self, spark: SparkSession, root: Path, tmp_path: Path) -> None:
        reader = spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
        frame = reader.schema(StructType().add("x", "string")).load(str(root))
        with pytest.raises(PySparkException, match=r"leave out \.schema"):
            frame.writeStream.format("noop").option(
                "checkpointLocation", str(tmp_path / "c")
            ).start().awaitTermination()

    def test_a_lost_journal_ends_the_query(
        self, spark: SparkSession, schema: str, engine: Engine, root: Path, tmp_path: Path
    ) -> None:
        land(root, "a")
        before = set((engine.state / "cloud_files").glob("*"))
        finish(start(stream(spark, root), tmp_path / "checkpoint", f"{schema}.t"))
        for path in set((engine.state / "cloud_files").glob("*")) - before:
            path.unlink()
        query = start(stream(spark, root), tmp_path / "checkpoint", f"{schema}.t")
        with pytest.raises(PySparkException, match="journal of this checkpoint is gone"):
            query.awaitTermination(120)
        assert spark.table(f"{schema}.t").count() == 1

    def test_ten_thousand_files_are_one_quick_batch(
        self, spark: SparkSession, schema: str, root: Path, tmp_path: Path
    ) -> None:
        land(root, *(f"d{number % 100}/f{number}" for number in range(10_000)), text="")
        frame = stream(spark, root, cloudFiles_maxFilesPerTrigger="20000")
        query = start(frame, tmp_path / "checkpoint", f"{schema}.t")
        finish(query)
        assert spark.table(f"{schema}.t").select("path").distinct().count() == 10_000
        (progress,) = [found for found in query.recentProgress if found.numInputRows]
        print("10,000 files:", progress.durationMs)
        assert progress.durationMs["triggerExecution"] < 60_000  # 3.5 s on two cores that others used too


# The same job on classic Spark and on Connect: nothing in it knows where it runs.
JOB = """
import json, time
given = json.loads(GIVEN)
files = (spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    .option("cloudFiles.maxFilesPerTrigger", 17).load(given["root"])
    .select("path", "length", "_metadata.file_name"))
table, app = given["table"], given["app"]
def log(batch, batch_id):
    (batch.selectExpr("*", f"{batch_id} AS batch_id").write.format("delta").mode("append")
        .option("txnAppId", app).option("txnVersion", batch_id).saveAsTable(table))
writer = files.writeStream.foreachBatch(log).option("checkpointLocation", given["checkpoint"])
trigger = {"processingTime": "0 seconds"} if given["forever"] else {"availableNow": True}
query = writer.trigger(**trigger).start()
print("begun", flush=True)
query.awaitTermination()
"""


def job(root: Path, table: str, forever: bool) -> str:
    given = {"root": str(root), "checkpoint": f"{root}.checkpoint", "table": table, "app": str(root)}
    return f"GIVEN = {json.dumps(given | {'forever': forever})!r}\n{JOB}"


def assert_each_once(spark: SparkSession, table: str, root: Path) -> None:
    logged = [row.path for row in spark.table(table).select("path").collect()]
    landed = [f"file:{path}" for path in root.rglob("*") if path.is_file()]
    assert sorted(logged) == sorted(landed)


class TestExactlyOnce:
    @pytest.fixture
    def table(self, spark: SparkSession, schema: str) -> str:
        spark.sql(f"CREATE TABLE {schema}.log (path STRING, length BIGINT, file_name STRING, batch_id INT)")
        return f"{schema}.log"

    @staticmethod
    def begun(runs: Runs, run: int) -> bool:
        return "begun" in runs.log(run)

    def test_through_kills_of_the_client(
        self, spark: SparkSession, runs: Runs, table: str, root: Path
    ) -> None:
        chance = random.Random(7)
        for life in range(3):
            land(root, *(f"life{life}/{number} {name}" for number, name in enumerate(ODD_NAMES)))
            run = runs.start(job(root, table, forever=True))
            eventually(partial(self.begun, runs, run))
            time.sleep(chance.uniform(0, 1))
            land(root, *(f"life{life}/late{number}" for number in range(20)), text="")
            time.sleep(chance.uniform(0, 1))
            runs.kill_run(run)
            runs.released(run)
        runs.finish(job(root, table, forever=False))
        assert_each_once(spark, table, root)

    def test_through_kills_of_the_server(
        self, engine: Engine, spark: SparkSession, runs: Runs, table: str, root: Path
    ) -> None:
        land(root, *(f"d{number % 7}/f{number}" for number in range(100)))
        run = runs.start(job(root, table, forever=True))
        eventually(lambda: spark.table(table).count() >= 17)
        pid = engine.pid
        os.kill(pid, signal.SIGKILL)
        land(root, *(f"late{number}" for number in range(30)))
        eventually(lambda: engine.pid != pid or not engine.alive())
        engine.start()
        assert runs.result(run)["exit_code"] == 1  # it is told, and does not hang
        runs.finish(job(root, table, forever=False))
        after = session(engine.remote, engine.state)
        assert_each_once(after, table, root)
        after.stop()


CLASSIC = """
import sys
from pathlib import Path
from pyspark.sql import SparkSession
from local_workspace.cloud_files import register
builder = SparkSession.builder.master("local[2]")
for name, value in SETTINGS.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
register(spark, Path(STATE))
"""


def test_on_classic_spark(root: Path, tmp_path: Path) -> None:
    """The same job with a JVM of its own, killed once in the middle."""
    settings = spark_settings(tmp_path / "state") | {
        "spark.jars": ",".join(map(str, jar_paths())),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.driver.memory": "1g",
    }
    table = f"delta.`{tmp_path}/log`"
    save, path = ".saveAsTable(table)", f".save({str(tmp_path / 'log')!r})"
    head = f"SETTINGS = {settings!r}\nSTATE = {str(tmp_path / 'state')!r}\n{CLASSIC}"
    file = tmp_path / "job.py"
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    land(root, *(f"{number} {name}" for number, name in enumerate(ODD_NAMES)))
    file.write_text(head + job(root, table, forever=True).replace(save, path))
    with (tmp_path / "log.txt").open("wb") as log:
        client = subprocess.Popen(
            [sys.executable, str(file)], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            eventually(lambda: len(list((tmp_path / "log").glob("_delta_log/*.json"))) >= 2, seconds=180)
        finally:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()
    land(root, "late", "later")
    count = f"\nprint(sorted(row.path for row in spark.table({table!r}).select('path').collect()))"
    file.write_text(head + job(root, table, forever=False).replace(save, path) + count)
    done = subprocess.run(
        [sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(sorted(f"file:{path}" for path in root.iterdir()))


def test_encoded() -> None:
    assert encoded("/a b/ü%/[x]#?") == "/a%20b/ü%25/%5Bx%5D%23%3F"
