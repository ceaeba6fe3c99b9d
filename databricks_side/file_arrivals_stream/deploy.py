"""The framework's tables, made from a notebook or a job on Databricks."""

from __future__ import annotations

from pyspark.sql import SparkSession

from databricks_file_arrivals.core.deployment import Deployment, deploy
from file_arrivals_stream.spark_sql import SparkSql, current_session


def deploy_framework(
    workflow_mapping_table: str,
    log_table: str | None = None,
    upgrade: bool = False,
    spark: SparkSession | None = None,
) -> Deployment:
    """Make the mapping table and, with `log_table`, the log's tables, views and function where missing.

    What is there is compared and kept; TableDiffers says precisely what differs, and then nothing was
    changed. `upgrade` adds the columns that an older table lacks. Printed, the result says what was done:

    >>> print(deploy_framework("main.ingest.workflow_mapping", "main.ingest.file_log"))  # doctest: +SKIP
    """
    return deploy(SparkSql(spark or current_session()), workflow_mapping_table, log_table, upgrade=upgrade)
