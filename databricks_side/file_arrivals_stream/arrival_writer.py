"""What happens to a batch: one Delta commit of all of it, once, whatever is repeated."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from databricks_file_arrivals.core.errors import StatementFailed, StreamRefused
from databricks_file_arrivals.core.tables import ARRIVALS, Names
from file_arrivals_stream.checkpoint import stream_id
from file_arrivals_stream.spark_sql import SparkSql

logger = logging.getLogger(__name__)

# Another stream that starts at the same moment writes the same small table.
REGISTER_TRIES = 5


@dataclass(slots=True)
class ArrivalWriter:
    """Appends each batch of a stream to the arrival log, exactly once.

    Spark may call it in another process (Connect, serverless) and more than once for a batch: so it holds
    nothing but texts, and Delta drops a second commit of the same stream and batch. Errors fail the query.
    """

    log_table: str
    root: str
    checkpoint: str
    leave_out: tuple[str, ...] = ()
    _stream_id: str | None = field(default=None, init=False)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        names = Names.of(self.log_table)
        sql = SparkSql(batch.sparkSession)
        if self._stream_id is None:
            self._stream_id = self._register(sql, names)
        rows = self._rows(sql, names, batch, self._stream_id, batch_id)
        if rows.isEmpty():
            return
        (
            rows.write.format("delta")
            .mode("append")
            .option("txnAppId", self._stream_id)
            .option("txnVersion", batch_id)
            .saveAsTable(names.arrivals.sql)
        )

    def _rows(self, sql: SparkSql, names: Names, batch: DataFrame, stream: str, batch_id: int) -> DataFrame:
        if self.leave_out:
            known = sql.spark.table(names.arrivals.sql).where(F.col("stream_id").isin(*self.leave_out))
            same = ["path", "file_size", "modified_at"]
            batch = batch.join(known.select(*same), on=same, how="left_anti")
        return batch.select(
            F.lit(stream).alias("stream_id"),
            F.lit(batch_id).cast("bigint").alias("batch_id"),
            F.lit(self.root).alias("root"),
            "directory",
            "path",
            "file_size",
            "modified_at",
            F.current_timestamp().alias("logged_at"),
        ).select(*[column.name for column in ARRIVALS.columns])

    def _register(self, sql: SparkSql, names: Names) -> str:
        """The stream's id, once its row stands in `<log_table>_streams`."""
        found = stream_id(sql.spark, self.checkpoint)
        if found is None:
            raise StreamRefused(
                f"The checkpoint {self.checkpoint} lost its file `metadata` while the stream was running."
            )
        row = {"stream_id": found, "root": self.root, "checkpoint": self.checkpoint}
        if sql.query(
            f"SELECT 1 AS known FROM {names.streams.sql} WHERE stream_id = :stream_id",
            {"stream_id": found},
        ):
            return found
        for attempt in range(1, REGISTER_TRIES + 1):
            try:
                sql.query(
                    f"MERGE INTO {names.streams.sql} s USING (SELECT :stream_id AS stream_id, :root AS root, "
                    ":checkpoint AS checkpoint) n ON s.stream_id = n.stream_id WHEN NOT MATCHED THEN INSERT "
                    "(stream_id, root, checkpoint, started_at) "
                    "VALUES (n.stream_id, n.root, n.checkpoint, current_timestamp())",
                    row,
                )
                break
            except StatementFailed as error:
                if not error.retryable or attempt == REGISTER_TRIES:
                    raise
                logger.info("another stream wrote %s at the same moment; trying again", names.streams)
        return found
