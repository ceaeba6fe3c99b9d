"""What a task read and started, in OpenLineage's terms, without its classes: names of datasets, and the
content of a facet. https://openlineage.io/docs/spec/naming"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.paths import top

EVENT_REQUESTS = 200
"""How many requests one event tells of: some 100 KB. More of them take more events."""
CONTEXT = "OPENLINEAGE_CONTEXT"
"""The job parameter by which a job learns which task started it: the stock provider's name for it."""

_STORES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "wasbs"}
_WAITING = frozenset({Status.CLAIMED, Status.OVERDUE, Status.DRY_RUN, Status.HELD})


@dataclass(frozen=True, slots=True)
class Name:
    """A dataset's name, within its namespace."""

    namespace: str
    name: str


def directory_name(directory: str, host: str) -> Name:
    """A canonical directory. What has no scheme is a path of the workspace: a volume, or DBFS.

    >>> directory_name("s3://bucket/in/orders", "w.example")
    Name(namespace='s3://bucket', name='in/orders')
    >>> directory_name("/Volumes/main/ingest/landing/orders", "w.example")
    Name(namespace='dbfs://w.example', name='/Volumes/main/ingest/landing/orders')
    """
    first = top(directory)
    scheme, found, authority = first.partition("://")
    if not found:
        return Name(f"dbfs://{host}" if host else "file", directory)
    inside = directory[len(first) :].lstrip("/")
    return Name(f"{_STORES.get(scheme, scheme)}://{authority}", inside or "/")


def table_name(table: str, host: str) -> Name:
    """A table, as the stock provider names it."""
    return Name(f"databricks://{host}" if host else "databricks", table)


def job_name(job_id: int, host: str) -> Name:
    """A job, as what a task's output is."""
    return Name(table_name("", host).namespace, f"jobs/{job_id}")


@dataclass(slots=True)
class Directory:
    """What arrived in a directory."""

    files: int = 0
    bytes: int = 0


def directories(rows: Iterable[LogRow]) -> dict[str, Directory]:
    """What arrived in each directory. Several workflows of a directory are told the same files."""
    by_rule: dict[tuple[str, str | None], Directory] = {}
    for row in rows:
        if row.directory and row.status not in _WAITING:
            found = by_rule.setdefault((row.directory, row.rule_id), Directory())
            found.files += row.file_count or 0
            found.bytes += row.total_bytes or 0
    most: dict[str, Directory] = {}
    for (directory, _), found in by_rule.items():
        known = most.setdefault(directory, found)
        most[directory] = found if found.files > known.files else known
    return most


def jobs(rows: Iterable[LogRow]) -> dict[int, str]:
    """The jobs that were started: their names by id."""
    return {r.job_id: r.workflow_name or "" for r in rows if r.job_id is not None and r.started_run_id}


def chunked(rows: Sequence[LogRow], most_events: int) -> list[Sequence[LogRow]]:
    """The rows that each event tells of, of at least one event: by directory, so that few directories are
    told of twice."""
    told = sorted(rows, key=lambda row: (row.directory or "", row.trigger_id or ""))
    starts = range(0, max(len(told), 1), EVENT_REQUESTS)
    return [told[start : start + EVENT_REQUESTS] for start in starts[: max(most_events, 1)]]


def facet(
    log_table: str, consumer: str, rows: Sequence[LogRow], told: Sequence[LogRow], left_out: int
) -> dict[str, Any]:
    """The content of the run facet: of all rows the counts, and each request that this event tells of."""
    return {
        "logTable": log_table,
        "consumer": consumer,
        "epoch": max((row.epoch for row in rows), default=None),
        "counts": dict(sorted(Counter(row.status.value.lower() for row in rows).items())),
        "requests": [_request(row) for row in told],
        "requestsLeftOut": left_out,
    }


def _request(row: LogRow) -> dict[str, Any]:
    said = {
        "triggerId": row.trigger_id,
        "status": row.status.value,
        "directory": row.directory,
        "workflow": row.workflow_name,
        "fileCount": row.file_count,
        "jobId": row.job_id,
        "runId": row.started_run_id,
        "attempt": row.attempt,
    }
    return {name: value for name, value in said.items() if value is not None}
