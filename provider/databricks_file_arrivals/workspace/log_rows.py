"""Rows of the trigger log on their way: JSON texts that a statement takes, and rows that one gave."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from databricks_file_arrivals.core.errors import LedgerError
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status
from databricks_file_arrivals.core.tables import TRIGGER_LOG

_CHUNK = 1_000_000  # characters of rows in one statement
WRITTEN = tuple(c for c in TRIGGER_LOG.columns if c.name != "recorded_at")
SCHEMA = ", ".join(f"{c.name} {c.type.replace(':', ': ')}" for c in WRITTEN)


def write_log_row(row: LogRow) -> str:
    """A row as JSON, for `from_json` with the table's types."""
    values: dict[str, Any] = {}
    for column in WRITTEN:
        value = getattr(row, column.name)
        if isinstance(value, Status):
            value = value.value
        elif isinstance(value, datetime):
            value = value.isoformat()
        elif column.name == "directories" and value is not None:
            value = {parent: {"after": r.after, "up_to": r.up_to} for parent, r in value.items()}
        if value is not None:
            values[column.name] = value
    return json.dumps(values, ensure_ascii=False)


def read_log_row(values: Mapping[str, Any]) -> LogRow:
    """A row of the trigger log; columns that this version does not know are left alone."""
    known = {f.name for f in fields(LogRow)}
    row = LogRow(**{k: v for k, v in values.items() if k in known and k not in ("status", "directories")},
                 status=Status(values["status"]))  # fmt: skip
    ranges = values.get("directories")
    if any(r is None or r["after"] is None or r["up_to"] is None for r in (ranges or {}).values()):
        raise LedgerError(
            f"The row of the request {values.get('trigger_id')} has a directory without its batches: the log "
            "was edited. Remove the row, or restore the table."
        )
    return replace(
        row,
        directories=None
        if ranges is None
        else {parent: Range(int(r["after"]), int(r["up_to"])) for parent, r in ranges.items()},
        excluded_patterns=_tuple(values.get("excluded_patterns")),
        waits_for=_tuple(values.get("waits_for")),
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def chunks(rows: Sequence[str]) -> Iterable[str]:
    """JSON arrays of rows, each of a size that a statement may have."""
    chunk: list[str] = []
    size = 0
    for row in rows:
        if chunk and size + len(row) > _CHUNK:
            yield f"[{','.join(chunk)}]"
            chunk, size = [], 0
        chunk.append(row)
        size += len(row)
    if chunk:
        yield f"[{','.join(chunk)}]"
