"""The operator that drives outcomes again, for a DAG that a person runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from databricks_file_arrivals.compat import Context
from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.config_options import STARTS_PER_SECOND
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.replays import DEFAULT, Selection
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import airflow_errors
from databricks_file_arrivals.tasks import RequestsOperator, fail_at_end
from databricks_file_arrivals.workspace.replays import Replay, Replayer

_STATUSES = tuple(status.value for status in DEFAULT)


class ReplayOperator(RequestsOperator):
    """Starts again what failed, was unmapped, or is chosen: what `file-arrivals replay` does.

    Each outcome is replayed once, whatever dies and however often the task is repeated or cleared, with
    `force` too: to replay it again run the DAG again. Returns the counts of what was replayed and left, and
    of what came of it. A start that failed fails the task at its end; it is in the log as ERROR, and tried
    again. What it starts is told as that of every operator is; it looks at no hold and no silence, so that
    `on_held_too_long` and `on_overdue` never tell.

    :param log_table: the trigger log, such as `main.ingest.file_log`
    :param workflow_mapping_table: which workflow runs for which directory, for outcomes that had none
    :param consumer: whose outcomes
    :param directory: outcomes of this directory and of those below it
    :param workflow: outcomes of this workflow
    :param statuses: outcomes of these statuses; default: those that started nothing, or failed
    :param since: recorded at this time or later, as ISO text; UTC without a zone
    :param until: recorded before this time
    :param trigger_ids: these requests, by their `trigger_id` or the beginning of it
    :param start: the workflow to start instead of the recorded one
    :param force: also what was replayed before, is tried again by itself, or may have been started after all
    :param dry_run: only log what would be started
    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    """

    template_fields: Sequence[str] = (
        *RequestsOperator.template_fields,
        *("workflow_mapping_table", "directory", "workflow", "statuses", "since", "until", "trigger_ids"),
        "start",
    )

    def __init__(
        self,
        *,
        workflow_mapping_table: str,
        directory: str | None = None,
        workflow: str | None = None,
        statuses: Sequence[str] = _STATUSES,
        since: str | None = None,
        until: str | None = None,
        trigger_ids: Sequence[str] = (),
        start: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_mapping_table = workflow_mapping_table
        self.directory = directory
        self.workflow = workflow
        self.statuses = statuses
        self.since = since
        self.until = until
        self.trigger_ids = trigger_ids
        self.start = start
        self.force = force
        self.only_show = dry_run  # `dry_run` is a method of Airflow's

    def execute(self, context: Context) -> dict[str, Any]:
        """Replay what is selected, and return what was done."""
        with airflow_errors():
            hook, names = self._hook(), Names.of(self.log_table, self.workflow_mapping_table)
            self.begin_telling(context, hook, names)
            replayer = Replayer(hook, names, self._options(context), number(STARTS_PER_SECOND))
            selection = self._selection()
            found = replayer.preview(selection) if self.only_show else replayer.replay(selection)
            report = replayer.report
            self._say(found)
            if not self.only_show:
                self.tell(context, hook, names, report)
        fail_at_end(report)
        replayed = sum(bool(each.rows) for each in found)
        counts = {status.lower(): n for status, n in sorted(report.counts.items())}
        return {"outcomes": replayed, "left": len(found) - replayed, **counts}

    def _say(self, found: Sequence[Replay]) -> None:
        """What no row of the log says: what is left and why, and what would be started."""
        for each in found:
            if not each.rows:
                self.log.warning("left %s %s: %s", each.row.status, each.row.directory, each.reason)
            for row in each.starts if self.only_show else ():
                self.log.info(
                    "would start %s for %s, %s files", row.workflow_name, row.directory, row.file_count
                )

    def _selection(self) -> Selection:
        return Selection(
            consumer=self.consumer,
            directory=self.directory or None,
            workflow=self.workflow or None,
            statuses=tuple(_status(text) for text in self.statuses),
            since=_moment(self.since),
            until=_moment(self.until),
            trigger_ids=tuple(self.trigger_ids),
            start=self.start or None,
            force=self.force,
        )


def _status(text: str) -> Status:
    try:
        return Status(text.upper())
    except ValueError:
        raise BadInput(f"statuses: {text!r} is no status of an outcome.") from None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadInput(f"{text!r} is no time: write 2026-05-31T14:00.") from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
