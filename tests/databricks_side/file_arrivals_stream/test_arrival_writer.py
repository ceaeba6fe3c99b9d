"""A batch is one commit under the stream's own number, and travels to another process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pyspark import cloudpickle

from databricks_file_arrivals.core.errors import StreamRefused
from file_arrivals_stream.arrival_writer import ArrivalWriter
from tests.databricks_side.file_arrivals_stream.conftest import Log, Site

COLUMNS = "path string, directory string, file_size bigint, modified_at timestamp"


def writer(log: Log, checkpoint: Path, stream: str, *leave_out: str) -> ArrivalWriter:
    """A writer for a checkpoint that says it is of this stream."""
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "metadata").write_text(f'{{"id":"{stream}"}}')
    return ArrivalWriter(str(log.names.log), f"/root of {stream}", str(checkpoint), leave_out)


def rows(log: Log, stream: str) -> list[tuple[int, str]]:
    found = log.query(
        f"SELECT batch_id, path FROM {log.names.arrivals.sql} WHERE stream_id = '{stream}' ORDER BY ALL"
    )
    return [tuple(row) for row in found]


def test_a_batch_is_logged_once_and_another_is_another(log: Log, tmp_path: Path) -> None:
    write = writer(log, tmp_path / "c", "once")
    first = log.spark.createDataFrame([("/a/1", "/a", 1, None), ("/a/2", "/a", 0, None)], COLUMNS)
    other = log.spark.createDataFrame([("/a/3", "/a", 1, None)], COLUMNS)
    write(first, 0)
    write(other, 0)
    assert rows(log, "once") == [(0, "/a/1"), (0, "/a/2")], "a second commit of the number is dropped"
    write(other, 1)
    write(first.limit(0), 2)
    assert rows(log, "once") == [(0, "/a/1"), (0, "/a/2"), (1, "/a/3")]
    version = log.query(f"DESCRIBE HISTORY {log.names.arrivals.sql} LIMIT 1")[0].version
    write(first.limit(0), 3)
    assert log.query(f"DESCRIBE HISTORY {log.names.arrivals.sql} LIMIT 1")[0].version == version
    streams = log.query(f"SELECT * FROM {log.names.streams.sql} WHERE stream_id = 'once'")
    assert [row.root for row in streams] == ["/root of once"]


def test_left_out_is_what_those_streams_logged_unchanged(connect: Log, tmp_path: Path) -> None:
    make = connect.spark.createDataFrame
    when = connect.spark.sql("SELECT TIMESTAMP '2026-01-01 10:00:00.123' AS t").collect()[0].t
    seen = [("/b/same", "/b", 1, when), ("/b/sized", "/b", 1, when), ("/b/untimed", "/b", 1, None)]
    writer(connect, tmp_path / "1", "one")(make(seen, COLUMNS), 0)
    writer(connect, tmp_path / "2", "two")(make([("/b/other", "/b", 1, when)], COLUMNS), 0)
    now = [*seen[::2], ("/b/sized", "/b", 2, when), ("/b/other", "/b", 1, when), ("/b/new", "/b", 1, when)]
    writer(connect, tmp_path / "3", "three", "one")(make(now, COLUMNS), 0)
    assert [path for _, path in rows(connect, "three")] == ["/b/new", "/b/other", "/b/sized"]


def test_it_travels_with_nothing_but_texts(connect: Log, tmp_path: Path) -> None:
    sent = cloudpickle.dumps(writer(connect, tmp_path / "c", "sent"))  # type: ignore[no-untyped-call]
    assert len(sent) < 1000
    received: ArrivalWriter = cloudpickle.loads(sent)
    received(connect.spark.createDataFrame([("/a/1", "/a", 1, None)], COLUMNS), 0)
    assert rows(connect, "sent") == [(0, "/a/1")]


def test_streams_that_start_at_once_are_all_known(connect: Log, tmp_path: Path) -> None:
    """They write one small table at the same moment."""
    failed: list[BaseException] = []
    batch = connect.spark.createDataFrame([("/a/1", "/a", 1, None)], COLUMNS)

    def start(stream: str) -> None:
        try:
            writer(connect, tmp_path / stream, stream)(batch, 0)
        except BaseException as error:
            failed.append(error)

    streams = [f"at-once-{n}" for n in range(3)]
    threads = [threading.Thread(target=start, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    known = connect.query(
        f"SELECT stream_id FROM {connect.names.streams.sql} WHERE stream_id LIKE 'at-once-%'"
    )
    assert sorted(row.stream_id for row in known) == streams


def test_without_its_checkpoint_it_fails(connect_site: Site) -> None:
    write = ArrivalWriter(str(connect_site.log.names.log), "/root", str(connect_site.checkpoint))
    batch = connect_site.log.spark.createDataFrame([("/a/1", "/a", 1, None)], COLUMNS)
    with pytest.raises(StreamRefused, match="lost its file `metadata`"):
        write(batch, 0)
