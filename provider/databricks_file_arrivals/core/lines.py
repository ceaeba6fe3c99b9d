"""Outcomes in words: a line for each, and one for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from databricks_file_arrivals.core.outcomes import LogRow, Status

TROUBLE = frozenset(
    {
        Status.ERROR,
        Status.FAILED,
        Status.INACTIVE,
        Status.NO_SUCH_WORKFLOW,
        Status.NOT_RUN,
        Status.OVERDUE,
        Status.UNMAPPED,
    }
)
"""Outcomes that somebody may have to look at."""

GROUPED = 10
"""So many lines of one status are folded in Airflow's log."""


def line(row: LogRow) -> str:
    """One outcome.

    >>> row = LogRow(status=Status.TRIGGERED, consumer="c", claim_id="i", epoch=1, directory="/in/a",
    ...              workflow_name="load", file_count=2, total_bytes=2048, started_run_id=7)
    >>> line(row)
    'TRIGGERED /in/a → load: run 7, 2 files, 2.0 KB'
    """
    head = " ".join(
        [row.status.value, row.directory or "-", *(["→", row.workflow_name] if row.workflow_name else [])]
    )
    return f"{head}: {', '.join(facts)}" if (facts := list(_facts(row))) else head


def _facts(row: LogRow) -> Iterator[str]:
    if row.started_run_id is not None:
        yield f"run {row.started_run_id}"
    if row.file_count:
        yield f"{row.file_count:,} file{'' if row.file_count == 1 else 's'}"
    if row.total_bytes:
        yield size(row.total_bytes)
    if (row.attempt or 1) > 1:
        yield f"attempt {row.attempt}"
    if row.status is Status.HELD and row.waits_for:
        yield f"waits for {' and '.join(row.waits_for)}"
    if row.error:
        yield row.error


def size(number: int) -> str:
    """A number of bytes, for people."""
    value = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def by_status(rows: Iterable[LogRow]) -> dict[Status, list[LogRow]]:
    """The outcomes of each status, those that went well first."""
    found: dict[Status, list[LogRow]] = {}
    for row in sorted(rows, key=lambda r: (r.status in TROUBLE, r.status.value, r.directory or "")):
        if row.status is not Status.CLAIMED:
            found.setdefault(row.status, []).append(row)
    return found


def summary(counts: Mapping[str, int], files: int, epoch: int | None) -> str:
    """All of it.

    >>> summary({"TRIGGERED": 2, "HELD": 1}, 5, 12)
    'epoch 12, 5 files: 1 held, 2 triggered'
    >>> summary({}, 0, None)
    'nothing was due'
    """
    said = ", ".join(f"{n:,} {status.lower()}" for status, n in sorted(counts.items()) if n)
    if not said and epoch is None:
        return "nothing was due"
    head = (
        f"epoch {epoch}, {files:,} file{'' if files == 1 else 's'}" if epoch is not None else "no new claim"
    )
    return f"{head}: {said}" if said else head


def grouped(title: str, lines: Sequence[str]) -> list[str]:
    """The lines, between the marks that let Airflow's log fold them when there are many."""
    if len(lines) < GROUPED:
        return list(lines)
    return [f"::group::{title}", *lines, "::endgroup::"]
