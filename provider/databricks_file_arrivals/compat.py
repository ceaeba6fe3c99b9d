"""All that differs between the supported versions of Airflow, each with its reason."""

from __future__ import annotations

from datetime import datetime

# Airflow 3 moved the authoring interface to `airflow.sdk`; the common.compat provider, which the stock
# Databricks
# provider brings, gives it under one name on 2.11 and 3.
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
    Context,
    conf,
)

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "BaseOperator",
    "BaseSensorOperator",
    "Context",
    "get_async_connection",
    "max_map_length",
    "run_began",
]


def max_map_length() -> int:
    """Over how many entries Airflow maps a task at most. Its settings are read from another module on 2.11
    than on 3."""
    return int(conf.getint("core", "max_map_length", fallback=1024))


def run_began(context: Context) -> datetime:
    """A time before which the DAG run of a task has done nothing. On 2.11 a DAG run has no `run_after`; and
    everywhere its `start_date` is set anew when its tasks are cleared."""
    run = context["dag_run"]
    found = (getattr(run, name, None) for name in ("run_after", "data_interval_end", "start_date"))
    times: list[datetime] = [time for time in found if time is not None]
    return min(times)
