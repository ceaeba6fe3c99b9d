"""The operators: what is due is claimed, and started by one task or by a task for each workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowFailException,
    BaseOperator,
    Context,
    max_map_length,
    run_began,
)
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX, Names
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID, FileArrivalsHook, airflow_errors
from databricks_file_arrivals.triggers import RunsTrigger
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.awaiting import Standing, Waiting
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.jobs import STARTS_PER_SECOND, JobsApi
from databricks_file_arrivals.workspace.ledger import Ledger, Requested
from databricks_file_arrivals.workspace.requests import OneRequest
from databricks_file_arrivals.workspace.starts import Report

_CLOCKS_APART = timedelta(hours=1)  # Airflow's and the warehouse's, at most


class _RequestsOperator(BaseOperator):
    """What all operators have in common: a log, a consumer of it, a workspace, and a stamp for their rows."""

    template_fields: Sequence[str] = ("log_table", "consumer", "databricks_conn_id", "warehouse_id")
    ui_color = "#ffd7ba"

    def __init__(
        self,
        *,
        log_table: str,
        consumer: str = DEFAULT_CONSUMER,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
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
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id

    def _hook(self) -> FileArrivalsHook:
        return FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)

    def _options(self, context: Context, **more: Any) -> Options:
        """How this try works, and what its rows say of who wrote them."""
        ti = context["ti"]
        given = {"consumer": self.consumer, "log_table": self.log_table, **more}
        return Options(last_try=ti.try_number > ti.max_tries, stamp=self._stamp(context), **given)

    def _stamp(self, context: Context) -> dict[str, Any]:
        ti = context["ti"]
        return {
            "dag_id": ti.dag_id,
            "dag_run_id": ti.run_id,
            "task_id": ti.task_id,
            "try_number": ti.try_number,
        }


class _ClaimingOperator(_RequestsOperator):
    """An operator that plans what has arrived, and claims it."""

    template_fields: Sequence[str] = (*_RequestsOperator.template_fields, "workflow_mapping_table")

    def __init__(
        self,
        *,
        workflow_mapping_table: str,
        start_from: str | Mapping[str, int] = "latest",
        max_directories: int = 10_000,
        max_requests: int = 10_000,
        dry_run: bool = False,
        give_up_after: timedelta = timedelta(days=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_mapping_table = workflow_mapping_table
        self.start_from = start_from
        self.max_directories = max_directories
        self.max_requests = max_requests
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's
        self.give_up_after = give_up_after

    def _claim(self, context: Context, *paced: Any, hand_out: int = 0) -> Report:
        """Do all that is due, as a claim says it; `paced` is how runs are started."""
        hook = self._hook()
        names = Names.of(self.log_table, self.workflow_mapping_table)
        options = self._options(
            context,
            consumer=self.consumer + (DRY_RUN_SUFFIX if self.only_plan else ""),
            start_from=self.start_from,
            give_up_after=self.give_up_after,
            max_directories=self.max_directories,
            max_requests=self.max_requests,
            dry_run=self.only_plan,
            hand_out=hand_out,
        )
        jobs = JobsApi(hook, *paced)
        report = Claimer(Ledger(hook, names), ArrivalLog(hook, names), jobs, options).run()
        self.log.info("claimed: %s", report.as_dict())
        return report


class _WaitingOperator(_RequestsOperator):
    """An operator that may wait until the runs of its requests have ended: in the triggerer, without a worker
    slot, by one trigger for all of them."""

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        completion_timeout: timedelta | None = None,
        poll_interval: float = 30.0,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise ValueError(f"poll_interval is {poll_interval}: give seconds between two looks, such as 30.")
        self.wait_for_completion = wait_for_completion
        self.completion_timeout = completion_timeout
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Look at the runs, record what became of them, and end the task accordingly.

        All of it is read from the log and from the Jobs API; the trigger only says when to look.
        """
        if event["state"] == "error":
            raise (AirflowException if event["retryable"] else AirflowFailException)(event["message"])
        over = event["state"] == "ended"
        with airflow_errors():
            waiting = self._waiting(context)
            standing = waiting.look(over=over)
        if over and standing.going:  # one that is under repair
            self._defer(standing, event["deadline"])
        _fail_unless_succeeded(standing, "" if over else event["message"])
        return self._result(waiting.report)

    def _wait(self, standing: Standing, report: Report) -> dict[str, Any]:
        """Go on when the runs have ended."""
        if standing.going:
            timeout = self.completion_timeout
            self._defer(standing, (datetime.now(timezone.utc) + timeout).isoformat() if timeout else None)
        _fail_unless_succeeded(standing)
        return self._result(report)

    def _defer(self, standing: Standing, deadline: str | None) -> None:
        going = standing.going
        run_ids = [row.started_run_id for row in going if row.started_run_id is not None]
        started = [row.job_trigger_time for row in going if row.job_trigger_time is not None]
        self.log.info("waiting for %d runs, until %s", len(run_ids), deadline or "they have ended")
        self.defer(
            trigger=RunsTrigger(
                run_ids=run_ids,
                databricks_conn_id=self.databricks_conn_id,
                since=min(started).isoformat() if len(started) == len(going) else None,
                deadline=deadline,
                poll_interval=self.poll_interval,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="resume",
        )

    def _waiting(self, context: Context) -> Waiting:
        """What this task waits for, as the log has it now."""
        hook = self._hook()
        ledger = Ledger(hook, Names.of(self.log_table))
        return Waiting(ledger, self._jobs(hook), self._options(context), self._requested(ledger, context))

    def _jobs(self, hook: FileArrivalsHook) -> JobsApi:
        return JobsApi(hook)

    def _requested(self, ledger: Ledger, context: Context) -> Requested:
        """The rows of the requests that this task waits for."""
        raise NotImplementedError

    def _result(self, report: Report) -> dict[str, Any]:
        """What the task returns when all of its runs have succeeded: of a report of all its requests."""
        raise NotImplementedError


def _fail_unless_succeeded(standing: Standing, timed_out: str = "") -> None:
    """Fail the task for every run that has not succeeded, now that all of them are recorded."""
    lines = [f"{_of(row)}: {row.error or row.status}" for row in standing.unsuccessful]
    lines += [f"{_of(row)}: run {row.started_run_id} goes on" for row in standing.going]
    retryable = bool(lines)
    lines += [f"{_of(row)}: not started: {row.error or row.status}" for row in standing.not_started]
    lines += [
        f"{_of(row)}: run {row.started_run_id} was deleted, or may not be seen any more. It is not started "
        f"again by itself: replay the request {row.trigger_id} if it is to be"
        for row in standing.lost
    ]
    if lines:
        kind = AirflowException if retryable else AirflowFailException
        succeeded = len(standing.rows) - len(lines)
        what = f"completion_timeout: {timed_out}" if timed_out else f"{succeeded} runs succeeded"
        raise kind("\n  ".join([f"{what}; {len(lines)} did not succeed:", *lines[:20]]))


def _of(row: LogRow) -> str:
    return f"{row.workflow_name} for {row.directory}"


class TriggerWorkflowsOperator(_ClaimingOperator, _WaitingOperator):
    """Finishes the last claim, plans what has arrived since, claims it, starts the workflows and records
    them.

    Each run is started exactly once, whatever dies and however often the task is repeated. Returns the
    counts by status. A workflow that is missing, ambiguous or refused never stops the others; a refusal
    fails the task at its end, without a retry, and is tried again later. What a PlanRequestsOperator has
    handed out and no task has started yet, it starts too.

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
    :param wait_for_completion: end when the runs have ended, and fail when one has failed: Airflow's retry
        then runs it again. It waits in the triggerer, for all that this task of this DAG run has started
    :param completion_timeout: how long one try waits at most; what is still running then is left running
    :param poll_interval: seconds between two looks at the runs
    :param cancel_on_kill: cancel the runs when a person ends or clears the waiting task (Airflow 3.3)
    """

    def __init__(
        self, *, connections: int = 16, starts_per_second: float | None = STARTS_PER_SECOND, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.connections = connections
        self.starts_per_second = starts_per_second

    def execute(self, context: Context) -> dict[str, Any]:
        """Do all that is due, and return what was done."""
        report = self.start(context)
        if self.wait_for_completion and not self.only_plan:
            with airflow_errors():
                waiting = self._waiting(context)
                standing = waiting.run_again() if context["ti"].try_number > 1 else waiting.standing()
            return self._wait(standing, waiting.report)
        _fail_at_end(report)
        return report.as_dict()

    def start(self, context: Context) -> Report:
        """Do all that is due; the report's outcomes are the requests, each in its newest state."""
        with airflow_errors():
            return self._claim(context, self.connections, self.starts_per_second)

    def _jobs(self, hook: FileArrivalsHook) -> JobsApi:
        return JobsApi(hook, self.connections, self.starts_per_second)

    def _requested(self, ledger: Ledger, context: Context) -> Requested:
        task = {key: value for key, value in self._stamp(context).items() if key != "try_number"}
        return ledger.of_task(self.consumer, task, run_began(context) - _CLOCKS_APART)

    def _result(self, report: Report) -> dict[str, Any]:
        of_the_plan = ("mapping_problems",)  # it may be another process that planned
        return {key: value for key, value in report.as_dict().items() if key not in of_the_plan}


class PlanRequestsOperator(_ClaimingOperator):
    """Finishes the last claim, plans what has arrived since, claims it, and hands out the requests: returns
    them, for a RunWorkflowOperator to be mapped over.

    ```python
    plan = PlanRequestsOperator(task_id="plan", …)
    RunWorkflowOperator.partial(task_id="run", …).expand(request=plan.output)
    ```

    Each entry says its `trigger_id`, `directory`, `workflow` and `file_count`. It starts nothing. A request
    that no task has started is left over: it is handed out again, before new ones, or started by a
    TriggerWorkflowsOperator. So is a start that failed, with growing pauses.

    :param log_table: the trigger log, such as `main.ingest.file_log`; the other tables' names derive from it
    :param workflow_mapping_table: which workflow runs for which directory
    :param consumer: whose cursor counts; give each DAG that is to see every arrival one of its own
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param start_from: where a consumer begins that has no row yet: "latest", "earliest" or
        {stream_id: batch_id}
    :param max_directories: how many directories one claim covers at most, by whole batches; the rest next
    :param max_requests: how many requests are handed out at most, those that were left over first; the rest
        next. Never more than Airflow maps a task over: `[core] max_map_length`, 1,024 unless it was changed
    :param dry_run: plan and log what would be started (DRY_RUN) and hand out nothing, as a consumer of its
        own, `<consumer>-dry-run`
    :param give_up_after: for how long a start that failed is handed out again
    """

    ui_color = "#ffe8c2"

    def __init__(self, *, max_requests: int = 1_024, **kwargs: Any) -> None:
        super().__init__(max_requests=max_requests, **kwargs)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Claim what is due, and return the requests."""
        return [
            {
                "trigger_id": row.trigger_id,
                "directory": row.directory,
                "workflow": row.workflow_name,
                "file_count": row.file_count,
            }
            for row in self.plan(context).handed_out
        ]

    def plan(self, context: Context) -> Report:
        """Claim what is due; the report has what is handed out, and every request that was decided."""
        with airflow_errors():
            return self._claim(context, hand_out=max(min(self.max_requests, max_map_length()), 1))


class RunWorkflowOperator(_WaitingOperator):
    """Starts the workflow of one request, which a PlanRequestsOperator has planned, and records it.

    The request's row says all of it: which job, with which parameters, by which token. So the run is started
    exactly once, however often the task is repeated; a run that is known to have failed is followed by
    another one when the task is tried again or cleared. Returns the request's `trigger_id`, its `status`, and
    its `run_id`.

    :param request: an entry of what the PlanRequestsOperator has returned
    :param log_table: the trigger log, as the PlanRequestsOperator has it
    :param consumer: the consumer, as the PlanRequestsOperator has it
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param map_index_template: what the mapped task is called in Airflow's screens
    :param wait_for_completion: end when the run has ended, and fail when it has failed: Airflow's retry then
        runs it again. It waits in the triggerer
    :param completion_timeout: how long one try waits at most; what is still running then is left running
    :param poll_interval: seconds between two looks at the run
    :param cancel_on_kill: cancel the run when a person ends or clears the waiting task (Airflow 3.3)
    """

    template_fields: Sequence[str] = (*_RequestsOperator.template_fields, "request")
    ui_color = "#ffc09f"
    LABEL: ClassVar[str] = "{{ task.label }}"

    def __init__(
        self, *, request: Mapping[str, Any], map_index_template: str | None = LABEL, **kwargs: Any
    ) -> None:
        super().__init__(map_index_template=map_index_template, **kwargs)
        self.request = request

    @property
    def label(self) -> str:
        """The directory and the workflow."""
        request = self.request if isinstance(self.request, Mapping) else {}
        return f"{request.get('directory', '?')} → {request.get('workflow', '?')}"

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the workflow unless it has a run, and return what became of it."""
        report = self.start(context)
        if self.wait_for_completion:
            return self._wait(Standing(report.outcomes), report)
        _fail_at_end(report)
        return self._result(report)

    def _requested(self, ledger: Ledger, context: Context) -> Requested:
        return ledger.request(self._trigger_id())

    def _result(self, report: Report) -> dict[str, Any]:
        (row,) = report.outcomes
        return {"trigger_id": row.trigger_id, "status": row.status.value, "run_id": row.started_run_id}

    def start(self, context: Context) -> Report:
        """Start the workflow; the report's one outcome is the request, in its newest state."""
        with airflow_errors():
            hook = self._hook()
            ledger = Ledger(hook, Names.of(self.log_table))
            task = OneRequest(ledger, JobsApi(hook), self._options(context))
            return task.run(self._trigger_id(), again=context["ti"].try_number > 1)

    def _trigger_id(self) -> str:
        request: object = self.request
        trigger_id = request.get("trigger_id") if isinstance(request, Mapping) else None
        if not isinstance(trigger_id, str):
            raise BadInput(
                f"request is {str(request)[:200]!r}, without a trigger_id: it has to be an entry of what "
                "PlanRequestsOperator returns. If its XCom was cleared, clear the task that plans: it hands "
                "out again what is left over."
            )
        return trigger_id


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
