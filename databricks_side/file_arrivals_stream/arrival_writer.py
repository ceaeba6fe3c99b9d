"""What happens to a batch: one Delta commit of all of it, once, whatever is repeated."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from databricks_file_arrivals.core.errors import StatementFailed, StreamRefused
from databricks_file_arrivals.core.signals import StreamPointer
from databricks_file_arrivals.core.tables import Names
from file_arrivals_stream.checkpoint import stream_id
from file_arrivals_stream.pointers import write_pointer
from file_arrivals_stream.spark_sql import SparkSql

logger = logging.getLogger(__name__)

# Another stream that starts at the same moment writes the same small table.
REGISTER_TRIES = 5
BATCH = "file_arrivals_batch"


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
    signal_volume: str = ""
    _stream_id: str | None = field(default=None, init=False)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        names = Names.of(self.log_table)
        sql = SparkSql(batch.sparkSession)
        if self._stream_id is None:
            self._stream_id = self._register(sql, names)
        batch.createOrReplaceTempView(BATCH)
        rows = self._rows(sql, names, self._stream_id, batch_id)
        if rows.isEmpty():
            return
        (
            rows.write.format("delta")
            .mode("append")
            .option("txnAppId", self._stream_id)
            .option("txnVersion", batch_id)
            .saveAsTable(names.arrivals.sql)
        )
        if self.signal_volume:
            write_pointer(self.signal_volume, StreamPointer(str(names.log), self._stream_id, batch_id))

    def _rows(self, sql: SparkSql, names: Names, stream: str, batch_id: int) -> DataFrame:
        return sql.frame(
            f"""SELECT :stream_id AS stream_id, CAST(:batch_id AS BIGINT) AS batch_id, :root AS root,
  directory, path, file_size, modified_at, current_timestamp() AS logged_at
FROM {BATCH} b {self._not_logged(names)}""",
            {
                "stream_id": stream,
                "batch_id": batch_id,
                "root": self.root,
                **{f"other{n}": other for n, other in enumerate(self.leave_out)},
            },
        )

    def _not_logged(self, names: Names) -> str:
        if not self.leave_out:
            return ""
        others = ", ".join(f":other{n}" for n in range(len(self.leave_out)))
        return f"""LEFT ANTI JOIN (
  SELECT path, file_size, modified_at FROM {names.arrivals.sql} WHERE stream_id IN ({others})
) a ON a.path = b.path AND a.file_size <=> b.file_size AND a.modified_at <=> b.modified_at"""

    def _register(self, sql: SparkSql, names: Names) -> str:
        """The stream's id, once its row stands in `<log_table>_streams`."""
        found = stream_id(sql.spark, self.checkpoint)
        if found is None:
            raise StreamRefused(
                f"The checkpoint {self.checkpoint} lost its file `metadata` while the stream was running."
            )
        row = {
            "stream_id": found,
            "root": self.root,
            "checkpoint": self.checkpoint,
            "leaves_out": json.dumps(self.leave_out),
        }
        if sql.query(
            f"SELECT 1 AS known FROM {names.streams.sql} WHERE stream_id = :stream_id",
            {"stream_id": found},
        ):
            return found
        for attempt in range(1, REGISTER_TRIES + 1):
            try:
                sql.query(
                    f"MERGE INTO {names.streams.sql} s USING (SELECT :stream_id AS stream_id, :root AS root, "
                    ":checkpoint AS checkpoint, from_json(:leaves_out, 'ARRAY<STRING>') AS leaves_out) n "
                    "ON s.stream_id = n.stream_id WHEN NOT MATCHED THEN INSERT "
                    "(stream_id, root, checkpoint, started_at, leaves_out) "
                    "VALUES (n.stream_id, n.root, n.checkpoint, current_timestamp(), n.leaves_out)",
                    row,
                )
                break
            except StatementFailed as error:
                if not error.retryable or attempt == REGISTER_TRIES:
                    raise
                logger.info("another stream wrote %s at the same moment; trying again", names.streams)
        return found
