# Databricks notebook source
# MAGIC %md
# MAGIC # Deploy the framework
# MAGIC Makes the mapping table and, when `log_table` is given, the log's tables, views and function.
# MAGIC Tables that are there are compared and kept; one that differs is an error that says what differs.

# COMMAND ----------

from file_arrivals_stream import deploy_framework

# COMMAND ----------

dbutils.widgets.text("workflow_mapping_table", "main.ingest.workflow_mapping")  # noqa: F821  (a notebook's global)
dbutils.widgets.text("log_table", "")  # noqa: F821
dbutils.widgets.dropdown("upgrade", "false", ["false", "true"])  # noqa: F821

# COMMAND ----------

print(
    deploy_framework(
        dbutils.widgets.get("workflow_mapping_table"),  # noqa: F821
        dbutils.widgets.get("log_table") or None,  # noqa: F821
        upgrade=dbutils.widgets.get("upgrade") == "true",  # noqa: F821
    )
)
