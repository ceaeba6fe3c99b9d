"""All that differs between the supported versions of Airflow, and of the stock Databricks provider that comes
with each, with its reason."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
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
except ImportError:
    # common.compat before 1.10 has not all of them: the constraints of 2.11.0 and 3.0.6 pin 1.7.
    if not TYPE_CHECKING:  # the same names in other places, which no one environment has all
        from airflow.configuration import conf
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )
        from airflow.models.taskinstancekey import TaskInstanceKey
        from airflow.stats import Stats

        try:
            from airflow.sdk import Asset, AssetAlias, BaseOperator, BaseOperatorLink, BaseSensorOperator
            from airflow.sdk.definitions.context import Context
            from airflow.sdk.execution_time.xcom import XCom
        except ImportError:
            from airflow.datasets import Dataset as Asset
            from airflow.datasets import DatasetAlias as AssetAlias
            from airflow.models.baseoperator import BaseOperator
            from airflow.models.baseoperatorlink import BaseOperatorLink
            from airflow.models.xcom import XCom
            from airflow.sensors.base import BaseSensorOperator
            from airflow.utils.context import Context

try:
    from airflow.sdk.exceptions import AirflowRuntimeError
except ImportError:

    class AirflowRuntimeError(Exception):  # type: ignore[no-redef]  # the same name where there is none
        """Raised by Airflow 3 for what its API server answers a task or a trigger; never by Airflow 2, whose
        tasks ask the database."""


log = logging.getLogger(__name__)

# Event-driven scheduling came with Airflow 3.0. Before, the class is only there to be imported.
try:
    from airflow.sdk import AssetWatcher
    from airflow.triggers.base import BaseEventTrigger

    EVENT_DRIVEN = True
except ImportError:
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger  # type: ignore[assignment]  # as above

    EVENT_DRIVEN = False


def failed_run_before(context: Context) -> tuple[datetime, timedelta | None] | None:
    """When the DAG's last run ended, if it failed, and for how long none has succeeded, or None where none
    ever has; else None."""
    # Airflow 3 asks its API server through the task instance; in Airflow 2 the DAG run asks the database.
    ti = context.get("ti")
    owner = ti if hasattr(ti, "get_previous_dagrun") else context.get("dag_run")
    ask = getattr(owner, "get_previous_dagrun", None)
    last = ask() if ask is not None else None
    if last is None or str(getattr(last.state, "value", last.state)) != "failed" or last.end_date is None:
        return None
    since = context.get("prev_end_date_success")
    return last.end_date, last.end_date - since if since else None


def failed_polls(context: Context) -> list[str]:
    """What the asset events that triggered this DAG run say of polls that failed. Airflow 2 has no watchers,
    and so no such events."""
    found: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    payloads = [(e.extra or {}).get("payload") for events in found.values() for e in events]
    return [p["message"] for p in payloads if isinstance(p, dict) and p.get("state") == "error"]


_CLOCKS_APART = timedelta(hours=1)  # Airflow's and the warehouse's, at most


def run_began(context: Context) -> datetime:
    """A time before which the DAG run of a task has done nothing, by the warehouse's clock too. On 2.11 a DAG
    run has no `run_after`; and everywhere its `start_date` is set anew when its tasks are cleared."""
    run = context["dag_run"]
    found = (getattr(run, name, None) for name in ("run_after", "data_interval_end", "start_date"))
    times: list[datetime] = [time for time in found if time is not None]
    return min(times) - _CLOCKS_APART


_TRY = "try_number"


def of_this_try(context: Context) -> dict[str, Any]:
    """What a task hands to `defer` as `kwargs`, so that only the same try is resumed: see ResumesItsTry. On
    Airflow 2, which sees to it itself, nothing."""
    return {_TRY: context["ti"].try_number} if EVENT_DRIVEN else {}


class ResumesItsTry:
    """For an operator that defers: each try begins with `execute`.

    Airflow 3.0 and 3.1.0 resume a deferred task in its retries too, each time with the event that the first
    try got (apache/airflow#56704); so they do when its worker died while it was resumed.
    """

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on with what was deferred, or begin anew when another try deferred it."""
        given = dict(next_kwargs or {})
        this: Any = self
        if given.pop(_TRY, context["ti"].try_number) != context["ti"].try_number:
            return this.execute(context)
        parent: Any = super()
        return parent.resume_execution(next_method, given, context)


async def task_state(trigger: Any) -> str | None:
    """The state that Airflow has for the task of a trigger, asked for off the event loop; None for a cleared
    one. Raises AirflowRuntimeError when it cannot be told. Triggers can ask since 3.0."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    ti = trigger.task_instance
    mapped = ti.map_index is not None and ti.map_index >= 0
    found: Mapping[str, Mapping[str, Any]] = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index if mapped else None,
    )
    state = found.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    return None if state is None else str(getattr(state, "value", state))


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


_OF_A_MAPPED_TASK = ("retries", "retry_delay", "retry_exponential_backoff", "map_index_template")


def keep_defaults(partial: Any, given: Mapping[str, Any]) -> Any:
    """What an operator's `partial` has made, with the defaults of the operator's own `__init__`.

    Before 3.3.2 Airflow fills a mapped task's retries and label with its own defaults, as if the DAG had
    named them, and they win over those of the signature. What the call (`given`) or default_args name stays.
    """
    named = set(given) | set(given.get("default_args") or ())
    for owner in (partial.kwargs["dag"], partial.kwargs["task_group"]):
        named.update(getattr(owner, "default_args", None) or ())
    defaults = _own_defaults(partial.operator_class)
    partial.kwargs.update({name: value for name, value in defaults.items() if name not in named})
    return partial


def _own_defaults(operator: type[BaseOperator]) -> dict[str, Any]:
    """What the operator's class and those between it and Airflow's say; the class itself says it last."""
    found: dict[str, Any] = {}
    for kind in reversed(operator.__mro__[: operator.__mro__.index(BaseOperator)]):
        if "__init__" not in vars(kind):
            continue
        signature = inspect.signature(vars(kind)["__init__"]).parameters
        has = (name for name in _OF_A_MAPPED_TASK if name in signature)
        found.update({name: signature[name].default for name in has})
    return found


def lineage_parameters(context: Context) -> Mapping[str, str]:
    """The parameters that tell a job which task started it, for OpenLineage's listener in Spark; none before
    the stock provider's 7.23, which is said once in a process."""
    try:
        from airflow.providers.databricks.utils.openlineage import (
            inject_openlineage_context_into_databricks_job_parameters as inject,
        )
    except ImportError:
        _say_that_jobs_are_not_told()
        return {}
    told: Mapping[str, str] = inject({}, context)
    return told


def lineage_sender() -> Callable[..., Any] | None:
    """What sends an event of a task's lineage beside that of the listener; None before the OpenLineage
    provider that has it, 2.16."""
    try:
        from airflow.providers.openlineage.api import emit_dataset_lineage
    except ImportError:
        return None
    send: Callable[..., Any] = emit_dataset_lineage
    return send


@cache
def _say_that_jobs_are_not_told() -> None:
    log.warning(
        "[openlineage] spark_inject_parent_job_info is set, but jobs are not told which task started them: "
        "that takes apache-airflow-providers-databricks 7.23 or later"
    )


def proxies(hook: Any) -> Mapping[str, str]:
    """The proxies that the extra `proxies` of the connection names, by scheme.

    The stock hook knows them since the provider's 7.17. Before that its own calls for tokens would go past
    them, so they are not followed at all.
    """
    found: Mapping[str, str] | None = getattr(hook, "proxies", None)
    return found or {}


__all__ = [
    "EVENT_DRIVEN",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRuntimeError",
    "AirflowSkipException",
    "Asset",
    "AssetAlias",
    "AssetWatcher",
    "BaseEventTrigger",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "ResumesItsTry",
    "Stats",
    "TaskInstanceKey",
    "XCom",
    "conf",
    "failed_polls",
    "failed_run_before",
    "get_async_connection",
    "keep_defaults",
    "lineage_parameters",
    "lineage_sender",
    "of_this_try",
    "proxies",
    "run_began",
    "task_state",
]
