"""A workflow as a Python task: reads exactly the files that it was told of, and logs them to a table."""

import argparse
import hashlib
from datetime import datetime, timezone
from pathlib import Path

from pyspark.sql import SparkSession

from file_arrivals_stream import arrived_paths

SCHEMA = (
    "workflow STRING, trigger_id STRING, run_id BIGINT, path STRING, bytes BIGINT, sha256 STRING, "
    "read_at TIMESTAMP"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in (
        "workflow",
        "run_id",
        "trigger_id",
        "log_table",
        "directory",
        "file_count",
        "consumed_table",
    ):
        parser.add_argument(f"--{name}", required=True)
    told = parser.parse_args()

    rows = []
    for path in arrived_paths(told.trigger_id, told.log_table):
        content = Path(path.removeprefix("file:")).read_bytes()
        digest, now = hashlib.sha256(content).hexdigest(), datetime.now(timezone.utc)
        rows.append((told.workflow, told.trigger_id, int(told.run_id), path, len(content), digest, now))

    spark = SparkSession.builder.getOrCreate()
    spark.createDataFrame(rows, SCHEMA).write.mode("append").saveAsTable(told.consumed_table)
    print(f"read {len(rows)} of {told.file_count} files of {told.directory}")


if __name__ == "__main__":
    main()
