"""Waiting for many runs at once, in few calls: what is left of them, poll by poll."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.workspace.exchange import Exchange
from databricks_file_arrivals.workspace.jobs import active_among, completed, completed_among, get_run

log = logging.getLogger(__name__)

_NAMED = 20  # run ids in one line


class Awaited:
    """Runs that are waited for: `left` are those that may go on, `gone` those that cannot be seen any more.

    `since`: when the first of them was started, at the earliest; older runs are not looked through.
    """

    def __init__(self, run_ids: Iterable[int], since: datetime | None = None) -> None:
        self.left = set(run_ids)
        self.gone: set[int] = set()
        self._since = since
        self._pages = 1
        """What the last look at the list of active runs took: fewer runs than that are asked one by one."""
        self._strange: set[str] = set()

    def poll(self) -> Exchange[None]:
        """Look once at all that are left, and drop those that have ended or are gone.

        A run is believed to have ended when it says so itself: one that is missing in the list of active
        runs may have moved between two of its pages, or be in a state that the list leaves out. Raises
        Refused when not one of them may be seen any more (403): then nothing is known of any.
        """
        unseen = set(self.left)
        if len(unseen) > self._pages:
            active, self._pages = yield from active_among(unseen, self._since, most=len(self.left))
            unseen -= self._seen(active.values())
            if self._pages < len(self.left):  # the list was read to its end: most of the others have ended
                ended = yield from completed_among(unseen, completed(self._since))
                unseen -= self._seen(ended.values())
        refused = yield from self._ask(unseen)
        if refused and len(refused) == len(self.left) and all(e.status == 403 for e in refused.values()):
            raise _none_to_see(refused)
        self._drop(refused)

    def _ask(self, run_ids: Collection[int]) -> Exchange[dict[int, Refused]]:
        """Look at each of these: what was said of those that cannot be seen."""
        refused = {}
        for run_id in sorted(run_ids):
            try:
                self._seen([(yield from get_run(run_id))])
            except Refused as error:
                refused[run_id] = error
        return refused

    def _seen(self, runs: Iterable[Run]) -> set[int]:
        """Take note of runs as they are now: their ids."""
        ids = set()
        for run in runs:
            ids.add(run.run_id)
            if run.ended:
                self.left.discard(run.run_id)
            elif not run.known and run.state not in self._strange:
                self._strange.add(run.state)
                log.warning("%s, a state that this version does not know: it is waited for", run)
        return ids

    def _drop(self, refused: dict[int, Refused]) -> None:
        for run_id, error in refused.items():
            log.warning("run %d was deleted, or may not be seen any more (%s)", run_id, error)
        self.left -= refused.keys()
        self.gone |= refused.keys()


def _none_to_see(refused: dict[int, Refused]) -> Refused:
    some = next(iter(refused.values()))
    return Refused(
        some.status,
        some.code,
        f"none of the runs {listed(refused)} may be seen any more ({some}). Grant the connection's principal "
        "CAN_VIEW on their jobs",
    )


def listed(run_ids: Collection[int]) -> str:
    """Run ids for a person: the first of many, and how many more there are."""
    shown = ", ".join(str(run_id) for run_id in sorted(run_ids)[:_NAMED])
    return shown if len(run_ids) <= _NAMED else f"{shown} and {len(run_ids) - _NAMED} more"
