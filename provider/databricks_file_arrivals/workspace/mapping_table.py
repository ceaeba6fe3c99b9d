"""The mapping table over SQL: read as a whole, and changed as a whole, in one commit."""

from __future__ import annotations

import json
from typing import Any

from databricks_file_arrivals.core.deployment import Described, Sql, describe
from databricks_file_arrivals.core.errors import BadInput, ChangedSince, StatementFailed, TableMissing
from databricks_file_arrivals.core.mapping_edit import AUDIT, COLUMNS, Edit, OpenHold, TableRow
from databricks_file_arrivals.core.tables import MAPPING, Names, TableName

_LONGEST = 12_000_000  # characters of changes; a statement may have 16 MiB with all that is in it
_CHANGED = "the mapping table was changed"
_TYPES = {c.name: c.type for c in MAPPING.columns}


class MappingTable:
    """One mapping table."""

    def __init__(self, sql: Sql, name: TableName) -> None:
        self._sql = sql
        self.name = name
        self._described: Described | None = None

    def columns(self) -> tuple[str, ...]:
        """All that the table has, those of others included. Raises TableMissing."""
        if self._described is None:
            self._described = describe(self._sql, self.name)
        if self._described is None:
            raise TableMissing(str(self.name))
        return tuple(self._described.columns)

    def read(self) -> list[TableRow]:
        """The rows as they are now, each with its hash."""
        rows = self._sql.query(f"SELECT *, {self._hash('t')} AS row_hash FROM {self.name.sql} t")
        return [TableRow({k: v for k, v in r.items() if k != "row_hash"}, r["row_hash"]) for r in rows]

    def _hash(self, alias: str) -> str:
        """The expression for a hash of a row. Of maps there is none: so it is taken of their text."""
        held = ", ".join(f"{alias}.`{name}`" for name in self.columns())
        return f"xxhash64(to_json(struct({held})))"

    def check_columns(self, edit: Edit) -> None:
        """Raise BadInput when the edit sets columns that an older table lacks."""
        used = {name for change in edit.changes for name in change.after}
        missing = sorted(used - set(self.columns()))
        if missing:
            raise BadInput(
                f"{self.name} has no column {', '.join(missing)}. `file-arrivals deploy --upgrade` adds what "
                "is missing. Nothing was changed."
            )

    def apply(self, edit: Edit) -> None:
        """Make all changes in one commit, or none of them.

        Raises ChangedSince when the table does not hold any more what it held when the edit was made.
        """
        changes = json.dumps(_changes(edit), ensure_ascii=False)
        if len(changes) > _LONGEST:
            raise BadInput(
                f"The changes have {len(changes):,} characters and may have {_LONGEST:,}: apply the file in "
                "parts, fewer rows first. Nothing was changed."
            )
        try:
            self._sql.query(self._merge(), {"changes": changes, "shown": edit.fingerprint})
        except StatementFailed as error:
            if _CHANGED in str(error) or error.retryable:
                raise ChangedSince(
                    f"The table {self.name} was changed since it was read, and is not as shown any more. "
                    "Nothing was changed by this; plan again."
                ) from error
            raise

    def _merge(self) -> str:
        """The statement. It compares the table with what was shown in the same transaction that changes it:
        who writes at the same time makes it fail."""
        known = [name for name in COLUMNS if name in self.columns()]
        audit = [name for name in AUDIT if name in self.columns()]
        now = {"last_change_user": "current_user()", "last_updated_ts": "current_timestamp()"}
        schema = ", ".join(f"`{name}`: {_TYPES[name]}" for name in known)
        updates = [f"t.`{name}` = s.`{name}`" for name in known] + [f"t.`{n}` = {now[n]}" for n in audit]
        values = [f"s.`{name}`" for name in known] + [now[name] for name in audit]
        return f"""MERGE INTO {self.name.sql} t USING (
  SELECT c.* FROM (
    SELECT inline(from_json(:changes, 'ARRAY<STRUCT<change: STRING, hash: BIGINT, {schema}>>'))
  ) c CROSS JOIN (
    SELECT CAST(coalesce(sum(CAST({self._hash("h")} AS DECIMAL(38,0))), 0) AS STRING) AS found
    FROM {self.name.sql} h
  ) WHERE CASE WHEN found = :shown THEN true ELSE raise_error('{_CHANGED}') END
) s ON {self._hash("t")} = s.hash
WHEN MATCHED AND s.change = 'delete' THEN DELETE
WHEN MATCHED AND s.change = 'change' THEN UPDATE SET {", ".join(updates)}
WHEN NOT MATCHED AND s.change = 'add' THEN INSERT ({", ".join(f"`{n}`" for n in [*known, *audit])})
VALUES ({", ".join(values)})"""


def _changes(edit: Edit) -> list[dict[str, Any]]:
    return [{"change": c.change.value, "hash": c.hash, **c.after} for c in edit.changes]


def open_holds(sql: Sql, names: Names) -> list[OpenHold]:
    """The holds that are open, of all consumers."""
    rows = sql.query(
        f"SELECT consumer, rule_id, directory, workflow_name, file_count FROM {names.log.derive('_held').sql}"
    )
    return [OpenHold(**row) for row in rows]
