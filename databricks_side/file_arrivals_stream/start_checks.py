"""What must be true before a stream starts, so that no arrival is lost or logged twice unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from databricks_file_arrivals.core.deployment import describe
from databricks_file_arrivals.core.errors import BadInput, StreamRefused, TableDiffers, TableMissing
from databricks_file_arrivals.core.tables import ARRIVALS, STREAMS, Names
from file_arrivals_stream.checkpoint import Checkpoint
from file_arrivals_stream.options import AlreadyLogged, StreamSettings, contains
from file_arrivals_stream.spark_sql import SPARK_ERRORS, SparkSql, first_line


@dataclass(frozen=True, slots=True)
class KnownStream:
    """A row of `<log_table>_streams`."""

    stream_id: str
    root: str
    checkpoint: str
    leaves_out: tuple[str, ...]


def check_tables(sql: SparkSql, names: Names) -> None:
    """Raise TableMissing or TableDiffers unless the stream's two tables are as this version makes them."""
    differences = []
    for name, table in ((names.arrivals, ARRIVALS), (names.streams, STREAMS)):
        described = describe(sql, name)
        if described is None:
            raise TableMissing(str(name))
        differences += [f"{name}: {line}" for line in described.differences(table, strict=True)]
    if differences:
        raise TableDiffers(
            differences,
            "Run deploy_framework(workflow_mapping_table, log_table, upgrade=True), or use the wheel that "
            "these tables were made with. Nothing was logged, and no file is lost.",
        )


def check_root(spark: SparkSession, directory: str, dbutils: Any = None) -> None:
    """Raise BadInput unless the monitored directory is there and can be listed. It may be empty."""
    try:
        if dbutils is not None:
            dbutils.fs.ls(directory)  # one level; Spark's own readers list all that is below
        else:
            spark.readStream.format("text").load(directory).schema  # noqa: B018  (analysis looks for it)
    except Exception as error:
        reason = first_line(error) if isinstance(error, SPARK_ERRORS) else f"{type(error).__name__}: {error}"
        raise BadInput(
            f"monitored_directory {directory} does not exist or cannot be listed: {reason.splitlines()[0]}\n"
            "Create it, or give this principal READ on it."
        ) from error


def check_stream(sql: SparkSql, settings: StreamSettings, at: Checkpoint) -> tuple[str, ...]:
    """Raise StreamRefused when the stream would lose or double arrivals; else say whose are left out.

    The answer names the streams whose files this one does not log again: with `already_logged=skip` those
    whose root overlaps its own. What was chosen at the first start holds at every later one.
    """
    known = [
        KnownStream(row["stream_id"], row["root"], row["checkpoint"], tuple(row["leaves_out"] or ()))
        for row in sql.query(f"SELECT * FROM {settings.names.streams.sql}")
    ]
    own = next((stream for stream in known if stream.stream_id == at.stream_id), None)
    others = [stream for stream in known if stream is not own and _overlap(stream.root, settings.root)]
    if own is not None:
        _refuse_other_root(own, settings)
    elif at.newest_committed >= 0:
        _refuse_other_log(settings, at)
    if at.stream_id is not None:
        _refuse_restored(sql, settings, at)
    if own is None and settings.already_logged is AlreadyLogged.REFUSE:
        _refuse_overlap(sql, settings, others)
    if settings.already_logged is AlreadyLogged.SKIP:
        return tuple(stream.stream_id for stream in others)
    return own.leaves_out if own is not None and settings.already_logged is AlreadyLogged.REFUSE else ()


def _overlap(one: str, other: str) -> bool:
    return contains(one, other) or contains(other, one)


def _refuse_other_root(own: KnownStream, settings: StreamSettings) -> None:
    if own.root != settings.root:
        raise StreamRefused(
            f"The checkpoint {settings.checkpoint} belongs to a stream of {own.root}, not of "
            f"{settings.root}. Use a new checkpoint_directory for another monitored_directory: a stream has "
            "one root."
        )


def _refuse_other_log(settings: StreamSettings, at: Checkpoint) -> None:
    raise StreamRefused(
        f"The checkpoint {settings.checkpoint} is at batch {at.newest_committed}, but "
        f"{settings.names.arrivals} has nothing of its stream {at.stream_id}: those files were logged "
        "elsewhere, and would be missing here. Use a new checkpoint_directory, which logs them here too (or "
        "none of them, with cloudFiles_includeExistingFiles=false); or go on with the log_table that it had."
    )


def _refuse_restored(sql: SparkSql, settings: StreamSettings, at: Checkpoint) -> None:
    """Batch numbers that the log has already would be dropped by Delta, with other files in them."""
    arrivals = settings.names.arrivals
    found = sql.query(
        f"SELECT max(batch_id) AS batch FROM {arrivals.sql} WHERE stream_id = :stream_id",
        {"stream_id": at.stream_id},
    )
    logged = found[0]["batch"]
    if logged is not None and logged > at.newest_begun:
        raise StreamRefused(
            f"The checkpoint {settings.checkpoint} ends at batch {at.newest_begun}, but {arrivals} holds "
            f"batch {logged} of its stream {at.stream_id}: it is an older copy, and its next batches would "
            "be taken for ones that are logged already. Use a new checkpoint_directory with "
            "already_logged=skip: what is logged is left out, and the rest is logged."
        )


def _refuse_overlap(sql: SparkSql, settings: StreamSettings, others: list[KnownStream]) -> None:
    for other in others:
        if not sql.query(
            f"SELECT 1 AS logged FROM {settings.names.arrivals.sql} WHERE stream_id = :stream_id LIMIT 1",
            {"stream_id": other.stream_id},
        ):
            continue  # it never logged a file
        raise StreamRefused(
            f"{settings.root} overlaps {other.root}, whose files the stream {other.stream_id} has logged "
            f"with the checkpoint {other.checkpoint}. A new checkpoint would log them a second time. Go on "
            "with that checkpoint; or set already_logged=skip (files with the same path, time and size are "
            "left out) or already_logged=again (workflows run for them once more)."
        )
