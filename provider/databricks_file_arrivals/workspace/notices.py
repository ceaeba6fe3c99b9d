"""What the ledger says about who was told what: rows of the period before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
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

    @classmethod
    def of(cls, ti: Any) -> Task:
        """That of a task instance."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.try_number)

    @property
    def bound(self) -> dict[str, Any]:
        """Its parameters in a statement."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}


_MINE = "dag_id <=> :dag_id AND dag_run_id <=> :run_id AND task_id <=> :task_id"


def told_before(
    sql: Sql, names: Names, consumer: str, rows: Iterable[LogRow], task: Task, since: datetime
) -> dict[Kind, set[str]]:
    """The directories of these rows that another task has an outcome of the same kind of since then.

    Only rows of claims that were finished count: who lost a claim told nobody.
    """
    asked = sorted({row.directory for row in rows if row.directory is not None})
    log = names.log.sql
    found = sql.query(
        f"""SELECT DISTINCT status, directory FROM {log} l LEFT SEMI JOIN (
  SELECT claim_id FROM {log} WHERE consumer = :consumer AND status = '{Status.CLAIMED}'
) won ON l.claim_id = won.claim_id
WHERE consumer = :consumer AND recorded_at > :since AND status IN ({_quoted()}) AND NOT ({_MINE})
  AND array_contains(from_json(:directories, 'ARRAY<STRING>'), directory)""",
        {"consumer": consumer, "since": since, "directories": json.dumps(asked), **task.bound},
    )
    told: dict[Kind, set[str]] = {}
    for row in found:
        told.setdefault(_KIND[row["status"]], set()).add(row["directory"])
    return told


def written_by(sql: Sql, names: Names, consumer: str, task: Task, since: datetime) -> Sequence[LogRow]:
    """What tries of this task have recorded since then of the requests that are of a kind to tell, up to a
    limit: the newest."""
    log = names.log.sql
    found = sql.query(
        f"""SELECT * FROM {log} WHERE consumer = :consumer AND recorded_at > :since AND {_MINE}
  AND claim_id IN (SELECT claim_id FROM {log} WHERE consumer = :consumer AND status = '{Status.CLAIMED}')
  AND trigger_id IN (SELECT trigger_id FROM {log} WHERE consumer = :consumer AND recorded_at > :since
    AND status IN ({_quoted()}) AND {_MINE}) ORDER BY recorded_at DESC LIMIT {_MOST_ROWS}""",
        {"consumer": consumer, "since": since, **task.bound},
    )
    return [read_log_row(row) for row in found]


_KIND = {status.value: kind for kind, statuses in STATUSES.items() for status in statuses}


def _quoted() -> str:
    return ", ".join(f"'{status}'" for status in sorted(_KIND))
