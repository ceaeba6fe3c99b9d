"""Spark sessions for the API's own statements: each has its own, so that none sees another's settings."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_workspace.runtime import PATIENCE_SECONDS, be_patient, session_url

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

log = logging.getLogger(__name__)

_PLAN = re.compile(r"(SQLSTATE: \w{5}(?:; line \d+ pos \d+)?);\n.*", re.DOTALL)
# Connect names the JVM's class before a condition that it has no class of its own for; Databricks does not.
_CLASS = re.compile(r"^\([\w.$]+\) (?=\[)")
UNREACHABLE = "The workspace's Spark server cannot be reached. If it has ended, it is being started again."
# What a client sees of a server that died under it: no answer, or one that does not know the session.
_LOST = ("StatusCode.UNAVAILABLE", "[NO_ACTIVE_SESSION]", "INVALID_HANDLE.SESSION_NOT_FOUND")
# All names of the one catalog there is.
CATALOGS = ("main", "spark_catalog", "hive_metastore")


class SparkSessions:
    """Sessions on the engine. One costs some 20 ms, so there is no pool that could carry anything over.

    While the engine is not there, each statement waits for it as long as `patience` says, in seconds.
    """

    def __init__(self, remote: str, patience: float = PATIENCE_SECONDS) -> None:
        self._remote = remote
        self._patience = patience

    @contextmanager
    def one(self) -> Iterator["SparkSession"]:
        """A new session, released at the end with whatever still runs in it."""
        from pyspark.sql.connect.session import SparkSession

        # Neither the builder nor `stop` calls the server: they would hold a lock of all sessions meanwhile.
        spark: SparkSession = SparkSession.builder.remote(session_url(self._remote)).create()
        be_patient(spark, self._patience)
        try:
            # Adaptive execution starts jobs from threads of its own: one that starts just after its statement
            # was cancelled would run on for ever. On small data it gains nothing.
            spark.conf.set("spark.sql.adaptive.enabled", "false")
            yield spark
        finally:
            _release(spark)


def _release(spark: "SparkSession") -> None:
    from pyspark.errors import PySparkException

    spark.client.set_retry_policies([])  # the sessions of a server that is gone went with it
    try:
        spark.client.release_session()
    except PySparkException as error:
        log.info("session %s: %s", spark.session_id, error_text(error))
    spark.release_session_on_close = False
    spark.stop()


def engine_lost(error: Exception) -> bool:
    """Whether the engine has died, or is not there: the same statement may succeed when it is back."""
    return any(sign in str(error) for sign in _LOST)


def error_text(error: Exception) -> str:
    """What the engine says, without its plan and the stack of its JVM, in the names that the caller knows."""
    if engine_lost(error):
        return UNREACHABLE
    text = _CLASS.sub("", str(error).split("\n\nJVM stacktrace:")[0].strip())
    text = _PLAN.sub(r"\1", text)
    return text.replace("`spark_catalog`.", "`main`.").replace("spark_catalog.", "main.")
