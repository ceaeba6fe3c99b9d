"""What every operator shows of its work: in its log, its link, lineage, asset events, notifications and
metrics. All of it is a function of the rows that it wrote."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from databricks_file_arrivals.compat import BaseOperator, BaseOperatorLink, Context, run_began
from databricks_file_arrivals.core.asset_events import ARRIVED
from databricks_file_arrivals.core.errors import FileArrivalsError
from databricks_file_arrivals.core.lines import TROUBLE, by_status, grouped, line, summary
from databricks_file_arrivals.core.notices import Kind
from databricks_file_arrivals.core.outcomes import LogRow, latest
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.lineage import Lineage
from databricks_file_arrivals.links import TriggerLogLink, link_log
from databricks_file_arrivals.metrics import record
from databricks_file_arrivals.notifications import HELD_TOO_LONG, Notifications, Notifier, Pass
from databricks_file_arrivals.outlets import aliases_among, announce
from databricks_file_arrivals.workspace.notices import Task, written_by
from databricks_file_arrivals.workspace.starts import Report

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class TellingOperator(BaseOperator):
    """An operator that tells what it did.

    :param on_unmapped: notifiers of Airflow's, or functions of the task's context, for files that no active
        row of the mapping table takes
    :param on_error: the same, for workflows that could not be started or do not exist
    :param on_overdue: the same, for directories in which nothing arrived in time
    :param on_held_too_long: the same, for files that have been held for `held_too_long`
    :param notify_every: how often one directory is told of at most, for each of these
    :param held_too_long: how long after their first arrival files are held too long; an operator runs for it
        though nothing arrives
    """

    operator_extra_links: Collection[BaseOperatorLink] = (TriggerLogLink(),)

    log_table: str
    consumer: str
    wait_for_completion = False

    def __init__(
        self,
        *,
        on_unmapped: Notifier | Sequence[Notifier] | None = None,
        on_error: Notifier | Sequence[Notifier] | None = None,
        on_overdue: Notifier | Sequence[Notifier] | None = None,
        on_held_too_long: Notifier | Sequence[Notifier] | None = None,
        notify_every: timedelta = timedelta(days=1),
        held_too_long: timedelta = HELD_TOO_LONG,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.notifications = Notifications.of(
            {
                Kind.UNMAPPED: on_unmapped,
                Kind.ERROR: on_error,
                Kind.OVERDUE: on_overdue,
                Kind.HELD_TOO_LONG: on_held_too_long,
            },
            notify_every,
            held_too_long,
        )
        self._lineage: Lineage | None = None

    def begin_telling(self, context: Context, hook: FileArrivalsHook, names: Names) -> None:
        """Show where the trigger log is, before anything is done."""
        link_log(context, hook.workspace_url, self.log_table)
        self._lineage = Lineage(names, self.consumer, hook.host or "")

    def tell(
        self,
        context: Context,
        hook: FileArrivalsHook,
        names: Names,
        report: Report,
        *,
        news: bool = True,
        given: Collection[str] | None = None,
    ) -> None:
        """Tell what was decided and started; before a failure is raised, which it is no part of.

        Without `news` (a task that was repeated, and found all done) nothing is counted and nobody notified.
        `given` are the requests that the task was given, where mapped siblings have others.
        """
        self._show(report.outcomes)
        counts = Counter(row.status.value for row in report.outcomes)
        self.log.info("%s", summary(counts, report.files, report.epoch))
        consumer = report.outcomes[0].consumer if report.outcomes else self.consumer
        if consumer == self.consumer:  # a dry run has another
            rows = self._of_all_tries(context, hook, names, report.outcomes, given)
            announce(context, self.outlets, self.log_table, rows)
        if news:
            record(report.outcomes, report.arrived, consumer, report.stream_lag)
        if news and report.now is not None:
            found = Pass(consumer, report.outcomes, report.holds, report.looked, report.now, given)
            self.notifications.tell(context, hook, names, found)

    def _of_all_tries(
        self,
        context: Context,
        hook: FileArrivalsHook,
        names: Names,
        rows: Sequence[LogRow],
        given: Collection[str] | None,
    ) -> Sequence[LogRow]:
        """The outcomes of first attempts, those of the tries before too: Airflow registers no event of a try
        that failed."""
        task = Task.of(context["ti"], given)
        if self.wait_for_completion or task.try_number == 1 or not aliases_among(self.outlets):
            return rows  # of runs that are awaited the ends are told, of all tries
        try:
            written = written_by(hook, names, self.consumer, task, ARRIVED, run_began(context))
        except FileArrivalsError:
            self.log.exception("asset events of what the tries before have started are lost")
            return rows
        told = (row for row in (*written, *rows) if row.status in ARRIVED and (row.attempt or 1) == 1)
        return list(latest(told).values())

    def tell_ends(self, context: Context, rows: Sequence[LogRow]) -> None:
        """Tell how runs ended that the task waited for. Events of before it waited are not kept by
        Airflow."""
        self._show(rows)
        announce(context, self.outlets, self.log_table, rows, awaited=True)

    def _show(self, rows: Sequence[LogRow]) -> None:
        for status, found in by_status(rows).items():
            level = logging.WARNING if status in TROUBLE else logging.INFO
            for text in grouped(f"{status}: {len(found):,}", [line(row) for row in found]):
                self.log.log(level, "%s", text)
        self._lineage_of(rows)

    def _lineage_of(self, rows: Sequence[LogRow]) -> None:
        if self._lineage is not None:
            self._lineage.rows = rows

    # OpenLineage's listener asks these.

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Which log the task works on. What it reads and starts is known when it has ended."""
        return Lineage(Names.of(self.log_table), self.consumer).on_start()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """The directories that files arrived in, the jobs that were started, and their requests."""
        lineage = self._lineage
        return lineage.on_end(task_instance) if lineage else self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """The same, as far as it came."""
        return self.get_openlineage_facets_on_complete(task_instance)
