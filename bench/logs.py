"""What a poll and a claim cost on logs of 10,000, 1,000,000 and 10,000,000 rows: it must not grow with them.

Each log is deployed as by users, on a local workspace (real Spark, real Delta), and filled as streams and
claims would have: three streams whose batches of 1,000 files came in turn, all of them claimed, each claim
with fifty requests. Trigger log and arrival log have the same number of rows. Up to a million rows are
inserted at a time, of one stream each: that leaves files of one stream and of batches that follow each other,
as the stream writes them and as clustering keeps them, only larger. There is no OPTIMIZE here.

- A poll is the sensor's look that finds nothing new.
- A claim is all of the operator's work for one new batch of 100 files in 10 directories: read, plan, append,
  take the epoch, start ten runs, record. The workspace starts no process for the runs.

The logs are measured in turn, round after round, so that whatever else the machine does hits all of them; the
median counts.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import QueueSettings, SparkPythonTask, Task

from bench.report import publish
from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from databricks_file_arrivals.hooks import FileArrivalsHook

STREAMS = 3
FILES, ROWS = 1_000, 101  # of a batch, of a claim
CHUNK = 1_000_000
DIRECTORIES = 10


@dataclass
class Log:
    """A log of some size, and the seconds that were measured on it."""

    hook: "FileArrivalsHook"
    rows: int
    polls: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)
    batch: int = 0

    def __post_init__(self) -> None:
        from databricks_file_arrivals.core.tables import Names

        schema = f"main.log_{self.rows}"
        self.names = Names.of(f"{schema}.file_log", f"{schema}.workflow_mapping")
        self.batch = self.rows // FILES

    def fill(self, spark: "SparkSession") -> None:
        """Deploy the tables and write what years of arrivals would have left."""
        from databricks_file_arrivals.core.deployment import deploy

        self.hook.query(f"CREATE SCHEMA {str(self.names.log).rpartition('.')[0]}")
        deploy(self.hook, str(self.names.mapping), str(self.names.log))
        for begin in range(0, self.rows, CHUNK):
            end = min(begin + CHUNK, self.rows)
            for stream in range(STREAMS):
                arrivals = self.names.arrivals.sql
                spark.sql(_ARRIVALS.format(table=arrivals, begin=begin, end=end, stream=stream))
            spark.sql(_REQUESTS.format(table=self.names.log.sql, begin=begin, end=end))
        epoch = (self.rows - 1) // ROWS
        newest = {f"stream-{s}": max(range(s, self.batch, STREAMS)) for s in range(STREAMS)}
        self.hook.query(
            f"UPDATE {self.names.consumers.sql} SET epoch = :epoch, claim_id = sha1(CAST(:epoch AS STRING)), "
            "open_from = :epoch, next_due = NULL, cursor = from_json(:cursor, 'MAP<STRING,BIGINT>')",
            {"epoch": epoch, "cursor": json.dumps(newest)},
        )
        # The last claim is one that was finished, wherever the rows end.
        self.hook.query(
            f"INSERT INTO {self.names.log.sql} (consumer, claim_id, epoch, status) "
            "VALUES ('default', sha1(CAST(:epoch AS STRING)), :epoch, 'CLAIMED')",
            {"epoch": epoch},
        )
        self.hook.query(
            f"INSERT INTO {self.names.mapping.sql} (directory, workflow_name, active_ind, when_queued) "
            "SELECT concat('/in/d', id), 'load', 'Y', 'start' FROM range(:count)",
            {"count": DIRECTORIES},
        )

    def settle(self) -> None:
        """Make the consumer one that has nothing to look at again: the runs, which stay queued here, would
        have ended."""
        self.hook.query(f"UPDATE {self.names.consumers.sql} SET next_due = NULL, open_from = epoch")

    def land(self) -> None:
        """One more batch."""
        self.hook.query(
            f"INSERT INTO {self.names.arrivals.sql} "
            "SELECT 'stream-0', :batch, '/in', concat('/in/d', id % :count), "
            "concat('/in/d', id % :count, '/', :batch, '-', id), 10, now(), now() FROM range(100)",
            {"batch": self.batch, "count": DIRECTORIES},
        )
        self.batch += STREAMS

    def poll(self) -> None:
        """The sensor's look."""
        from databricks_file_arrivals.workspace.exchange import run
        from databricks_file_arrivals.workspace.gate import due

        found = run(due(self.names, "default", warehouse_id=self.hook.warehouse_id), self.hook.call)
        assert not found, found

    def claim(self) -> None:
        """The operator's work."""
        from databricks_file_arrivals.operators import TriggerWorkflowsOperator

        operator = TriggerWorkflowsOperator(
            task_id="trigger",
            log_table=str(self.names.log),
            workflow_mapping_table=str(self.names.mapping),
            starts_per_second=0,
        )
        ti = SimpleNamespace(
            dag_id="bench",
            run_id="bench",
            task_id="trigger",
            try_number=1,
            max_tries=3,
            xcom_push=lambda **_: None,
        )
        context: Any = {"ti": ti}  # all of it that the operator uses
        done = operator.execute(context)
        assert done["triggered"] == DIRECTORIES, done

    def forget(self) -> None:
        """Measure anew."""
        self.polls, self.claims = [], []

    def measure(self) -> None:
        """One round."""
        self.settle()
        self.polls.append(_seconds(self.poll))
        self.land()
        self.claims.append(_seconds(self.claim))


_ARRIVALS = f"""INSERT INTO {{table}}
SELECT 'stream-{{stream}}', batch, '/in', directory, concat(directory, '/', id, '.csv'), 10,
  moment, moment
FROM (SELECT id, id div {FILES} AS batch, concat('/in/d', id % {DIRECTORIES}) AS directory,
  timestamp_seconds(1700000000 + id div {FILES}) AS moment FROM range({{begin}}, {{end}}))
WHERE batch % {STREAMS} = {{stream}}"""

# The last row of each claim is its CLAIMED row; of the others two make a request, PLANNED and TRIGGERED.
_REQUESTS = f"""INSERT INTO {{table}} (consumer, claim_id, epoch, status, trigger_id, attempt, rule_id,
  directory, table_name, workflow_name, job_id, job_parameters, stream_id, from_batch, to_batch, directories,
  file_count, total_bytes, run_id, started_run_id, job_trigger_time, recorded_at)
SELECT 'default', sha1(CAST(epoch AS STRING)), epoch,
  CASE WHEN id % {ROWS} = {ROWS - 1} THEN 'CLAIMED'
    WHEN id % {ROWS} % 2 = 0 THEN 'PLANNED' ELSE 'TRIGGERED' END,
  if(id % {ROWS} = {ROWS - 1}, NULL, concat(lpad(lower(hex(epoch)), 12, '0'), lpad(hex(id div 2), 52, '0'))),
  1, directory, directory, 'd', 'load', 1, map('directory', directory), 'stream-0', epoch, epoch,
  map(directory, named_struct('after', epoch - 1, 'up_to', epoch)), 10, 100, id, id, moment, moment
FROM (SELECT id, id div {ROWS} AS epoch, concat('/in/d', id % {DIRECTORIES}) AS directory,
  timestamp_seconds(1700000000 + id div {ROWS}) AS moment FROM range({{begin}}, {{end}}))"""


def _seconds(what: Callable[[], None]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def rows(logs: Sequence[Log]) -> list[dict[str, Any]]:
    """The table: each log against the smallest."""
    least = [statistics.median(logs[0].polls), statistics.median(logs[0].claims)]
    found = []
    for log in logs:
        poll, claim = statistics.median(log.polls), statistics.median(log.claims)
        found.append(
            {
                "rows": log.rows,
                "poll s": round(poll, 3),
                "poll, times the smallest": round(poll / least[0], 2),
                "claim s": round(claim, 3),
                "claim, times the smallest": round(claim / least[1], 2),
            }
        )
    return found


def compiling_session(remote: str) -> "SparkSession":
    """A session for large inserts; the workspace's own ones compile nothing, as small statements want it."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(remote).create()
    spark.conf.set("spark.sql.codegen.wholeStage", "true")
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")
    return spark


def connect(workspace: RunningWorkspace, home: str) -> None:
    """Tell Airflow where the workspace is; there is no database, as no DAG is run."""
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    os.environ["AIRFLOW_CONN_DATABRICKS_DEFAULT"] = json.dumps(
        {
            "conn_type": "databricks",
            "host": "127.0.0.1",
            "port": workspace.port,
            "schema": "http",
            "password": workspace.token(),
            "extra": {"http_path": f"/sql/1.0/warehouses/{workspace.warehouse_id}"},
        }
    )


def main() -> None:
    """Fill, measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=9, help="(default: %(default)s)")
    given = parser.parse_args()
    setup()
    with (
        tempfile.TemporaryDirectory(prefix="bench-workspace-") as folder,
        running_workspace(Path(folder) / "state", options=["--processes", "0"]) as workspace,
    ):
        connect(workspace, folder)
        from databricks_file_arrivals.hooks import FileArrivalsHook

        hook = FileArrivalsHook(statement_timeout=3600)
        task = Task(task_key="t", spark_python_task=SparkPythonTask(python_file="/none.py"))
        WorkspaceClient(host=workspace.url, token=workspace.token()).jobs.create(
            name="load", tasks=[task], queue=QueueSettings(enabled=True)
        )
        logs = [Log(hook, count) for count in given.rows]
        spark = compiling_session(workspace.remote)
        for log in logs:
            begun = time.perf_counter()
            log.fill(spark)
            print(f"{log.rows:,} rows filled in {time.perf_counter() - begun:.0f} s", flush=True)
        spark.stop()
        print("measuring", flush=True)
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            for number in range(given.rounds + 1):
                for log in logs:
                    log.measure()
                    if number == 0:  # compiled code and caches come first
                        log.forget()
    publish(
        "logs",
        f"A poll and a claim by the size of the log, median of {given.rounds}",
        rows(logs),
        rounds=given.rounds,
        streams=STREAMS,
    )


if __name__ == "__main__":
    main()
