"""The sensor that waits until something is due for a consumer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
)
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX, Names
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID, FileArrivalsHook, airflow_errors
from databricks_file_arrivals.triggers import FileArrivalTrigger
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.gate import due


class FileArrivalSensor(BaseSensorOperator):
    """Waits until arrivals are unclaimed, or something is to be looked at again; then
    TriggerWorkflowsOperator acts.

    It passes nothing on and claims nothing: it may be cleared, repeated or skipped at any time. A stretch
    without arrivals ends as a skip, not as a failure.

    :param log_table: the trigger log, such as `main.ingest.file_log`; the other tables' names derive from it
    :param consumer: whose cursor counts
    :param dry_run: wait for what a TriggerWorkflowsOperator with `dry_run` is to plan
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param idle_after: how long to wait before an idle run ends as skipped
    :param poke_interval: seconds between two looks
    :param deferrable: wait in the triggerer, without a worker slot
    :param retries: tries after a failed one; with `retry_delay` and backoff they keep a continuous DAG that
        cannot reach its workspace from running hot
    """

    template_fields = ("log_table", "consumer", "databricks_conn_id", "warehouse_id")
    ui_color = "#ffe8d6"

    def __init__(
        self,
        *,
        log_table: str,
        consumer: str = DEFAULT_CONSUMER,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
        idle_after: timedelta | float = timedelta(hours=1),
        poke_interval: float = 30.0,
        deferrable: bool = True,
        dry_run: bool = False,
        retries: int = 5,
        retry_delay: timedelta = timedelta(seconds=30),
        retry_exponential_backoff: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=poke_interval,
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
        self.idle_after = idle_after if isinstance(idle_after, timedelta) else timedelta(seconds=idle_after)
        self.deferrable = deferrable
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's
        self._deadline: datetime | None = None

    @property
    def _asks_for(self) -> str:
        """The consumer, or that of its dry run."""
        return self.consumer + (DRY_RUN_SUFFIX if self.only_plan else "")

    def execute(self, context: Context) -> None:
        """Look once; then wait, in the triggerer or here."""
        self._deadline = datetime.now(timezone.utc) + self.idle_after
        if not self.deferrable:
            super().execute(context)
        elif not self._look():
            self.defer(
                trigger=FileArrivalTrigger(
                    log_table=self.log_table,
                    consumer=self._asks_for,
                    databricks_conn_id=self.databricks_conn_id,
                    warehouse_id=self.warehouse_id,
                    deadline=self._deadline.isoformat(),
                    poke_interval=self.poke_interval,
                ),
                method_name="resume",
            )

    def poke(self, context: Context) -> bool:
        """Whether something is due. Raises AirflowSkipException once the idle stretch is over."""
        found = self._look()
        if not found and self._deadline is not None and datetime.now(timezone.utc) >= self._deadline:
            raise AirflowSkipException(f"nothing arrived until {self._deadline.isoformat()}")
        return found

    def resume(self, context: Context, event: dict[str, str]) -> None:
        """Take up what the trigger said."""
        if event["state"] == "idle":
            raise AirflowSkipException(event["message"])
        if event["state"] == "error":
            raise AirflowException(event["message"])
        self.log.info("due: %s", event["message"])

    def _look(self) -> bool:
        # Errors that will not pass are retried too, because a continuous DAG starts again at once
        # when it fails.
        with airflow_errors(retry=True):
            hook = FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)
            reason = run(
                due(Names.of(self.log_table), self._asks_for, warehouse_id=hook.warehouse_id), hook.call
            )
        self.log.info("due: %s", reason) if reason else self.log.info("nothing is due")
        return bool(reason)
