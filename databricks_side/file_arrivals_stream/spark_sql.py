"""Statements over a Spark session: what `core.deployment.Sql` asks for, on Databricks itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from databricks_file_arrivals.core.errors import StatementFailed

SPARK_ERRORS: tuple[type[Exception], ...] = (PySparkException,)
try:  # with a JVM in this process, what Spark has no Python class for arrives as Py4J's own error
    from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

    SPARK_ERRORS += (Py4JJavaError,)
except ImportError:  # a client of Spark Connect alone has no Py4J, and does not need it
    pass

# Another writer was quicker. The same statement may succeed when it is repeated.
CONFLICTS = ("DELTA_CONCURRENT_", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")


class SparkSql:
    """A Spark session as a way to execute statements; `:name` in one is bound, never pasted in."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Mapping[str, Any]]:
        """The rows of a statement, by column name. Raises StatementFailed."""
        try:
            return [row.asDict() for row in self._frame(statement, parameters).collect()]
        except SPARK_ERRORS as error:
            raise statement_failed(error) from error

    def frame(self, statement: str, parameters: Mapping[str, Any] | None = None) -> DataFrame:
        """The rows of a SELECT as a DataFrame that nothing has computed yet. Raises StatementFailed."""
        try:
            return self._frame(statement, parameters)
        except SPARK_ERRORS as error:
            raise statement_failed(error) from error

    def _frame(self, statement: str, parameters: Mapping[str, Any] | None) -> DataFrame:
        return self.spark.sql(statement, args=dict(parameters)) if parameters else self.spark.sql(statement)


def current_session() -> SparkSession:
    """The session of this notebook or job."""
    return SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()


def statement_failed(error: Exception) -> StatementFailed:
    """What Spark says of a failure, as this package's error."""
    condition = error_condition(error)
    return StatementFailed("FAILED", condition, first_line(error), condition.startswith(CONFLICTS))


def error_condition(error: Exception) -> str:
    """Spark's error condition, such as TABLE_OR_VIEW_NOT_FOUND, or "" when there is none."""
    thrown: Any = getattr(error, "java_exception", error)
    for name in ("getCondition", "getErrorClass"):  # the second is the name before Spark 4
        # Asked of a Java object, hasattr() is always true: the class says whether there is a condition.
        if name in dir(thrown):
            return str(getattr(thrown, name)() or "")
    return ""


def first_line(error: Exception) -> str:
    """The error's message without the server's stack trace."""
    thrown: Any = getattr(error, "java_exception", None)
    text = str(thrown.toString() if thrown is not None else error).strip()
    return text.split("\n\nJVM stacktrace:")[0].split("\n\tat ")[0] or type(error).__name__
