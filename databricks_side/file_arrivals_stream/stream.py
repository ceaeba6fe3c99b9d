"""The stream: Auto Loader lists what arrives, and the arrival log holds each file once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from databricks_file_arrivals.core.errors import FileArrivalsError, WorkspaceError
from file_arrivals_stream.arrival_writer import ArrivalWriter
from file_arrivals_stream.checkpoint import Checkpoint
from file_arrivals_stream.options import SourceOptions, StreamSettings
from file_arrivals_stream.pointers import make_directory
from file_arrivals_stream.progress import Progress
from file_arrivals_stream.spark_sql import SparkSql
from file_arrivals_stream.start_checks import check_root, check_stream, check_tables

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2
T = TypeVar("T")

# String functions only: a regular expression would need care for newlines, which names may hold.
_NAME = "substring_index(path, '/', -1)"
_PARENT = f"left(path, length(path) - length({_NAME}) - 1)"
# Of a file at the very top the parent is `/`, not an empty text.
DIRECTORY = f"CASE WHEN instr({_PARENT}, '/') = 0 THEN concat({_PARENT}, '/') ELSE {_PARENT} END"


def run_stream(spark: SparkSession, settings: StreamSettings, dbutils: Any = None) -> None:
    """Log what arrives until there is no more (no batch_interval) or for ever; raise what goes wrong.

    A batch that fails ends the stream with its error: the next start repeats that batch, under the same
    number.
    """
    progress = Progress(SparkSql(spark), settings.names.arrivals)
    query = start_stream(spark, settings, dbutils)
    try:
        _hiding(settings.source, lambda: _wait(query, progress))
    finally:
        query.stop()  # on Connect a query would outlive this process
    logger.info("the stream has ended: %d files in %d batches", progress.files, progress.batches)


def start_stream(spark: SparkSession, settings: StreamSettings, dbutils: Any = None) -> StreamingQuery:
    """Check all that can be checked beforehand, then start the query."""
    for warning in settings.warnings:
        logger.warning(warning)
    sql = SparkSql(spark)
    check_tables(sql, settings.names)
    check_root(spark, settings.monitored_directory, dbutils)
    leave_out = check_stream(sql, settings, Checkpoint.read(spark, settings.checkpoint))
    logger.info(
        "watching %s into %s; checkpoint %s; %s; options %s",
        settings.root,
        settings.names.arrivals,
        settings.checkpoint,
        f"every {settings.interval}" if settings.interval else "what is there, then end",
        ", ".join(settings.source.names),
    )
    if leave_out:
        logger.info("leaving out the files that these streams have logged: %s", ", ".join(leave_out))
    if settings.signal_volume:
        make_directory(settings.signal_volume)
    writer = ArrivalWriter(
        str(settings.names.log), settings.root, settings.checkpoint, leave_out, settings.signal_volume
    )
    return _hiding(settings.source, lambda: _start(spark, settings, writer))


def arriving_files(spark: SparkSession, settings: StreamSettings) -> DataFrame:
    """The files that Auto Loader sees, never what is in them."""
    return (
        spark.readStream.format("cloudFiles")
        .options(**settings.source.values)
        .load(settings.monitored_directory)
        .selectExpr(
            "path",
            f"{DIRECTORY} AS directory",
            "length AS file_size",
            "modificationTime AS modified_at",
        )
    )


def _start(spark: SparkSession, settings: StreamSettings, writer: ArrivalWriter) -> StreamingQuery:
    trigger: dict[str, Any] = settings.trigger
    return (
        arriving_files(spark, settings)
        .writeStream.foreachBatch(writer)
        .option("checkpointLocation", settings.checkpoint)
        .trigger(**trigger)
        .start()
    )


def _wait(query: StreamingQuery, progress: Progress) -> None:
    while not query.awaitTermination(LOOK_SECONDS):
        progress.tell(query)
    progress.tell(query)


def _hiding(options: SourceOptions, action: Callable[[], T]) -> T:
    """Do it; an error that would show the value of an option is raised again without it."""
    shown: str | None = None
    try:
        return action()
    except FileArrivalsError:
        raise
    except Exception as error:
        text = str(error)
        shown = options.redact(text)
        if shown == text:
            raise
    # Raised here, outside of `except`, so that the first error is not its context.
    raise WorkspaceError(shown)
