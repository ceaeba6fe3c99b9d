"""All that differs between the supported versions of Airflow, and of the stock Databricks provider that comes
with each, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

try:
    # Airflow 3 moved the authoring interface to `airflow.sdk`; the common.compat provider, which the stock
    # Databricks provider brings, gives it under one name on 2.11 and 3.
    from airflow.providers.common.compat.sdk import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        BaseOperator,
        BaseSensorOperator,
        Context,
    )
except ImportError:
    # common.compat before 1.10 has not all of them: the constraints of 2.11.0 and 3.0.6 pin 1.7.
    if not TYPE_CHECKING:  # the same names in other places, which no one environment has all
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )

        try:
            from airflow.sdk import BaseOperator, BaseSensorOperator
            from airflow.sdk.definitions.context import Context
        except ImportError:
            from airflow.models.baseoperator import BaseOperator
            from airflow.sensors.base import BaseSensorOperator
            from airflow.utils.context import Context

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "BaseOperator",
    "BaseSensorOperator",
    "Context",
    "get_async_connection",
    "proxies",
]


async def get_async_connection(hook: Any, conn_id: str) -> Any:
    """The connection, without blocking the event loop; its parts can be read on the loop too.

    Hooks have `aget_connection` since Airflow 3.1. Before that the one way is a thread: on 3.0 the triggerer
    refuses `get_connection` on its loop. common.compat has a function for it, but not before 1.9, and it
    takes the hook since 1.17 only.
    """
    if hasattr(hook, "aget_connection"):
        return await hook.aget_connection(conn_id)
    return await sync_to_async(_read)(hook, conn_id)


@dataclass(frozen=True, slots=True, repr=False)
class _Connection:
    """What a connection says, read once. On 3.0 each look at Airflow's `extra_dejson` tells the supervisor
    what to mask, which the triggerer refuses on its loop too; the stock hook looks there for each token."""

    conn_id: str
    host: str | None
    schema: str | None
    port: int | None
    login: str | None
    password: str | None
    extra_dejson: Mapping[str, Any]


def _read(hook: Any, conn_id: str) -> _Connection:
    found = hook.get_connection(conn_id)
    return _Connection(**{each.name: getattr(found, each.name) for each in fields(_Connection)})


def proxies(hook: Any) -> Mapping[str, str]:
    """The proxies that the extra `proxies` of the connection names, by scheme.

    The stock hook knows them since the provider's 7.17. Before that its own calls for tokens would go past
    them, so they are not followed at all.
    """
    found: Mapping[str, str] | None = getattr(hook, "proxies", None)
    return found or {}
