"""Plans are exact, on real Spark: what a job reads for its request is what its rule takes, each arrival once.

The two sentences of the planner: the files of a request are a function of its row, here as `arrived_paths`
answers a job; and for each arrival and rule that matched it there is exactly one row.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.patterns import matches
from databricks_file_arrivals.core.planning import (
    Claim,
    Job,
    Situation,
    decide,
    gaps,
    matched,
    plan,
    route,
    wanted,
    workflows,
)
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.ledger import Consumer, Ledger
from file_arrivals_stream import arrived_paths
from file_arrivals_stream.spark_sql import SparkSql
from local_workspace.runtime import session
from local_workspace.testing import RunningWorkspace

ROOT = "/in"
NAMES = ("a", "b", "it's", 'x "y"\n%;--', "名")
DIRECTORIES = [
    ROOT,
    *(f"{ROOT}/{x}" for x in NAMES),
    *(f"{ROOT}/{x}/{y}" for x in NAMES[:3] for y in NAMES[2:]),
]
NOW = datetime.now()  # without a zone, as Spark gives times
JOB = [Job(1, frozenset(["trigger_id"]))]

Rule = tuple[str, str, str, "str | None", int]

rules = st.lists(
    st.tuples(
        st.sampled_from([*DIRECTORIES, f"{ROOT}/*"]),
        st.sampled_from(["one", "two"]),
        st.sampled_from("YYYN"),
        st.sampled_from([None, None, "*.csv", "0*", "?-1.%*"]),
        st.sampled_from([0, 0, 3]),
    ),
    max_size=5,
    unique_by=lambda r: (r[0], r[1]),
)
batches = st.lists(
    st.dictionaries(st.sampled_from(DIRECTORIES), st.integers(1, 2), max_size=4), min_size=1, max_size=4
)


@dataclass(frozen=True)
class Tables:
    """A deployed log on the workspace's Spark server."""

    sql: SparkSql
    names: Names
    ledger: Ledger
    arrival_log: ArrivalLog


@pytest.fixture(scope="module")
def tables(workspace: RunningWorkspace) -> Iterator[Tables]:
    spark = session(workspace.remote, workspace.folder)
    sql = SparkSql(spark)  # type: ignore[arg-type]  # Connect's session is of another class
    schema = f"main.exact_{uuid.uuid4().hex[:8]}"
    sql.query(f"CREATE SCHEMA {schema}")
    deploy(sql, f"{schema}.mapping", f"{schema}.log")
    names = Names.of(f"{schema}.log", f"{schema}.mapping")
    yield Tables(sql, names, Ledger(sql, names), ArrivalLog(sql, names))
    spark.stop()


def taken_by(path: str, rows: list[Rule]) -> set[str]:
    """The workflows of the nearest rule directory that pick a file, found the slow way."""
    directory, _, name = path.removeprefix("file:").rpartition("/")
    above = []
    for row in rows:
        parts = directory.split("/")
        place = "/".join(parts[:3]) if "*" in row[0] and len(parts) > 2 else row[0]
        if row[2] == "Y" and (directory == place or directory.startswith(place + "/")):
            above.append((len(place), "*" not in row[0], row))
    nearest = max((found[:2] for found in above), default=None)
    return {r[1] for *at, r in above if tuple(at) == nearest and (r[3] is None or matches(name, r[3]))}


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # each example takes seconds: a smaller one is not looked for
)
@given(mapped=rules, landed=batches, cut=st.integers(0, 3))
def test_each_arrival_is_read_once_for_each_rule_that_takes_it(
    tables: Tables, mapped: list[Rule], landed: list[dict[str, int]], cut: int
) -> None:
    stream, consumer = f"s-{uuid.uuid4().hex}", uuid.uuid4().hex
    files = [
        (batch, directory, f"file:{directory}/{batch}-{i}.{('csv', '%x')[i % 2]}")
        for batch, directories in enumerate(landed)
        for directory, count in directories.items()
        for i in range(count)
    ]
    log_arrivals(tables, stream, files)
    columns = ("directory", "workflow_name", "active_ind", "file_pattern", "min_files")
    mapping = WorkflowMapping.read(dict(zip(columns, row, strict=True)) for row in mapped)
    last = len(landed) - 1
    steps = [-1, *sorted({min(cut, last), last}), last]  # one claim, or two, and one when all waits are over
    rows: list[LogRow] = []
    for epoch, (after, up_to) in enumerate(pairwise(steps), start=1):
        before = Consumer(consumer, epoch - 1, None, {}, 0, None, False, NOW)
        holds = tables.ledger.holds(before)
        arrivals = tables.arrival_log.arrivals({stream: after}, {stream: up_to}) if after < up_to else []
        pairs = matched(arrivals, mapping)
        asked = wanted(pairs)
        routes = route(pairs, tables.arrival_log.picks(asked) if asked else {})
        between = gaps(routes, holds)
        occupied = tables.arrival_log.occupied(between) if between else frozenset()
        as_of = NOW + timedelta(days=2 if after == up_to else 0)
        decisions = decide(routes, mapping, Situation(as_of, holds, occupied))
        claim = Claim(consumer, uuid.uuid4().hex, epoch, str(tables.names.log))
        planned = plan(claim, decisions, {name: JOB for name in workflows(decisions)})
        closing = LogRow(status=Status.CLAIMED, consumer=consumer, claim_id=claim.claim_id, epoch=epoch)
        tables.ledger.append([*planned, closing])
        rows += planned

    read: Counter[tuple[str, str]] = Counter()
    unmapped: Counter[str] = Counter()
    for row in rows:
        if row.status is Status.PLANNED:
            told = arrived_paths(str(row.trigger_id), str(tables.names.log), tables.sql.spark)
            assert len(told) == row.file_count
            read.update((str(row.workflow_name), path) for path in told)
        elif row.status is not Status.HELD:
            unmapped.update(p for b, d, p in files if covers(row, stream, d, b, p))
    assert read == Counter((w, path) for _, d, path in files for w in taken_by(path, mapped))
    assert unmapped == Counter(path for _, d, path in files if not taken_by(path, mapped))


def covers(row: LogRow, stream: str, directory: str, batch: int, path: str) -> bool:
    """Whether the row covers a file, by the row alone."""
    found = (row.directories or {}).get(directory)
    excluded = any(matches(path.rpartition("/")[2], p) for p in row.excluded_patterns or ())
    return (
        row.stream_id == stream and found is not None and found.after < batch <= found.up_to and not excluded
    )


def log_arrivals(tables: Tables, stream: str, files: list[tuple[int, str, str]]) -> None:
    """Put files into the arrival log as the stream would."""
    rows = json.dumps([{"b": b, "d": d, "p": p} for b, d, p in files])
    tables.sql.query(
        f"INSERT INTO {tables.names.arrivals.sql} "
        "SELECT :stream, b, :root, d, p, 1, current_timestamp(), current_timestamp() "
        "FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<b: BIGINT, d: STRING, p: STRING>>')))",
        {"stream": stream, "root": ROOT, "rows": rows},
    )
