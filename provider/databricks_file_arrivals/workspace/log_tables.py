"""The tables of one log, over a way to execute statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from databricks_file_arrivals.core.deployment import MISSING, Sql
from databricks_file_arrivals.core.errors import FileArrivalsError, StatementFailed, TableMissing
from databricks_file_arrivals.core.tables import Names


class LogTables:
    """The tables of one log. Every method of those that derive from it is one statement or a few, and raises
    StatementFailed or TableMissing."""

    def __init__(self, sql: Sql, names: Names) -> None:
        self.names = names
        self._sql = sql

    def _query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        try:
            return self._sql.query(statement, parameters)
        except StatementFailed as error:
            raise table_missing(error, self.names) from error


def table_missing(error: StatementFailed, names: Names) -> FileArrivalsError:
    """The same failure, as TableMissing where a table of the log, or the mapping table, is what is
    missing."""
    if error.condition.split(".")[0] not in MISSING:
        return error
    said = str(error).replace("`", "")
    candidates = (names.mapping, names.arrivals, names.streams, names.consumers, names.log)
    found = next((name for name in candidates if str(name).rsplit(".", 1)[-1] in said), names.log)
    return TableMissing(str(found))
