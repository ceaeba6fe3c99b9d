"""One request, started by a task of its own: what a plan has handed out, and what became of it since.

Everything is read from the log by the request's `trigger_id`, so the task may be repeated, doubled, killed or
cleared, beside operators that start the same request: all of them send the same token.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from databricks_file_arrivals.core.errors import BadInput, LedgerError
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from databricks_file_arrivals.workspace.claims import Options
from databricks_file_arrivals.workspace.ledger import Ledger, Requested
from databricks_file_arrivals.workspace.starts import Report, Starter, Starts

log = logging.getLogger(__name__)

_TRIGGER_ID = re.compile("[0-9a-f]{64}")
_REQUESTS = (
    Status.PLANNED,
    Status.ERROR,
    Status.TRIGGERED,
    Status.NOT_RUN,
    Status.FAILED,
    Status.SUCCEEDED,
)
"""States of what can be started, or was."""


class OneRequest:
    """A task's pass over one request."""

    def __init__(
        self,
        ledger: Ledger,
        starter: Starter,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._starter = starter
        self._options = options
        self._clock = clock
        self.report = Report()

    def run(self, trigger_id: str, *, again: bool = False) -> Report:
        """Start the request unless it has a run, and record it. The report's one outcome is its newest state.

        With `again` (the task is tried again, or was cleared) its last run is looked at, and one that has
        failed is followed by a new attempt. Raises BadInput and LedgerError where there is nothing of ours to
        start, and what the Jobs API raises that may pass while there are more tries.
        """
        if not _TRIGGER_ID.fullmatch(trigger_id):
            raise BadInput(f"{trigger_id!r} is not a trigger_id. {_WHAT_TO_DO}")
        found = self._ledger.request(trigger_id)
        row = self._state(found, trigger_id)
        starts = self._starts(found)
        self.report.decided([row])
        if again and row.status in (Status.TRIGGERED, Status.FAILED):
            row = self._looked_at(row, starts)
        if row.status in (Status.PLANNED, Status.ERROR, Status.NOT_RUN) or (
            again and row.status is Status.FAILED
        ):
            self._start(row, found.rows, starts)
        else:
            log.info("nothing to start: %s for %s is %s", row.workflow_name, row.directory, row.status)
        return self.report

    def _state(self, found: Requested, trigger_id: str) -> LogRow:
        """The newest state of the request. Raises BadInput and LedgerError where it is none to start."""
        where = f"the request {trigger_id}"
        if not found.rows:
            raise LedgerError(f"{self._ledger.names.log} has no row of {where}. {_WHAT_TO_DO}")
        row = next(iter(latest(found.rows).values()))
        if row.consumer != self._options.consumer:
            raise BadInput(
                f"{where} is of the consumer {row.consumer!r}, not of {self._options.consumer!r}: give the "
                "operator that plans and this one the same consumer."
            )
        if not any(r.status is Status.CLAIMED for r in found.rows):
            raise LedgerError(f"{where} is of a claim that was not won or is not finished. {_WHAT_TO_DO}")
        if row.status not in _REQUESTS:
            raise LedgerError(f"{where} is {row.status}: there is nothing to start. {_WHAT_TO_DO}")
        return row

    def _starts(self, found: Requested) -> Starts:
        assert found.now is not None, "rows tell the time"
        read_at, now = self._clock(), found.now
        self.report.now = now

        def warehouse_time() -> datetime:
            return now + timedelta(seconds=self._clock() - read_at)

        return Starts(
            self._ledger,
            self._starter,
            self.report,
            warehouse_time,
            consumer=self._options.consumer,
            give_up_after=self._options.give_up_after,
            stamp=self._options.stamp,
        )

    def _looked_at(self, row: LogRow, starts: Starts) -> LogRow:
        """The request as its run is now: a failed one may be under repair, or have been repaired since."""
        run = self._starter.ended_runs([row]).get(row.started_run_id or 0)
        if run is None:  # deleted, or not to be seen: what was recorded stays
            return row
        state = starts.ended(row, run) if run.ended else replace(row, status=Status.TRIGGERED, error=None)
        if run.ended and state.status is not row.status:
            starts.record([state])
        self.report.outcomes = [state]
        return state

    def _start(self, row: LogRow, known: Sequence[LogRow], starts: Starts) -> None:
        fresh = row.status is Status.PLANNED and row.attempt == 1  # it has no outcome that could be replayed
        if not fresh and self._ledger.replayed(row.consumer, [row]):
            log.warning("%s for %s was replayed since: nothing is started", row.workflow_name, row.directory)
            return
        if row.status in (Status.NOT_RUN, Status.FAILED):
            requests = starts.attempts([row])
        else:
            requests = [row]
        starts.start_alone(requests, known, leave=not self._options.last_try)


_WHAT_TO_DO = (
    "Nothing was started. Clear the task that plans, not this one: what is left over it hands out again."
)
