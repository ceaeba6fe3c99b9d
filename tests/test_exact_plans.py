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

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.planning import Claim, Job, plan, route, workflows
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.ledger import Ledger
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
JOB = [Job(1, frozenset(["trigger_id"]))]

rules = st.lists(
    st.tuples(st.sampled_from(DIRECTORIES), st.sampled_from(["one", "two"]), st.sampled_from("YYN")),
    max_size=5,
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


@pytest.fixture(scope="module")
def tables(workspace: RunningWorkspace) -> Iterator[Tables]:
    spark = session(workspace.remote, workspace.folder)
    sql = SparkSql(spark)  # type: ignore[arg-type]  # Connect's session is of another class
    schema = f"main.exact_{uuid.uuid4().hex[:8]}"
    sql.query(f"CREATE SCHEMA {schema}")
    deploy(sql, f"{schema}.mapping", f"{schema}.log")
    names = Names.of(f"{schema}.log", f"{schema}.mapping")
    yield Tables(sql, names, Ledger(sql, names))
    spark.stop()


def taken_by(directory: str, rows: list[tuple[str, str, str]]) -> set[str]:
    """The workflows of the nearest rule directory, found the slow way."""
    above = [r for r in rows if r[2] == "Y" and (directory == r[0] or directory.startswith(r[0] + "/"))]
    nearest = max((len(r[0]) for r in above), default=0)
    return {r[1] for r in above if len(r[0]) == nearest}


def selects(row: LogRow, stream: str, directory: str, batch: int) -> bool:
    """Whether the row covers a file, by the row alone."""
    found = (row.directories or {}).get(directory)
    return row.stream_id == stream and found is not None and found.after < batch <= found.up_to


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(mapped=rules, landed=batches, cut=st.integers(0, 3))
def test_each_arrival_is_read_once_for_each_rule_that_takes_it(
    tables: Tables, mapped: list[tuple[str, str, str]], landed: list[dict[str, int]], cut: int
) -> None:
    mapped = list(dict(((r[0], r[1]), r) for r in mapped).values())  # a doubled row is another test's
    stream = f"s-{uuid.uuid4().hex}"
    files = [
        (batch, directory, f"file:{directory}/{batch}-{i}")
        for batch, directories in enumerate(landed)
        for directory, count in directories.items()
        for i in range(count)
    ]
    log_arrivals(tables, stream, files)
    mapping = WorkflowMapping.read(
        {"directory": d, "workflow_name": w, "active_ind": active} for d, w, active in mapped
    )
    last = len(landed) - 1
    steps = sorted({min(cut, last), last})  # one claim, or two
    rows: list[LogRow] = []
    for epoch, (after, up_to) in enumerate(zip([-1, *steps], steps, strict=False), start=1):
        routes = route(tables.ledger.arrivals({stream: after}, {stream: up_to}), mapping)
        claim = Claim("c", uuid.uuid4().hex, epoch, str(tables.names.log))
        rows += plan(claim, routes, {name: JOB for name in workflows(routes)})
    tables.ledger.append(rows)

    read: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.status is Status.PLANNED:
            told = arrived_paths(str(row.trigger_id), str(tables.names.log), tables.sql.spark)
            assert sorted(told) == sorted(p for b, d, p in files if selects(row, stream, d, b))
            read.update((str(row.workflow_name), path) for path in told)
    assert read == Counter((w, path) for _, d, path in files for w in taken_by(d, mapped))

    for batch, directory, _ in files:
        others = [r for r in rows if r.status is not Status.PLANNED and selects(r, stream, directory, batch)]
        assert len(others) == (0 if taken_by(directory, mapped) else 1)


def log_arrivals(tables: Tables, stream: str, files: list[tuple[int, str, str]]) -> None:
    """Put files into the arrival log as the stream would."""
    rows = json.dumps([{"b": b, "d": d, "p": p} for b, d, p in files])
    tables.sql.query(
        f"INSERT INTO {tables.names.arrivals.sql} "
        "SELECT :stream, b, :root, d, p, 1, current_timestamp(), current_timestamp() "
        "FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<b: BIGINT, d: STRING, p: STRING>>')))",
        {"stream": stream, "root": ROOT, "rows": rows},
    )
