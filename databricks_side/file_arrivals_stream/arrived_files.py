"""From what a started job was told, to exactly the files that are its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from databricks_file_arrivals.core.errors import ArrivedFilesError
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.tables import Names, wanted_file
from file_arrivals_stream.spark_sql import SparkSql, current_session

# The request's row. The epoch, which leads the trigger_id, lets Delta skip files; a row that stands twice
# is one.
_REQUEST = f"""SELECT * FROM {{log}}
  WHERE epoch = :epoch AND trigger_id = :trigger_id AND status = '{Status.PLANNED}' LIMIT 1"""


def arrived_files(trigger_id: str, log_table: str, spark: SparkSession | None = None) -> DataFrame:
    """The files of a run request: path, directory, file_size, modified_at, batch_id.

    Raises ArrivedFilesError when the request is not known, or when the arrival log has other than its
    `file_count` files: never an answer that is not whole.
    """
    sql = SparkSql(spark or current_session())
    request = _request(sql, trigger_id, log_table)
    files = _files(sql, request, trigger_id, log_table)
    _require(request, files.count(), trigger_id, log_table)
    return files


def arrived_paths(trigger_id: str, log_table: str, spark: SparkSession | None = None) -> list[str]:
    """The paths of a run request's files in the order of their arrival. Raises what `arrived_files` raises.

    >>> arrived_paths(dbutils.widgets.get("trigger_id"), "main.ingest.file_log")  # doctest: +SKIP
    """
    sql = SparkSql(spark or current_session())
    request = _request(sql, trigger_id, log_table)
    rows = _files(sql, request, trigger_id, log_table).select("batch_id", "path").collect()
    _require(request, len(rows), trigger_id, log_table)
    return [path for _, path in sorted((row.batch_id, row.path) for row in rows)]


def _request(sql: SparkSql, trigger_id: str, log_table: str) -> Mapping[str, Any]:
    log = Names.of(log_table).log
    if not re.fullmatch("[0-9a-f]{64}", trigger_id or ""):
        raise ArrivedFilesError(
            f"{trigger_id!r} is not a trigger_id, which has 64 hex digits. Declare the job parameter "
            "trigger_id and pass its value on; Airflow fills it when it starts the job."
        )
    ranges = "map_values(directories)"
    found = sql.query(
        "SELECT stream_id, file_count, "
        f"array_min(transform({ranges}, r -> r.after)) AS after, "
        f"array_max(transform({ranges}, r -> r.up_to)) AS up_to "
        f"FROM ({_REQUEST.format(log=log.sql)})",
        _identity(trigger_id),
    )
    if not found:
        raise ArrivedFilesError(
            f"{log} has no request {trigger_id}. Check that log_table is the one that the run was "
            "started with."
        )
    return found[0]


def _files(sql: SparkSql, request: Mapping[str, Any], trigger_id: str, log_table: str) -> DataFrame:
    """The arrivals of the request. Stream and batches stand there as literal values, so that Delta skips
    the files of all others: a join alone would read the whole log."""
    names = Names.of(log_table)
    return sql.frame(
        f"""SELECT a.path, a.directory, a.file_size, a.modified_at, a.batch_id
FROM {names.arrivals.sql} a JOIN (
  SELECT file_pattern, excluded_patterns, parent, range.after AS after, range.up_to AS up_to
  FROM ({_REQUEST.format(log=names.log.sql)}) LATERAL VIEW explode(directories) AS parent, range
) r ON a.directory = r.parent AND a.batch_id > r.after AND a.batch_id <= r.up_to AND {wanted_file("a", "r")}
WHERE a.stream_id = :stream_id AND a.batch_id > :after AND a.batch_id <= :up_to""",
        {
            **_identity(trigger_id),
            "stream_id": request["stream_id"] or "",
            "after": -1 if request["after"] is None else request["after"],
            "up_to": -1 if request["up_to"] is None else request["up_to"],
        },
    )


def _identity(trigger_id: str) -> dict[str, Any]:
    return {"trigger_id": trigger_id, "epoch": int(trigger_id[:12], 16)}


def _require(request: Mapping[str, Any], found: int, trigger_id: str, log_table: str) -> None:
    if found != request["file_count"]:
        names = Names.of(log_table)
        raise ArrivedFilesError(
            f"{names.arrivals} has {found} files of the request {trigger_id}, and its row in {names.log} "
            f"says {request['file_count']}. Rows of the arrival log were deleted or added by hand: restore "
            "the table (RESTORE TABLE ... TO VERSION AS OF ...), and run this job again."
        )
