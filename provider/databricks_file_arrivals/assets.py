"""The event way to start: an asset that has an event whenever something is due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from databricks_file_arrivals import compat
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.signals import SignalVolume
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX, Names
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID
from databricks_file_arrivals.triggers import FileArrivalEventTrigger, interval, seconds
from databricks_file_arrivals.workspace.watch import RECONCILE_EVERY

if TYPE_CHECKING:
    from databricks_file_arrivals.compat import Asset

POLL_SIGNALS, POLL_SQL = 2.0, 30.0
"""Seconds between two looks: at a signal volume, which costs nothing, and by SQL statements."""


def file_arrival_asset(
    name: str,
    *,
    log_table: str,
    consumer: str = DEFAULT_CONSUMER,
    databricks_conn_id: str = DEFAULT_CONN_ID,
    warehouse_id: str | None = None,
    signal_volume: str | None = None,
    poll_interval: float | None = None,
    reconcile_every: timedelta | float = timedelta(seconds=RECONCILE_EVERY),
    linger: timedelta | float = 0.0,
    dry_run: bool = False,
) -> Asset:
    """An asset to schedule DAGs on: they run when something is due for the consumer, and only then.

        with DAG("orders", schedule=[file_arrival_asset("files", log_table="main.ingest.file_log")], …):
            TriggerWorkflowsOperator(task_id="trigger", …)

    Several DAGs may be scheduled on one asset, or on assets of one log; on Airflow 3.3 one poll serves all of
    the latter. It says so again, with growing pauses, while something is due that no operator has claimed.

    :param name: the asset's name
    :param log_table: the trigger log, such as `main.ingest.file_log`
    :param consumer: whose cursor counts: that of the DAG's operator
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param signal_volume: where the stream and the operator write their pointers, such as
        `/Volumes/main/ingest/signals`; without it each look is two SQL statements, which keep a
        warehouse awake
    :param poll_interval: seconds between two looks; 2 with a signal volume, 30 without
    :param reconcile_every: how often the tables are asked though pointers say that nothing is new
    :param linger: for how long arrivals are collected before the event, so that a trickle makes fewer claims
    :param dry_run: wait for what an operator with `dry_run` is to plan

    Raises BadInput for a name that cannot be used, and on Airflow 2, which has no such assets.
    """
    if not compat.EVENT_DRIVEN:
        raise BadInput("Assets with watchers need Airflow 3.0 or later. Use FileArrivalSensor instead.")
    Names.of(log_table)
    if signal_volume:
        SignalVolume.parse(signal_volume)
    usual = POLL_SIGNALS if signal_volume else POLL_SQL
    pause = interval("poll_interval", usual if poll_interval is None else poll_interval)
    trigger = FileArrivalEventTrigger(
        log_table=log_table,
        consumer=consumer + (DRY_RUN_SUFFIX if dry_run else ""),
        databricks_conn_id=databricks_conn_id,
        warehouse_id=warehouse_id,
        signal_volume=signal_volume,
        poll_interval=pause,
        reconcile_every=seconds(reconcile_every),
        linger=seconds(linger),
    )
    return compat.Asset(name=name, watchers=[compat.AssetWatcher(name=f"{name}: arrivals", trigger=trigger)])
