"""The operator that claims what is due and starts the workflows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from databricks_file_arrivals.compat import AirflowException, AirflowFailException, BaseOperator, Context
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX, Names
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID, FileArrivalsHook, airflow_errors
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.jobs import STARTS_PER_SECOND, JobsApi
from databricks_file_arrivals.workspace.ledger import Ledger
from databricks_file_arrivals.workspace.starts import Report


class TriggerWorkflowsOperator(BaseOperator):
    """Finishes the last claim, plans what has arrived since, claims it, starts the workflows and records
    them.

    Each run is started exactly once, whatever dies and however often the task is repeated. Returns the
    counts by status. A workflow that is missing, ambiguous or refused never stops the others; a refusal
    fails the task at its end, without a retry, and is tried again later.

    :param log_table: the trigger log, such as `main.ingest.file_log`; the other tables' names derive from it
    :param workflow_mapping_table: which workflow runs for which directory
    :param consumer: whose cursor counts; give each DAG that is to see every arrival one of its own
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param start_from: where a consumer begins that has no row yet: "latest", "earliest" or
        {stream_id: batch_id}
    :param max_directories: how many directories one claim covers at most, by whole batches; the rest next
    :param max_requests: how many requests one claim has at most, by whole batches; the rest next
    :param dry_run: plan and log what would be started (DRY_RUN) and start nothing, as a consumer of its own,
        `<consumer>-dry-run`: a shadow beside an older system
    :param connections: how many runs are started at the same time
    :param starts_per_second: how many runs are started in a second at most; None or 0 for as many as
        `connections` allow. The workspace's own limit, 20 a second, counts all clients together
    :param give_up_after: for how long a start that failed is tried again
    """

    template_fields = (
        "log_table",
        "workflow_mapping_table",
        "consumer",
        "databricks_conn_id",
        "warehouse_id",
    )
    ui_color = "#ffd7ba"

    def __init__(
        self,
        *,
        log_table: str,
        workflow_mapping_table: str,
        consumer: str = DEFAULT_CONSUMER,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
        start_from: str | Mapping[str, int] = "latest",
        max_directories: int = 10_000,
        max_requests: int = 10_000,
        dry_run: bool = False,
        connections: int = 16,
        starts_per_second: float | None = STARTS_PER_SECOND,
        give_up_after: timedelta = timedelta(days=1),
        retries: int = 3,
        retry_delay: timedelta = timedelta(seconds=10),
        retry_exponential_backoff: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            retries=retries,
            retry_delay=retry_delay,
            retry_exponential_backoff=retry_exponential_backoff,
            **kwargs,
        )
        self.log_table = log_table
        self.workflow_mapping_table = workflow_mapping_table
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id
        self.start_from = start_from
        self.max_directories = max_directories
        self.max_requests = max_requests
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's
        self.connections = connections
        self.starts_per_second = starts_per_second
        self.give_up_after = give_up_after

    def execute(self, context: Context) -> dict[str, Any]:
        """Do all that is due, and return what was done."""
        with airflow_errors():
            hook = FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)
            names = Names.of(self.log_table, self.workflow_mapping_table)
            jobs = JobsApi(hook, self.connections, self.starts_per_second)
            options = self._options(context)
            report = Claimer(Ledger(hook, names), ArrivalLog(hook, names), jobs, options).run()
        self.log.info("claimed: %s", report.as_dict())
        _fail_at_end(report)
        return report.as_dict()

    def _options(self, context: Context) -> Options:
        ti = context["ti"]
        return Options(
            consumer=self.consumer + (DRY_RUN_SUFFIX if self.only_plan else ""),
            log_table=self.log_table,
            start_from=self.start_from,
            give_up_after=self.give_up_after,
            max_directories=self.max_directories,
            max_requests=self.max_requests,
            dry_run=self.only_plan,
            last_try=ti.try_number > ti.max_tries,
            stamp={
                "dag_id": ti.dag_id,
                "dag_run_id": ti.run_id,
                "task_id": ti.task_id,
                "try_number": ti.try_number,
            },
        )


def _fail_at_end(report: Report) -> None:
    """Fail the task when a start failed, now that all others are recorded."""
    lines = [*report.unavailable, *report.refused]
    if lines:
        kind = AirflowException if report.unavailable else AirflowFailException
        shown = "\n  ".join(lines[:20])
        raise kind(
            f"{len(lines)} starts failed ({len(report.refused)} refused) and are tried again later; "
            f"all others are done and recorded:\n  {shown}"
        )
