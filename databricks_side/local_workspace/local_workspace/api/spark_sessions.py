"""Spark sessions for the API's own statements: each has its own, so that none sees another's settings."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_workspace.runtime import session_url

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_PLAN = re.compile(r"(SQLSTATE: \w{5}(?:; line \d+ pos \d+)?);\n.*", re.DOTALL)
# All names of the one catalog there is.
CATALOGS = ("main", "spark_catalog", "hive_metastore")


class SparkSessions:
    """Sessions on the engine. One costs some 20 ms, so there is no pool that could carry anything over."""

    def __init__(self, remote: str) -> None:
        self._remote = remote

    @contextmanager
    def one(self) -> Iterator["SparkSession"]:
        """A new session, released at the end with whatever still runs in it."""
        from pyspark.sql.connect.session import SparkSession

        builder = SparkSession.builder.remote(session_url(self._remote))
        # Adaptive execution starts jobs from threads of its own: one that starts just after its statement was
        # cancelled would run on for ever. On small data it gains nothing.
        spark: SparkSession = builder.config("spark.sql.adaptive.enabled", "false").create()
        try:
            yield spark
        finally:
            spark.stop()


def error_text(error: Exception) -> str:
    """What the engine says, without its plan and the stack of its JVM, in the names that the caller knows."""
    text = _PLAN.sub(r"\1", str(error).split("\n\nJVM stacktrace:")[0].strip())
    return text.replace("`spark_catalog`.", "`main`.").replace("spark_catalog.", "main.")
