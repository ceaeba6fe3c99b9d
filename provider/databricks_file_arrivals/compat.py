"""All that differs between the supported versions of Airflow, each with its reason."""

from __future__ import annotations

from datetime import datetime, timedelta

# Airflow 3 moved the authoring interface to `airflow.sdk`; the common.compat provider, which the stock
# Databricks
# provider brings, gives it under one name on 2.11 and 3.
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Context,
    Stats,
    TaskInstanceKey,
    XCom,
    conf,
)

# Event-driven scheduling came with Airflow 3.0. Before, the class is only there to be imported.
try:
    from airflow.sdk import AssetWatcher
    from airflow.triggers.base import BaseEventTrigger

    EVENT_DRIVEN = True
except ImportError:
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger  # type: ignore[assignment]  # as above

    EVENT_DRIVEN = False


def failed_run_before(context: Context) -> tuple[datetime, timedelta] | None:
    """When the DAG's last run ended, if it failed, and for how long none has succeeded; else None."""
    # Airflow 3 asks its API server through the task instance; in Airflow 2 the DAG run asks the database.
    ti = context.get("ti")
    owner = ti if hasattr(ti, "get_previous_dagrun") else context.get("dag_run")
    ask = getattr(owner, "get_previous_dagrun", None)
    last = ask() if ask is not None else None
    if last is None or str(getattr(last.state, "value", last.state)) != "failed" or last.end_date is None:
        return None
    since = context.get("prev_end_date_success") or last.start_date or last.end_date
    return last.end_date, last.end_date - since


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


__all__ = [
    "EVENT_DRIVEN",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "Asset",
    "AssetAlias",
    "AssetWatcher",
    "BaseEventTrigger",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "Stats",
    "TaskInstanceKey",
    "XCom",
    "conf",
    "failed_run_before",
    "get_async_connection",
    "max_map_length",
    "run_began",
]
