"""What the operators have in common: how they claim, how they wait for runs, and when they fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowFailException,
    Context,
    ResumesItsTry,
    failed_polls,
    keep_defaults,
    of_this_try,
)
from databricks_file_arrivals.core.errors import FileArrivalsError
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.signals import ConsumerPointer, SignalVolume
from databricks_file_arrivals.core.tables import DEFAULT_CONSUMER, DRY_RUN_SUFFIX, Names
from databricks_file_arrivals.hooks import DEFAULT_CONN_ID, FileArrivalsHook, airflow_errors
from databricks_file_arrivals.lineage import parent_context
from databricks_file_arrivals.telling import TellingOperator
from databricks_file_arrivals.triggers import RunsTrigger, interval
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.awaiting import AwaitedRequests, Standing
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.files import write_file
from databricks_file_arrivals.workspace.jobs import JobsApi
from databricks_file_arrivals.workspace.ledger import Ledger, Requested
from databricks_file_arrivals.workspace.starts import Report


class RequestsOperator(TellingOperator):
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

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """To map it over something, as any operator is, with its own retries and label."""
        return keep_defaults(super().partial(**kwargs), kwargs)

    def _hook(self) -> FileArrivalsHook:
        return FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)

    def _options(self, context: Context, **more: Any) -> Options:
        """How this try works, and what its rows say of who wrote them."""
        given = {"consumer": self.consumer, "log_table": self.log_table, **more}
        return Options(last_try=self._last_try(context), stamp=self._stamp(context), **given)

    def _last_try(self, context: Context) -> bool:
        return bool(context["ti"].try_number > context["ti"].max_tries)

    def _stamp(self, context: Context) -> dict[str, Any]:
        ti = context["ti"]
        return {
            "dag_id": ti.dag_id,
            "dag_run_id": ti.run_id,
            "task_id": ti.task_id,
            "try_number": ti.try_number,
        }


class ClaimingOperator(RequestsOperator):
    """An operator that plans what has arrived, and claims it."""

    template_fields: Sequence[str] = (
        *RequestsOperator.template_fields,
        "workflow_mapping_table",
        "signal_volume",
    )

    def __init__(
        self,
        *,
        workflow_mapping_table: str,
        signal_volume: str | None = None,
        start_from: str | Mapping[str, int] = "latest",
        max_directories: int = 10_000,
        max_requests: int = 10_000,
        dry_run: bool = False,
        give_up_after: timedelta = timedelta(days=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_mapping_table = workflow_mapping_table
        self.signal_volume = signal_volume
        self.start_from = start_from
        self.max_directories = max_directories
        self.max_requests = max_requests
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's
        self.give_up_after = give_up_after

    def _claim(self, context: Context, *paced: Any, hand_out: int = 0) -> Report:
        """Do all that is due, as a claim says it; `paced` is how runs are started."""
        hook = self._hook()
        names = Names.of(self.log_table, self.workflow_mapping_table)
        volume = SignalVolume.parse(self.signal_volume) if self.signal_volume else None
        self.begin_telling(context, hook, names)
        for message in failed_polls(context):
            self.log.warning("the poll for arrivals that started this run fails: %s", message)
        options = self._options(
            context,
            lineage=parent_context(context),
            consumer=self.consumer + (DRY_RUN_SUFFIX if self.only_plan else ""),
            start_from=self.start_from,
            give_up_after=self.give_up_after,
            max_directories=self.max_directories,
            max_requests=self.max_requests,
            dry_run=self.only_plan,
            hand_out=hand_out,
            tell_of_holds=self.notifications.next_hold,
        )
        jobs = JobsApi(hook, *paced)
        claimer = Claimer(Ledger(hook, names), ArrivalLog(hook, names), jobs, options)
        report = claimer.run()
        if volume is not None and claimer.pointer is not None:
            self._point(hook, volume.consumer(options.consumer), claimer.pointer)
        self.tell(context, hook, names, report)
        return report

    def _point(self, hook: FileArrivalsHook, file: str, pointer: ConsumerPointer) -> None:
        """Say on the signal volume how far the consumer is; an old pointer costs a look and nothing else."""
        try:
            run(write_file(file, pointer.text().encode()), hook.call)
        except FileArrivalsError as error:
            self.log.warning(
                "the pointer %s cannot be written: %s. Who waits asks the tables instead. This principal "
                "needs WRITE VOLUME",
                file,
                error,
            )


class WaitingOperator(ResumesItsTry, RequestsOperator):
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
        self.wait_for_completion = wait_for_completion
        self.completion_timeout = completion_timeout
        self.poll_interval = interval("poll_interval", poll_interval)
        self.cancel_on_kill = cancel_on_kill

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Look at the runs, record what became of them, and end the task accordingly.

        All of it is read from the log and from the Jobs API; the trigger only says when to look.
        """
        if event["state"] == "error":
            self._recall(context)
            raise (AirflowException if event["retryable"] else AirflowFailException)(event["message"])
        over = event["state"] == "ended"
        with airflow_errors():
            awaited = self._awaited(context)
            standing = awaited.look(over=over)
        if over and standing.going:  # one that is under repair
            self._defer(context, standing, event["deadline"])
        self.tell_ends(context, standing.rows)
        _fail_unless_succeeded(standing, "" if over else event["message"])
        return self._result(awaited.report)

    def _recall(self, context: Context) -> None:
        """Know again what was started, for the lineage of a task that is about to fail."""
        try:
            with airflow_errors():
                rows = self._awaited(context).standing().rows
        except AirflowException as error:
            self.log.warning("the lineage of this task names no runs: %s", error)
        else:
            self._lineage_of(rows)

    def _wait(self, context: Context, standing: Standing, report: Report) -> dict[str, Any]:
        """Go on when the runs have ended."""
        if standing.going:
            timeout = self.completion_timeout
            self._defer(
                context, standing, (datetime.now(timezone.utc) + timeout).isoformat() if timeout else None
            )
        self.tell_ends(context, standing.rows)
        _fail_unless_succeeded(standing)
        return self._result(report)

    def _defer(self, context: Context, standing: Standing, deadline: str | None) -> None:
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
            kwargs=of_this_try(context),
        )

    def _awaited(self, context: Context) -> AwaitedRequests:
        """What this task waits for, as the log has it now."""
        hook, names = self._hook(), Names.of(self.log_table)
        self.begin_telling(context, hook, names)
        ledger = Ledger(hook, names)
        found = self._requested(ledger, context)
        return AwaitedRequests(ledger, self._jobs(hook), self._options(context), found)

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


def fail_at_end(report: Report) -> None:
    """Fail the task when a start failed, now that all others are recorded."""
    lines = [*report.unavailable, *report.refused]
    if lines:
        kind = AirflowException if report.unavailable else AirflowFailException
        shown = "\n  ".join(lines[:20])
        raise kind(
            f"{len(lines)} starts failed ({len(report.refused)} refused) and are tried again later; "
            f"all others are done and recorded:\n  {shown}"
        )
