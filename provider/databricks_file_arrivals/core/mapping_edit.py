"""An edit of the mapping table as a whole: what differs between its rows and those that are wanted."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.tables import MAPPING

AUDIT = ("last_change_user", "last_updated_ts")
"""Columns that say who changed a row and when: an edit sets them, and they are no difference."""

COLUMNS = tuple(c.name for c in MAPPING.columns if c.name not in AUDIT)
"""Columns that an edit compares and sets. Others that a table may have are left alone."""

FREE_DELETES = 10
"""So many rows an edit may delete without more ado, but no more than a fifth of the table's."""

Key = tuple[str, str, str]


class Change(str, Enum):
    """What an edit does with a row."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the mapping table, and a hash of all that it holds, which tells it from others."""

    values: Mapping[str, Any]
    hash: int


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that is added, changed or deleted: what it holds before and after, in `COLUMNS`."""

    change: Change
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    hash: int | None = None
    note: str = ""

    @property
    def subject(self) -> str:
        """Which row it is."""
        row = self.after or self.before
        pattern = f" {row['file_pattern']}" if row.get("file_pattern") else ""
        return f"{row.get('directory')}{pattern} → {row.get('workflow_name')}"

    @property
    def differences(self) -> list[tuple[str, Any, Any]]:
        """Column, value before and value after, of those that differ."""
        both = ((name, self.before.get(name), self.after.get(name)) for name in COLUMNS)
        return [(name, before, after) for name, before, after in both if before != after]


@dataclass(frozen=True, slots=True)
class Edit:
    """All changes that make the table hold the wanted rows, and no others."""

    changes: tuple[RowChange, ...]
    table_rows: int
    fingerprint: str
    """What the whole table held when the edit was made: as long as it is the same, the edit is right."""

    def count(self, change: Change) -> int:
        """How many rows are changed so."""
        return sum(c.change is change for c in self.changes)

    @property
    def plan_id(self) -> str:
        """A short name of this very edit of this very table."""
        changes = [[c.change.value, c.hash, sorted(c.after.items())] for c in self.changes]
        text = json.dumps([self.fingerprint, changes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def check_deletes(self, allowed: int | None) -> None:
        """Raise BadInput when more rows are deleted than is meant without a word."""
        deletes = self.count(Change.DELETE)
        most = max(1, min(FREE_DELETES, self.table_rows // 5)) if allowed is None else allowed
        if deletes > most:
            raise BadInput(
                f"{deletes} of {self.table_rows} rows would be deleted. If that is meant, add "
                f"--allow-deletes {deletes}. Nothing was changed."
            )


def fingerprint(rows: Iterable[TableRow]) -> str:
    """What the table holds, as the sum of its rows' hashes: SQL can tell it too."""
    return str(sum(row.hash for row in rows))


def edit(table: Sequence[TableRow], wanted: Iterable[Mapping[str, Any]]) -> Edit:
    """The edit that makes the table hold the wanted rows. Rows are the same when they start one workflow for
    one directory and file pattern; the rest of them may change."""
    there: dict[Key, list[TableRow]] = defaultdict(list)
    for row in table:
        there[_key(row.values)].append(row)
    changes = []
    for values in wanted:
        after = _columns(values)
        rows = _newest_first(there.pop(_key(after), []))
        if not rows:
            changes.append(RowChange(Change.ADD, {}, after))
            continue
        before = _columns(rows[0].values)
        if before != after:
            changes.append(RowChange(Change.CHANGE, before, after, rows[0].hash))
        for other in rows[1:]:
            if other.hash != rows[0].hash:
                note = "stood twice; the newest row stays"
                changes.append(RowChange(Change.DELETE, _columns(other.values), {}, other.hash, note))
    for rows in there.values():
        for each in {row.hash: row for row in rows}.values():
            changes.append(RowChange(Change.DELETE, _columns(each.values), {}, each.hash))
    changes.sort(key=lambda c: (c.subject, c.change.value, c.hash or 0))
    return Edit(tuple(changes), len(table), fingerprint(table))


def _key(row: Mapping[str, Any]) -> Key:
    directory = paths.canonical((row.get("directory") or "").strip())
    return directory, (row.get("file_pattern") or "").strip(), (row.get("workflow_name") or "").strip()


def _newest_first(rows: list[TableRow]) -> list[TableRow]:
    """The row that counts comes first, as `WorkflowMapping.read` has it."""
    kept = WorkflowMapping.read(row.values for row in rows).rules
    updated = kept[0].updated_at if kept else None

    def counts(row: TableRow) -> bool:
        mine = WorkflowMapping.read([row.values]).rules
        return bool(mine) and mine[0].updated_at == updated and mine[0] == kept[0]

    return sorted(rows, key=lambda row: (not counts(row), row.hash))


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row holds, nulls left out: an empty text or map is none."""
    held = {name: row.get(name) for name in COLUMNS}
    return {name: value for name, value in held.items() if value is not None and value not in ("", {})}


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold that a consumer has open: files that wait for their rule."""

    consumer: str
    rule_id: str
    directory: str
    workflow_name: str
    file_count: int


def ended(holds: Iterable[OpenHold], wanted: Iterable[Mapping[str, Any]]) -> tuple[OpenHold, ...]:
    """The open holds that would end as INACTIVE, because no active row is their rule any more."""
    rules = WorkflowMapping.read(wanted).by_id
    gone = [hold for hold in holds if hold.rule_id not in rules]
    return tuple(sorted(gone, key=lambda h: (h.consumer, h.directory, h.workflow_name)))
