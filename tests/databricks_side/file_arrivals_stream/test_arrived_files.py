"""A job gets exactly the files of its request, in every way to ask, or an error: never a part of them."""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pyspark.errors import PySparkException

from databricks_file_arrivals.core.errors import ArrivedFilesError
from file_arrivals_stream import arrived_files, arrived_paths
from tests.databricks_side.file_arrivals_stream.conftest import ODD_NAMES, Log

ODD_DIRECTORY = "/in/a'b\n;-- \"%_\\/東京"
Arrival = tuple[int, str, str]  # batch, directory, name


def put(log: Log, stream: str, arrivals: Sequence[Arrival]) -> None:
    rows = [{"b": b, "d": d, "p": f"{d}/{name}"} for b, d, name in arrivals]
    log.spark.sql(
        f"INSERT INTO {log.names.arrivals.sql} SELECT :stream, b, '/in', d, p, b + 1, "
        "TIMESTAMP '2026-01-31 08:00:00.123', current_timestamp() "
        "FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<b: BIGINT, d: STRING, p: STRING>>')))",
        {"stream": stream, "rows": json.dumps(rows)},
    )


def request(
    log: Log,
    stream: str,
    directories: Mapping[str, tuple[int, int]],
    count: int,
    pattern: str | None = None,
    excluded: Sequence[str] | None = None,
    status: str = "PLANNED",
    times: int = 1,
) -> str:
    """Write a request's row, as often as asked; its trigger_id."""
    epoch = random.randrange(2**40)
    trigger_id = f"{epoch:012x}{uuid.uuid4().hex}{uuid.uuid4().hex[:20]}"
    ranges = [
        {"key": d, "value": {"after": after, "up_to": up_to}} for d, (after, up_to) in directories.items()
    ]
    entry = "STRUCT<key: STRING, value: STRUCT<after: BIGINT, up_to: BIGINT>>"
    for _ in range(times):
        log.spark.sql(
            f"INSERT INTO {log.names.log.sql} (trigger_id, epoch, consumer, claim_id, status, attempt, "
            "stream_id, directories, file_pattern, excluded_patterns, file_count, recorded_at) "
            "SELECT :trigger_id, :epoch, 'c', 'claim', :status, 1, :stream, "
            f"map_from_entries(from_json(:ranges, 'ARRAY<{entry}>')), :pattern, "
            "from_json(:excluded, 'ARRAY<STRING>'), :count, current_timestamp()",
            {
                "trigger_id": trigger_id,
                "epoch": epoch,
                "status": status,
                "stream": stream,
                "ranges": json.dumps(ranges),
                "pattern": pattern,
                "excluded": json.dumps(excluded),
                "count": count,
            },
        )
    return trigger_id


def by_function(log: Log, trigger_id: str) -> list[Any]:
    """What the SQL function says."""
    return log.query(f"SELECT * FROM {log.names.arrived_files.sql}('{trigger_id}')")


def all_ways(log: Log, trigger_id: str) -> list[str]:
    """The paths, which are the same in each way to ask."""
    name = str(log.names.log)
    paths = arrived_paths(trigger_id, name, log.spark)
    frame = arrived_files(trigger_id, name, log.spark)
    assert frame.columns == ["path", "directory", "file_size", "modified_at", "batch_id"]
    rows = sorted(frame.collect())
    assert [row.path for row in rows] == sorted(paths)
    assert [tuple(row) for row in sorted(by_function(log, trigger_id))] == [tuple(row) for row in rows]
    return paths


def test_files_of_its_directories_and_batches_only(log: Log) -> None:
    """Ranges count for each parent directory by itself: `after` is out, `up_to` is in."""
    stream, other = uuid.uuid4().hex, uuid.uuid4().hex
    directories = ("/in/a", "/in/a/deep", "/in/ab", ODD_DIRECTORY)
    arrivals = [(b, d, name) for b in range(4) for d in directories for name in (*ODD_NAMES, f"{b}")]
    put(log, stream, arrivals)
    put(log, other, arrivals)
    wanted = {"/in/a": (0, 2), "/in/a/deep": (-1, 0), ODD_DIRECTORY: (2, 3)}
    expected = [f"{d}/{n}" for b, d, n in arrivals if d in wanted and wanted[d][0] < b <= wanted[d][1]]
    trigger_id = request(log, stream, wanted, len(expected))
    found = all_ways(log, trigger_id)
    assert sorted(found) == sorted(expected)
    row = arrived_files(trigger_id, str(log.names.log), log.spark).where("path = '/in/a/2'").collect()
    assert [(r.directory, r.file_size, r.batch_id, r.modified_at.microsecond) for r in row] == [
        ("/in/a", 3, 2, 123000)
    ]


PATTERNS = (
    "*.csv",
    "?.csv",
    "*",
    "a*",
    "*_*",
    "100%25.csv",
    "*\n*",
    "back\\slash.csv",
    "x;-- DROP.*",
    "*東?.csv",
)
NAMES = (*ODD_NAMES, "ab.csv", "a_b", "100x25.csv", "plain")


def matches(name: str, pattern: str) -> bool:
    """What a pattern means: `*` any text, `?` any one character, all else itself."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c) or re.escape(c) for c in pattern), name, re.DOTALL) is not None


def test_files_by_pattern(connect: Log) -> None:
    stream = uuid.uuid4().hex
    put(connect, stream, [(0, "/in/100%/p_q", name) for name in NAMES])
    chosen = random.Random(3)
    for pattern in ("*.csv", None):
        excluded = chosen.sample(PATTERNS, 2) if pattern is None else []
        expected = [
            name
            for name in NAMES
            if (pattern is None or matches(name, pattern)) and not any(matches(name, e) for e in excluded)
        ]
        made = request(connect, stream, {"/in/100%/p_q": (-1, 0)}, len(expected), pattern, excluded)
        found = arrived_paths(made, str(connect.names.log), connect.spark)
        assert sorted(path.rsplit("/", 1)[1] for path in found) == sorted(expected), (pattern, excluded)
        assert sorted(row.path for row in by_function(connect, made)) == sorted(found)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_picks_what_it_says(connect: Log, pattern: str) -> None:
    from databricks_file_arrivals.core.tables import wanted_file

    names = connect.spark.createDataFrame([(f"/in/a/{name}",) for name in NAMES], "path string")
    names.createOrReplaceTempView("named")
    for given, none in (("pattern", False), ("excluded", True)):
        request_row = (
            f"(SELECT {':p' if not none else 'CAST(NULL AS STRING)'} AS file_pattern, "
            f"{'array(:p)' if none else 'CAST(NULL AS ARRAY<STRING>)'} AS excluded_patterns)"
        )
        found = connect.spark.sql(
            f"SELECT a.path FROM named a CROSS JOIN {request_row} r WHERE {wanted_file('a', 'r')}",
            {"p": pattern},
        ).collect()
        picked = {row.path.removeprefix("/in/a/") for row in found}
        assert picked == {name for name in NAMES if matches(name, pattern) is not none}, given


def test_the_order_is_that_of_arrival(connect: Log) -> None:
    stream = uuid.uuid4().hex
    put(connect, stream, [(1, "/in/o", "a"), (0, "/in/o", "z"), (1, "/in/o", "0")])
    made = request(connect, stream, {"/in/o": (-1, 1)}, 3)
    assert arrived_paths(made, str(connect.names.log), connect.spark) == ["/in/o/z", "/in/o/0", "/in/o/a"]


def test_a_row_that_stands_twice_is_one_request(connect: Log) -> None:
    stream = uuid.uuid4().hex
    put(connect, stream, [(0, "/in/t", "a"), (0, "/in/t", "b")])
    made = request(connect, stream, {"/in/t": (-1, 0)}, 2, times=2)
    assert sorted(all_ways(connect, made)) == ["/in/t/a", "/in/t/b"]


@pytest.mark.parametrize(("there", "count"), [(0, 2), (3, 2), (1, 0)])
def test_other_than_its_number_of_files_is_an_error(connect: Log, there: int, count: int) -> None:
    stream = uuid.uuid4().hex
    put(connect, stream, [(0, "/in/w", f"{n}") for n in range(there)] or [(0, "/in/v", "x")])
    made = request(connect, stream, {"/in/w": (-1, 0)}, count)
    for ask in (arrived_files, arrived_paths):
        with pytest.raises(
            ArrivedFilesError, match=rf"has {there} files .* says {count}\. .*run this job again"
        ):
            ask(made, str(connect.names.log), connect.spark)
    with pytest.raises(PySparkException, match=f"{there} files, {count} expected"):
        by_function(connect, made)


def test_a_request_that_is_not_there_is_an_error(connect: Log) -> None:
    unknown = f"{7:012x}{'0' * 52}"
    for ask in (arrived_files, arrived_paths):
        with pytest.raises(ArrivedFilesError, match=f"has no request {unknown}. Check that log_table"):
            ask(unknown, str(connect.names.log), connect.spark)
    with pytest.raises(PySparkException, match=f"no request {unknown}"):
        by_function(connect, unknown)


def test_only_a_planned_row_is_a_request(connect: Log) -> None:
    stream = uuid.uuid4().hex
    put(connect, stream, [(0, "/in/h", "a")])
    made = request(connect, stream, {"/in/h": (-1, 0)}, 1, status="TRIGGERED")
    with pytest.raises(ArrivedFilesError, match="has no request"):
        arrived_paths(made, str(connect.names.log), connect.spark)


@pytest.mark.parametrize(
    "text", ["", "{{job.parameters.trigger_id}}", "F" * 64, "0" * 63, "0" * 64 + "\n", "' OR 1=1"]
)
def test_what_is_no_trigger_id_is_an_error(connect: Log, text: str) -> None:
    with pytest.raises(ArrivedFilesError, match=r"is not a trigger_id.*Declare the job parameter"):
        arrived_files(text, str(connect.names.log), connect.spark)
