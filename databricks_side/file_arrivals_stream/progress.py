"""One line in the run's output for each batch, from the process that waits for the stream."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from databricks_file_arrivals.core.errors import StatementFailed
from databricks_file_arrivals.core.tables import TableName
from file_arrivals_stream.spark_sql import SparkSql

logger = logging.getLogger(__name__)


class Progress:
    """Tells of each batch once. The number of files is what the arrival log holds of it.

    Spark's own count of input rows is of no use here: it counts a file again for each time that a batch is
    looked at.
    """

    def __init__(self, sql: SparkSql, arrivals: TableName) -> None:
        self._sql, self._arrivals = sql, arrivals
        self._told: int | None = None
        self.files = 0
        self.batches = 0

    def tell(self, query: Any) -> None:
        """Log a line for each batch that has ended since the last call."""
        ended = {
            int(p["batchId"]): p
            for p in query.recentProgress
            if self._told is None or p["batchId"] > self._told
        }
        # Between two looks Spark reports that nothing is new, under the number of the batch that will come.
        ended = {batch: p for batch, p in ended.items() if "addBatch" in p["durationMs"]}
        if not ended:
            return
        try:
            counts = self._counts(str(query.id), min(ended), max(ended))
        except StatementFailed as error:  # a line for people must not end a stream that works
            logger.warning("batches %d to %d ended; counting them failed: %s", min(ended), max(ended), error)
            return
        for batch in sorted(ended):
            self._line(str(query.id), batch, counts.get(batch, 0), ended[batch])
        self._told = max(ended)

    def _counts(self, stream: str, first: int, last: int) -> dict[int, int]:
        found = self._sql.query(
            f"SELECT batch_id, count(*) AS files FROM {self._arrivals.sql} "
            "WHERE stream_id = :stream AND batch_id >= :first AND batch_id <= :last GROUP BY batch_id",
            {"stream": stream, "first": first, "last": last},
        )
        return {row["batch_id"]: row["files"] for row in found}

    def _line(self, stream: str, batch: int, files: int, progress: Mapping[str, Any]) -> None:
        seconds = progress["durationMs"].get("triggerExecution", 0) / 1000
        logger.info("stream %s batch %d: %d files logged in %.1f s", stream, batch, files, seconds)
        self.files += files
        self.batches += 1
