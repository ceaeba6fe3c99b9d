"""What the ledger says about who was told what, and by which task: rows of some time before."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from databricks_file_arrivals.core.deployment import Sql
from databricks_file_arrivals.core.notices import STATUSES, Kind
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.log_rows import read_log_row

_MOST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a DAG run, whichever try."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    trigger_ids: tuple[str, ...] | None = None
    """The requests that it was given, where mapped siblings were given others: rows do not say which of them
    wrote. None where all rows of the task are its own."""

    @classmethod
    def of(cls, ti: Any, trigger_ids: Collection[str] | None = None) -> Task:
        """That of a task instance."""
        given = None if trigger_ids is None else tuple(sorted(trigger_ids))
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.try_number, given)

    @property
    def mine(self) -> str:
        """The condition for its rows."""
        task = "dag_id <=> :dag_id AND dag_run_id <=> :run_id AND task_id <=> :task_id"
        if self.trigger_ids is None:
            return task
        return f"{task} AND coalesce(array_contains(from_json(:given, 'ARRAY<STRING>'), trigger_id), FALSE)"

    @property
    def bound(self) -> dict[str, Any]:
        """Its parameters in a statement."""
        task = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}
        return task if self.trigger_ids is None else {**task, "given": json.dumps(self.trigger_ids)}


def told_before(
    sql: Sql, names: Names, consumer: str, rows: Iterable[LogRow], task: Task, since: datetime
) -> dict[Kind, set[str]]:
    """The directories of these rows that another task has an outcome of the same kind of since then, and had
    before this one: of two at the same time it is the earlier that tells.

    Only rows of claims that were finished count: who lost a claim told nobody.
    """
    asked = sorted({row.directory for row in rows if row.directory is not None})
    log = names.log.sql
    found = sql.query(
        f"""SELECT status, directory, min(CASE WHEN {task.mine} THEN recorded_at END) AS own,
  min(CASE WHEN NOT ({task.mine}) THEN recorded_at END) AS other
FROM {log} l LEFT SEMI JOIN (
  SELECT claim_id FROM {log} WHERE consumer = :consumer AND status = '{Status.CLAIMED}'
) won ON l.claim_id = won.claim_id
WHERE consumer = :consumer AND recorded_at > :since AND status IN ({_quoted(_TOLD)})
  AND array_contains(from_json(:directories, 'ARRAY<STRING>'), directory)
GROUP BY status, directory""",
        {"consumer": consumer, "since": since, "directories": json.dumps(asked), **task.bound},
    )
    own, others = _first(found, "own"), _first(found, "other")
    told: dict[Kind, set[str]] = {}
    for (kind, directory), at in others.items():
        if at < own.get((kind, directory), _NEVER):
            told.setdefault(kind, set()).add(directory)
    return told


def _first(found: Iterable[Mapping[str, Any]], who: str) -> dict[tuple[Kind, str], datetime]:
    """When one of them first had an outcome, by its kind and directory."""
    first: dict[tuple[Kind, str], datetime] = {}
    for row in found:
        key = (_KIND[row["status"]], row["directory"])
        if row[who] is not None:
            first[key] = min(row[who], first.get(key, _NEVER))
    return first


def written_by(
    sql: Sql, names: Names, consumer: str, task: Task, statuses: Collection[Status], since: datetime
) -> Sequence[LogRow]:
    """What tries of this task have recorded since then of the requests that came to one of these statuses, in
    claims that are closed; up to a limit: the newest."""
    log = names.log.sql
    found = sql.query(
        f"""SELECT * FROM {log} WHERE consumer = :consumer AND recorded_at > :since AND {task.mine}
  AND claim_id IN (SELECT claim_id FROM {log} WHERE consumer = :consumer AND status = '{Status.CLAIMED}')
  AND trigger_id IN (SELECT trigger_id FROM {log} WHERE consumer = :consumer AND recorded_at > :since
    AND status IN ({_quoted(statuses)}) AND {task.mine}) ORDER BY recorded_at DESC LIMIT {_MOST_ROWS}""",
        {"consumer": consumer, "since": since, **task.bound},
    )
    return [read_log_row(row) for row in found]


_NEVER = datetime.max.replace(tzinfo=timezone.utc)
_KIND = {status.value: kind for kind, statuses in STATUSES.items() for status in statuses}
_TOLD = frozenset(status for statuses in STATUSES.values() for status in statuses)


def _quoted(statuses: Iterable[Status]) -> str:
    return ", ".join(f"'{status}'" for status in sorted(statuses))
