# Databricks notebook source
# MAGIC %md
# MAGIC # Read the files that arrived
# MAGIC A workflow as a notebook: reads exactly the files that it was told of, and logs them to a table.

# COMMAND ----------

import hashlib
from datetime import datetime, timezone
from pathlib import Path

from file_arrivals_stream import arrived_files

# COMMAND ----------

told = dbutils.widgets.getAll()  # noqa: F821  (a notebook's global)
files = arrived_files(told["trigger_id"], told["log_table"], spark)  # noqa: F821

# COMMAND ----------

rows = []
for file in files.collect():
    content = Path(file.path.removeprefix("file:")).read_bytes()
    digest, now = hashlib.sha256(content).hexdigest(), datetime.now(timezone.utc)
    rows.append(
        (told["workflow"], told["trigger_id"], int(told["run_id"]), file.path, len(content), digest, now)
    )

# COMMAND ----------

schema = (
    "workflow STRING, trigger_id STRING, run_id BIGINT, path STRING, bytes BIGINT, sha256 STRING, "
    "read_at TIMESTAMP"
)
spark.createDataFrame(rows, schema).write.mode("append").saveAsTable(told["consumed_table"])  # noqa: F821
dbutils.notebook.exit(f"read {len(rows)} of {told['file_count']} files of {told['directory']}")  # noqa: F821
