"""What a checkpoint says, read through Spark, so that any storage that Spark knows will do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pyspark.sql import SparkSession

from databricks_file_arrivals.core.errors import StreamRefused
from databricks_file_arrivals.core.paths import canonical
from file_arrivals_stream.spark_sql import SPARK_ERRORS, error_condition, first_line


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a checkpoint is. A new one has no stream yet, and no batch (-1)."""

    stream_id: str | None
    newest_begun: int
    newest_committed: int

    @classmethod
    def read(cls, spark: SparkSession, directory: str) -> Checkpoint:
        """What the checkpoint at hand says. Raises StreamRefused where it is there but cannot be read."""
        found = stream_id(spark, directory)
        if found is None and canonical(directory) in map(canonical, _files(spark, directory)):
            raise _unreadable(directory, "it is a file")
        return cls(found, _newest(spark, directory, "offsets"), _newest(spark, directory, "commits"))


def stream_id(spark: SparkSession, directory: str) -> str | None:
    """The id that Spark minted with the checkpoint, or None when there is no checkpoint yet."""
    try:
        lines = spark.read.format("text").load(f"{directory.rstrip('/')}/metadata").collect()
    except SPARK_ERRORS as error:
        if error_condition(error) == "PATH_NOT_FOUND":
            return None
        raise _unreadable(directory, first_line(error)) from error
    try:
        return str(json.loads("".join(row.value for row in lines))["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(directory, "its file `metadata` does not hold a query's id") from error


def _newest(spark: SparkSession, directory: str, part: str) -> int:
    """The newest batch that a part of the checkpoint names, or -1."""
    files = _files(spark, f"{directory.rstrip('/')}/{part}")
    names = (path.rsplit("/", 1)[-1] for path in files)
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def _files(spark: SparkSession, path: str) -> list[str]:
    """The files below a directory, none when it is not there; of a file itself."""
    try:
        files = spark.read.format("binaryFile").load(path).select("path").collect()
    except SPARK_ERRORS as error:
        if error_condition(error) == "PATH_NOT_FOUND":
            return []
        raise _unreadable(path, first_line(error)) from error
    return [row.path for row in files]


def _unreadable(directory: str, reason: str) -> StreamRefused:
    return StreamRefused(
        f"checkpoint_directory {directory} cannot be read: {reason}\nGive this principal access to it; if it "
        "is damaged, use a new checkpoint_directory with already_logged=skip, and nothing is logged twice."
    )
