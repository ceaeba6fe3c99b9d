# Databricks notebook source
# MAGIC %md
# MAGIC # Stream arrivals
# MAGIC Auto Loader watches `monitored_directory`; each file that arrives is a row of `<log_table>_arrivals`.
# MAGIC
# MAGIC As a notebook it takes its parameters from the widgets of those names, as a Python task from
# MAGIC `--name=value`. It needs the wheel `databricks-file-arrivals-stream` as a library, and the tables that
# MAGIC `deploy_framework` makes.

# COMMAND ----------

import sys

from file_arrivals_stream import run_job

# COMMAND ----------

run_job(sys.argv[1:], globals().get("spark"), globals().get("dbutils"))
