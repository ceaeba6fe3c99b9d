"""All that differs between the supported versions of Airflow, each with its reason."""

from __future__ import annotations

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

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "Asset",
    "AssetAlias",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "Stats",
    "TaskInstanceKey",
    "XCom",
    "conf",
    "get_async_connection",
]
