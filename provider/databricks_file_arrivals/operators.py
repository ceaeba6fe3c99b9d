"""The operators: what is due is claimed, and started by one task or by a task for each workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from databricks_file_arrivals.compat import Context, conf, run_began
from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.config_options import STARTS_PER_SECOND
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook, airflow_errors
from databricks_file_arrivals.links import DatabricksJobLink, DatabricksRunLink, TriggerLogLink, link_run
from databricks_file_arrivals.tasks import ClaimingOperator, RequestsOperator, WaitingOperator, fail_at_end
from databricks_file_arrivals.workspace.awaiting import Standing
from databricks_file_arrivals.workspace.jobs import JobsApi
from databricks_file_arrivals.workspace.ledger import TASK, Ledger, Requested
from databricks_file_arrivals.workspace.requests import OneRequest
from databricks_file_arrivals.workspace.starts import Report

_MAX_MAP_LENGTH = 1_024  # Airflow's own default


class TriggerWorkflowsOperator(ClaimingOperator, WaitingOperator):
    """Finishes the last claim, plans what has arrived since, claims it, starts the workflows and records
    them.

    Each run is started exactly once, whatever dies and however often the task is repeated. Returns the
    counts by status. A workflow that is missing, ambiguous or refused never stops the others; a refusal
    fails the task at its end, without a retry, and is tried again later. What a PlanRequestsOperator has
    handed out and no task has started yet, it starts too.

    :param log_table: the trigger log, such as `main.ingest.file_log`; the other tables' names derive from it
    :param workflow_mapping_table: which workflow runs for which directory
    :param signal_volume: where it says how far the consumer is, for sensors and assets with the same volume,
        such as `/Volumes/main/ingest/signals`
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
    :param starts_per_second: how many runs are started in a second at most; 0 for as many as `connections`
        allow, None for what Airflow's configuration says. The workspace's own limit, 20 a second, counts all
        clients together
    :param give_up_after: for how long a start that failed is tried again
    :param wait_for_completion: end when the runs have ended, and fail when one has failed: Airflow's retry
        then runs it again. It waits in the triggerer, for all that this task of this DAG run has started
    :param completion_timeout: how long one try waits at most; what is still running then is left running
    :param poll_interval: seconds between two looks at the runs
    :param cancel_on_kill: cancel the runs when a person ends or clears the waiting task (Airflow 3.3)
    """

    def __init__(
        self, *, connections: int = 16, starts_per_second: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.connections = connections
        self.starts_per_second = starts_per_second

    def execute(self, context: Context) -> dict[str, Any]:
        """Do all that is due, and return what was done."""
        report = self.start(context)
        try_again = report.unavailable and not self._last_try(context)
        if self.wait_for_completion and not self.only_plan and not try_again:
            with airflow_errors():
                awaited = self._awaited(context)
                standing = awaited.run_again() if context["ti"].try_number > 1 else awaited.standing()
            return self._wait(context, standing, awaited.report)
        fail_at_end(report)
        return report.as_dict()

    def start(self, context: Context) -> Report:
        """Do all that is due; the report's outcomes are the requests, each in its newest state."""
        with airflow_errors():
            return self._claim(context, self.connections, self._rate)

    @property
    def _rate(self) -> float:
        given = self.starts_per_second
        return number(STARTS_PER_SECOND) if given is None else given

    def _jobs(self, hook: FileArrivalsHook) -> JobsApi:
        return JobsApi(hook, self.connections, self._rate)

    def _requested(self, ledger: Ledger, context: Context) -> Requested:
        stamp = self._stamp(context)
        return ledger.of_task(self.consumer, {key: stamp[key] for key in TASK}, run_began(context))

    def _result(self, report: Report) -> dict[str, Any]:
        of_the_plan = ("mapping_problems",)  # it may be another process that planned
        return {key: value for key, value in report.as_dict().items() if key not in of_the_plan}


class PlanRequestsOperator(ClaimingOperator):
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
    :param signal_volume: where it says how far the consumer is, for sensors and assets with the same volume,
        such as `/Volumes/main/ingest/signals`
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

    def __init__(self, *, max_requests: int = _MAX_MAP_LENGTH, **kwargs: Any) -> None:
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
        most = conf.getint("core", "max_map_length", fallback=_MAX_MAP_LENGTH)
        with airflow_errors():
            return self._claim(context, hand_out=max(min(self.max_requests, most), 1))


class RunWorkflowOperator(WaitingOperator):
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

    template_fields: Sequence[str] = (*RequestsOperator.template_fields, "request")
    ui_color = "#ffc09f"
    operator_extra_links = (DatabricksRunLink(), DatabricksJobLink(), TriggerLogLink())
    LABEL: ClassVar[str] = "{{ task.request_label }}"

    def __init__(
        self, *, request: Mapping[str, Any], map_index_template: str | None = LABEL, **kwargs: Any
    ) -> None:
        super().__init__(map_index_template=map_index_template, **kwargs)
        self.request = request

    @property
    def request_label(self) -> str:
        """The directory and the workflow. Not `label`: that is Airflow's, and is what its graph shows."""
        request = self.request if isinstance(self.request, Mapping) else {}
        return f"{request.get('directory', '?')} → {request.get('workflow', '?')}"

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the workflow unless it has a run, and return what became of it."""
        report = self.start(context)
        if self.wait_for_completion:
            return self._wait(context, Standing(report.outcomes), report)
        fail_at_end(report)
        return self._result(report)

    def _requested(self, ledger: Ledger, context: Context) -> Requested:
        return ledger.request(self._trigger_id())

    def _result(self, report: Report) -> dict[str, Any]:
        (row,) = report.outcomes
        return {"trigger_id": row.trigger_id, "status": row.status.value, "run_id": row.started_run_id}

    def start(self, context: Context) -> Report:
        """Start the workflow; the report's one outcome is the request, in its newest state."""
        with airflow_errors():
            hook, names = self._hook(), Names.of(self.log_table)
            self.begin_telling(context, hook, names)
            task = OneRequest(Ledger(hook, names), JobsApi(hook), self._options(context))
            report = task.run(self._trigger_id(), again=context["ti"].try_number > 1)
            link_run(context, hook.workspace_url, report.outcomes[0])
            attempts = {self._trigger_id(), *(row.trigger_id or "" for row in report.outcomes)}
            self.tell(context, hook, names, report, news=bool(report.counts), given=attempts)
            return report

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
