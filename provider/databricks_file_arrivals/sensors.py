"""The sensor that waits until something is due for a consumer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    ResumesItsTry,
    failed_run_before,
    of_this_try,
)
from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.config_options import LINGER
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID, FileArrivalsHook, airflow_errors
from databricks_file_arrivals.metrics import poll_time
from databricks_file_arrivals.triggers import FileArrivalTrigger, interval, seconds
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.gate import ConsumerWatch
from databricks_file_arrivals.workspace.watch import RECONCILE_EVERY

SHORTEST_PAUSE, NEW_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10)
"""Of the first look after a DAG run that failed."""


class FileArrivalSensor(ResumesItsTry, BaseSensorOperator):
    """Waits until arrivals are unclaimed, or something is to be looked at again; then
    TriggerWorkflowsOperator acts.

    It passes nothing on and claims nothing: it may be cleared, repeated or skipped at any time. A stretch
    without arrivals ends as a skip, not as a failure.

    :param log_table: the trigger log, such as `main.ingest.file_log`; the other tables' names derive from it
    :param consumer: whose cursor counts
    :param dry_run: wait for what a TriggerWorkflowsOperator with `dry_run` is to plan
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param signal_volume: where the stream and the operator write their pointers, such as
        `/Volumes/main/ingest/signals`; without it each look is a SQL statement or two, which keep the
        warehouse awake
    :param idle_after: how long to wait before an idle run ends as skipped; its last look asks the tables
    :param linger: for how long arrivals are collected before the sensor passes, so that a trickle of files
        makes fewer claims; what was to be looked at again lingers too. None for what Airflow's configuration
        says: half a minute, unless it was changed
    :param poke_interval: seconds between two looks
    :param reconcile_every: how often the tables are asked though pointers say that nothing is new
    :param deferrable: wait in the triggerer, without a worker slot
    :param retries: tries after a failed one; with `retry_delay` and backoff they keep a continuous DAG that
        cannot reach its workspace from running hot. After a DAG run that failed the sensor waits before it
        looks, for as long as none has succeeded, half a minute at least and ten at most
    """

    template_fields = ("log_table", "consumer", "databricks_conn_id", "warehouse_id", "signal_volume")
    ui_color = "#ffe8d6"

    def __init__(
        self,
        *,
        log_table: str,
        consumer: str = DEFAULT_CONSUMER,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
        signal_volume: str | None = None,
        idle_after: timedelta | float = timedelta(hours=1),
        linger: timedelta | float | None = None,
        poke_interval: float = 30.0,
        reconcile_every: timedelta | float = timedelta(seconds=RECONCILE_EVERY),
        deferrable: bool = True,
        dry_run: bool = False,
        retries: int = 5,
        retry_delay: timedelta = timedelta(seconds=30),
        retry_exponential_backoff: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=interval("poke_interval", poke_interval),
            retries=retries,
            retry_delay=retry_delay,
            retry_exponential_backoff=retry_exponential_backoff,
            **kwargs,
        )
        if self.mode == "reschedule":
            raise ValueError("mode='reschedule' is not offered: deferrable=True waits without a worker slot.")
        self.log_table = log_table
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id
        self.signal_volume = signal_volume
        self.idle_after = timedelta(seconds=seconds(idle_after))
        self.linger = linger
        self.reconcile_every = seconds(reconcile_every)
        self.deferrable = deferrable
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's
        self._watch: ConsumerWatch | None = None
        self._deadline: datetime | None = None
        self._due_at: datetime | None = None
        self._not_before = datetime.min.replace(tzinfo=timezone.utc)

    @property
    def _linger(self) -> timedelta:
        """How long to collect arrivals."""
        return timedelta(seconds=number(LINGER) if self.linger is None else seconds(self.linger))

    @property
    def _asks_for(self) -> str:
        """The consumer, or that of its dry run."""
        return self.consumer + (DRY_RUN_SUFFIX if self.only_plan else "")

    def execute(self, context: Context) -> None:
        """Look once; then wait, in the triggerer or here."""
        now = datetime.now(timezone.utc)
        self._deadline = now + self.idle_after
        self._not_before = now + self._pause_after_failure(context, now)
        if not self.deferrable:
            super().execute(context)
        elif self._not_before > now:
            self._wait(context, first_look=self._not_before - now, linger=self._linger)
        elif not self._look():
            self._wait(context, first_look=timedelta(0), linger=self._linger)
        elif self._linger:
            self._wait(context, first_look=self._linger, linger=timedelta(0))

    def _wait(self, context: Context, *, first_look: timedelta, linger: timedelta) -> None:
        assert self._deadline is not None, "execute sets it"
        self.defer(
            trigger=FileArrivalTrigger(
                log_table=self.log_table,
                consumer=self._asks_for,
                databricks_conn_id=self.databricks_conn_id,
                warehouse_id=self.warehouse_id,
                deadline=self._deadline.isoformat(),
                poke_interval=self.poke_interval,
                signal_volume=self.signal_volume or None,
                reconcile_every=self.reconcile_every,
                linger=linger.total_seconds(),
                first_look=first_look.total_seconds(),
            ),
            method_name="resume",
            kwargs=of_this_try(context),
        )

    def _pause_after_failure(self, context: Context, now: datetime) -> timedelta:
        """How long to wait before the first look, because the last run of the DAG failed: a continuous DAG
        starts again at once."""
        failed = failed_run_before(context)
        if failed is None:
            return timedelta(0)
        ended_at, failing_for = failed
        # One that has never succeeded is being set up: whoever mends it does not want to wait long.
        pause = NEW_PAUSE if failing_for is None else min(max(failing_for, SHORTEST_PAUSE), LONGEST_PAUSE)
        left = max(ended_at + pause - now, timedelta(0))
        if left:
            self.log.warning(
                "the last run of this DAG failed: the first look is in %d s", left.total_seconds()
            )
        return left

    def poke(self, context: Context) -> bool:
        """Whether something is due. Raises AirflowSkipException once the idle stretch is over."""
        now = datetime.now(timezone.utc)
        if now < self._not_before:
            return False
        over = self._deadline is not None and now >= self._deadline
        if self._due_at is None and self._look(over):
            self._due_at = now
        if self._due_at is not None:
            return now >= self._due_at + self._linger
        if over:
            raise AirflowSkipException(f"nothing arrived until {self._deadline}")
        return False

    def resume(self, context: Context, event: dict[str, str]) -> None:
        """Take up what the trigger said."""
        if event["state"] == "idle":
            raise AirflowSkipException(event["message"])
        if event["state"] == "error":
            raise AirflowException(event["message"])
        self.log.info("due: %s", event["message"])

    def _look(self, over: bool = False) -> bool:
        """Whether something is due. The last look of an idle wait asks the tables."""
        # Errors that will not pass are retried too, because a continuous DAG starts again at once
        # when it fails.
        with airflow_errors(retry=True):
            hook = FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)
            watch = self._watch = self._watch or ConsumerWatch.of(
                self.log_table, self._asks_for, self.signal_volume, self.reconcile_every
            )
            look = watch.confirm if over else watch.look
            with poll_time(self.log_table):
                reason = run(look(hook.warehouse_id), hook.call)
        self.log.info("due: %s", reason) if reason else self.log.info("nothing is due")
        return bool(reason)
