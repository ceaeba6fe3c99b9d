"""The tables, views and the SQL function: the only place where their names, columns and DDL stand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from databricks_file_arrivals.core.errors import BadTableName
from databricks_file_arrivals.core.outcomes import RANK, Status

SCHEMA_VERSION = 1
VERSION_PROPERTY = "file_arrivals.schema_version"
DEFAULT_CONSUMER = "default"
DRY_RUN_SUFFIX = "-dry-run"
"""What a dry run's consumer is called after its name, so that it takes no arrival from the real one."""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name in one to three parts, each checked, so that `sql` can stand in a statement."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read `catalog.schema.table`; parts may stand in backticks. Raises BadTableName."""
        parts = tuple(part.strip().strip("`") for part in (text or "").split("."))
        if not text or not text.strip():
            raise BadTableName(text, "it is empty")
        if len(parts) > 3:
            raise BadTableName(text, "it has more than three parts")
        for part in parts:
            if not part:
                raise BadTableName(text, "one of its parts is empty")
            if found := re.search(r"[^\w-]", part):
                raise BadTableName(text, f"{found[0]!r} cannot stand in a name")
        return cls(parts)

    def derive(self, suffix: str) -> TableName:
        """The name of a table beside this one: the same catalog and schema, the last part with a suffix."""
        return TableName((*self.parts[:-1], self.parts[-1] + suffix))

    @property
    def sql(self) -> str:
        """The quoted form, for statements."""
        return ".".join(f"`{part}`" for part in self.parts)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type as Spark writes it, and whether a null may stand in it."""

    name: str
    type: str
    nullable: bool = True
    comment: str = ""
    optional: bool = False  # a table without it works


@dataclass(frozen=True, slots=True)
class Table:
    """What a table must be."""

    suffix: str
    comment: str
    columns: tuple[Column, ...]
    cluster_by: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    def create(self, name: TableName) -> str:
        """The statement that creates it when it is missing."""
        columns = ",\n  ".join(
            f"`{c.name}` {c.type}{'' if c.nullable else ' NOT NULL'}{_comment(c.comment)}"
            for c in self.columns
        )
        cluster = f"\nCLUSTER BY ({', '.join(self.cluster_by)})" if self.cluster_by else ""
        properties = ", ".join(
            f"'{k}' = '{v}'" for k, v in (*self.properties, (VERSION_PROPERTY, SCHEMA_VERSION))
        )
        return (
            f"CREATE TABLE IF NOT EXISTS {name.sql} (\n  {columns}\n) USING DELTA{_comment(self.comment)}"
            f"{cluster}\nTBLPROPERTIES ({properties})"
        )


def _comment(text: str) -> str:
    return f" COMMENT '{text}'" if text else ""


MAPPING = Table(
    suffix="",
    comment="Which workflow runs for which directory. A row is a rule when active_ind is Y.",
    columns=(
        Column(
            "directory", "STRING", nullable=False, comment="Absolute, or relative to the monitored directory"
        ),
        Column("workflow_name", "STRING", nullable=False, comment="The name of a Databricks job"),
        Column("active_ind", "STRING", nullable=False, comment="Y: the row counts"),
        Column("last_change_user", "STRING"),
        Column("last_updated_ts", "TIMESTAMP"),
        Column("file_pattern", "STRING", optional=True),
        Column(
            "parameters",
            "MAP<STRING,STRING>",
            optional=True,
            comment="Sent to the job where it declares them",
        ),
        Column("settle_seconds", "BIGINT", optional=True),
        Column("min_files", "BIGINT", optional=True),
        Column("max_wait_seconds", "BIGINT", optional=True),
        Column("completion_marker", "STRING", optional=True),
        Column("min_interval_seconds", "BIGINT", optional=True),
        Column("when_queued", "STRING", optional=True, comment="hold, skip or start"),
        Column("expect_every_seconds", "BIGINT", optional=True),
        Column("owner", "STRING", optional=True),
    ),
)

ARRIVALS = Table(
    suffix="_arrivals",
    comment="The arrival log: one row for each file that Auto Loader saw. Written by the stream only.",
    columns=(
        Column("stream_id", "STRING", nullable=False),
        Column("batch_id", "BIGINT", nullable=False),
        Column("root", "STRING", nullable=False, comment="The monitored directory"),
        Column("directory", "STRING", nullable=False, comment="The parent directory of the file"),
        Column("path", "STRING", nullable=False),
        Column("file_size", "BIGINT", comment="Bytes"),
        Column("modified_at", "TIMESTAMP"),
        Column("logged_at", "TIMESTAMP"),
    ),
    cluster_by=("stream_id", "batch_id"),
)

STREAMS = Table(
    suffix="_streams",
    comment="One row for each stream. Written by the stream only.",
    columns=(
        Column("stream_id", "STRING", nullable=False),
        Column("root", "STRING", nullable=False),
        Column("checkpoint", "STRING", nullable=False),
        Column("started_at", "TIMESTAMP"),
        Column("leaves_out", "ARRAY<STRING>", comment="Streams whose files it does not log again"),
    ),
)

TRIGGER_LOG = Table(
    suffix="",
    comment="The trigger log: what was decided for arrivals, and what came of it. Written by Airflow only.",
    columns=(
        Column("directory", "STRING"),
        Column("table_name", "STRING", comment="The last segment of the directory"),
        Column("workflow_name", "STRING"),
        Column(
            "run_id",
            "BIGINT",
            comment="A run; 1 queued already; -1 no mapping or workflow; -2 error; null not started",
        ),
        Column("job_trigger_time", "TIMESTAMP"),
        Column("trigger_id", "STRING", comment="What the run is told, and its idempotency token"),
        Column("consumer", "STRING"),
        Column("claim_id", "STRING"),
        Column("epoch", "BIGINT"),
        Column("status", "STRING"),
        Column("attempt", "INT"),
        Column("rule_id", "STRING"),
        Column("stream_id", "STRING"),
        Column("from_batch", "BIGINT"),
        Column("to_batch", "BIGINT"),
        Column(
            "directories",
            "MAP<STRING,STRUCT<after:BIGINT,up_to:BIGINT>>",
            comment="Its files: the batches that count",
        ),
        Column("file_pattern", "STRING"),
        Column("excluded_patterns", "ARRAY<STRING>"),
        Column("file_count", "BIGINT"),
        Column("total_bytes", "BIGINT"),
        Column("first_arrival_at", "TIMESTAMP"),
        Column("last_arrival_at", "TIMESTAMP"),
        Column("job_id", "BIGINT"),
        Column("job_parameters", "MAP<STRING,STRING>"),
        Column("started_run_id", "BIGINT"),
        Column("replay_of", "STRING"),
        Column("waits_for", "ARRAY<STRING>", comment="Why a hold waits"),
        Column("completion_marker", "STRING", comment="The marker that has arrived"),
        Column("error", "STRING"),
        Column("recorded_at", "TIMESTAMP"),
        Column("dag_id", "STRING"),
        Column("dag_run_id", "STRING"),
        Column("task_id", "STRING"),
        Column("try_number", "INT"),
    ),
    cluster_by=("consumer", "epoch"),
)

CONSUMERS = Table(
    suffix="_consumers",
    comment="One row for each consumer: how far it has claimed.",
    columns=(
        Column("consumer", "STRING", nullable=False),
        Column("epoch", "BIGINT", nullable=False),
        Column("claim_id", "STRING"),
        Column("cursor", "MAP<STRING,BIGINT>", comment="The newest batch claimed, by stream"),
        Column("open_from", "BIGINT", comment="The oldest epoch that still has something open"),
        Column("next_due", "TIMESTAMP", comment="When to look again though nothing arrives"),
        Column("updated_at", "TIMESTAMP"),
    ),
    # The compare-and-swap rests on these: with row-level concurrency or a weaker isolation two claims
    # could both win.
    properties=(("delta.isolationLevel", "Serializable"), ("delta.enableDeletionVectors", "false")),
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of all tables of one log; everything derives from `log_table`."""

    log: TableName
    mapping: TableName

    @classmethod
    def of(cls, log_table: str, workflow_mapping_table: str = "") -> Names:
        """Read the two names that a user gives. Raises BadTableName."""
        log = TableName.parse(log_table)
        return cls(log, TableName.parse(workflow_mapping_table) if workflow_mapping_table else log)

    @property
    def arrivals(self) -> TableName:
        return self.log.derive(ARRIVALS.suffix)

    @property
    def streams(self) -> TableName:
        return self.log.derive(STREAMS.suffix)

    @property
    def consumers(self) -> TableName:
        return self.log.derive(CONSUMERS.suffix)

    @property
    def arrived_files(self) -> TableName:
        return self.log.derive("_arrived_files")

    def tables(self) -> tuple[tuple[TableName, Table], ...]:
        """Each table of the log with its name, without the mapping table."""
        return (
            (self.arrivals, ARRIVALS),
            (self.streams, STREAMS),
            (self.log, TRIGGER_LOG),
            (self.consumers, CONSUMERS),
        )


KEY = ("consumer", "rule_id", "stream_id", "directory")
"""What a hold is kept by."""

REQUEST = ("claim_id", *KEY, "from_batch", "to_batch", "excluded_patterns", "replay_of")
"""What makes a request one within its claim: its place. All attempts of a request share it."""


def trusted(names: Names) -> str:
    """The rows that count: those of claims that have a CLAIMED row, and of each consumer's current claim."""
    return f"""SELECT l.* FROM {names.log.sql} l LEFT SEMI JOIN (
    SELECT claim_id FROM {names.log.sql} WHERE status = '{Status.CLAIMED}'
    UNION SELECT claim_id FROM {names.consumers.sql}
  ) won ON l.claim_id = won.claim_id
  WHERE l.status <> '{Status.CLAIMED}'"""


def views(names: Names) -> tuple[tuple[TableName, str], ...]:
    """Each view's name and query."""
    return (
        (names.log.derive("_latest"), _latest(names)),
        (names.log.derive("_held"), _held(names)),
        (names.log.derive("_unmapped"), _unmapped(names)),
        (names.log.derive("_lag"), _lag(names)),
    )


def _latest(names: Names) -> str:
    """The state of each request: of its rows the one with the highest attempt, then the highest rank. A hold
    that a later claim has replaced or ended is no request any more."""
    rank = " ".join(f"WHEN '{status}' THEN {rank}" for status, rank in RANK.items())
    return f"""SELECT {_LOG_COLUMNS} FROM (
  SELECT *, row_number() OVER (
    PARTITION BY {", ".join(REQUEST)}
    ORDER BY attempt DESC, CASE status {rank} ELSE 0 END DESC, recorded_at DESC
  ) AS nth, max(CASE WHEN replay_of IS NULL AND file_count > 0 THEN epoch END) OVER (
    PARTITION BY {", ".join(KEY)}
  ) AS newest FROM ({trusted(names)})
) WHERE nth = 1 AND (status <> '{Status.HELD}' OR epoch = newest)"""


def _held(names: Names) -> str:
    """The open holds: of each key the rows of the newest epoch, where those are holds."""
    return f"""SELECT {_LOG_COLUMNS} FROM (
  SELECT *, rank() OVER (PARTITION BY {", ".join(KEY)} ORDER BY epoch DESC) AS newest, row_number() OVER (
    PARTITION BY {", ".join(REQUEST)} ORDER BY recorded_at
  ) AS nth
  FROM ({trusted(names)}) WHERE replay_of IS NULL AND file_count > 0 AND rule_id IS NOT NULL
) WHERE newest = 1 AND nth = 1 AND status = '{Status.HELD}'"""


def _unmapped(names: Names) -> str:
    columns = (
        "consumer, directory, stream_id, file_count, total_bytes, first_arrival_at, last_arrival_at, epoch"
    )
    return f"SELECT {columns} FROM {names.log.derive('_latest').sql} WHERE status = '{Status.UNMAPPED}'"


def _lag(names: Names) -> str:
    """How far each consumer is behind each stream."""
    return f"""SELECT c.consumer, s.stream_id, s.root, c.cursor[s.stream_id] AS claimed_batch,
  max(a.batch_id) AS newest_waiting_batch, count(a.path) AS waiting_files, min(a.logged_at) AS waiting_since
FROM {names.consumers.sql} c CROSS JOIN {names.streams.sql} s LEFT JOIN {names.arrivals.sql} a
  ON a.stream_id = s.stream_id AND a.batch_id > coalesce(c.cursor[s.stream_id], -1)
GROUP BY ALL"""


_LOG_COLUMNS = ", ".join(c.name for c in TRIGGER_LOG.columns)


def like(pattern: str) -> str:
    """The SQL expression for LIKE of a file pattern (`*`, `?`) that is the SQL expression `pattern`."""
    for plain, escaped in (("\\\\", "\\\\\\\\"), ("%", "\\\\%"), ("_", "\\\\_"), ("*", "%"), ("?", "_")):
        pattern = f"replace({pattern}, '{plain}', '{escaped}')"
    return pattern


def wanted_file(arrival: str, request: str) -> str:
    """The SQL condition that a file of the right directory and batch is one that the request means."""
    name = f"substring_index({arrival}.path, '/', -1)"
    return (
        f"({request}.file_pattern IS NULL OR {name} LIKE {like(f'{request}.file_pattern')}) AND "
        f"NOT exists(coalesce({request}.excluded_patterns, array()), p -> {name} LIKE {like('p')})"
    )


def arrived_files_function(names: Names) -> str:
    """The query of the SQL function `<log_table>_arrived_files(wanted)`.

    The left side always has a row, so that a request that is not there, or whose files are not all there, is
    an error and never an empty answer.
    """
    request = f"""SELECT * FROM {names.log.sql} WHERE trigger_id = wanted AND status = '{Status.PLANNED}'
      AND epoch = CAST(conv(substring(wanted, 1, 12), 16, 10) AS BIGINT) LIMIT 1"""
    return f"""SELECT path, directory, file_size, modified_at, batch_id FROM (
  SELECT f.*, expected, count(f.path) OVER () AS found
  FROM (SELECT 1) LEFT JOIN (SELECT file_count AS expected FROM ({request})) ON true LEFT JOIN (
    SELECT a.* FROM {names.arrivals.sql} a JOIN (
      SELECT *, range.after AS after, range.up_to AS up_to
      FROM ({request}) LATERAL VIEW explode(directories) AS parent, range
    ) r ON a.stream_id = r.stream_id AND a.directory = r.parent
      AND a.batch_id > r.after AND a.batch_id <= r.up_to AND {wanted_file("a", "r")}
  ) f ON true
) WHERE CASE
  WHEN expected IS NULL THEN raise_error(concat('no request ', wanted, ' in {names.log}'))
  WHEN found <> expected THEN raise_error(concat(wanted, ': ', found, ' files, ', expected, ' expected'))
  ELSE path IS NOT NULL END"""
