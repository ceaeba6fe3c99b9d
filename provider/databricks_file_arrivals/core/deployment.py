"""Create what is missing, compare what is there, and change nothing that was not asked for.

Each side hands in its way to execute a statement: `spark.sql` on Databricks, SQL statements over a
connection in Airflow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from databricks_file_arrivals.core.errors import StatementFailed, TableDiffers
from databricks_file_arrivals.core.tables import (
    DEFAULT_CONSUMER,
    MAPPING,
    SCHEMA_VERSION,
    VERSION_PROPERTY,
    Column,
    Names,
    Table,
    TableName,
    arrived_files_function,
    views,
)

MISSING = ("TABLE_OR_VIEW_NOT_FOUND", "DELTA_TABLE_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE")
IS_A_VIEW = "EXPECT_TABLE_NOT_VIEW"


class Sql(Protocol):
    """A way to execute statements on Databricks."""

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement, by column name; `:name` in it is bound. Raises StatementFailed."""
        ...


@dataclass(slots=True)
class Deployment:
    """What a deployment did, and what it left as it was."""

    created: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"created {name}" for name in self.created] + [f"kept    {name}" for name in self.kept]
        return "\n".join([*lines, *self.notes])


def deploy(
    sql: Sql, workflow_mapping_table: str, log_table: str | None = None, *, upgrade: bool = False
) -> Deployment:
    """Make the mapping table and, with `log_table`, the log's tables, views and function where they are
    missing.

    A table that is there already is compared first, and nothing at all is changed when one differs:
    TableDiffers then says what. `upgrade` adds the columns that an older table lacks, sets its version, and
    replaces views and function.
    """
    mapping = TableName.parse(workflow_mapping_table)
    wanted: list[tuple[TableName, Table]] = [(mapping, MAPPING)]
    names = Names.of(log_table, workflow_mapping_table) if log_table else None
    if names:
        wanted += names.tables()
    done = Deployment()
    _compare(sql, wanted, done, upgrade)
    for name, table in wanted:
        if str(name) not in done.kept:
            sql.query(table.create(name))
            done.created.append(str(name))
    if names:
        if orphaned(sql, names, DEFAULT_CONSUMER):
            done.notes.append(f"note    {row_deleted(names, DEFAULT_CONSUMER)}")
        else:
            make_consumer(sql, names, DEFAULT_CONSUMER, {})
        _derived(sql, names, done, upgrade)
    return done


def _derived(sql: Sql, names: Names, done: Deployment, upgrade: bool) -> None:
    how = ("CREATE OR REPLACE", "") if upgrade else ("CREATE", " IF NOT EXISTS")
    for name, query in views(names):
        sql.query(f"{how[0]} VIEW{how[1]} {name.sql} AS {query}")
    function = names.arrived_files
    sql.query(
        f"{how[0]} FUNCTION{how[1]} {function.sql}(wanted STRING COMMENT 'trigger_id') RETURNS TABLE "
        f"(path STRING, directory STRING, file_size BIGINT, modified_at TIMESTAMP, batch_id BIGINT) "
        f"RETURN {arrived_files_function(names)}"
    )
    done.notes.append(f"views   {', '.join(str(name) for name, _ in views(names))}")
    done.notes.append(f"function {function}(trigger_id)")


def orphaned(sql: Sql, names: Names, consumer: str) -> bool:
    """Whether a consumer has rows in the trigger log and none of its own: somebody deleted it."""
    counts = sql.query(
        f"SELECT (SELECT count(*) FROM {names.consumers.sql} WHERE consumer = :consumer) AS own, "
        f"(SELECT count(*) FROM {names.log.sql} WHERE consumer = :consumer) AS logged",
        {"consumer": consumer},
    )[0]
    return not counts["own"] and bool(counts["logged"])


def row_deleted(names: Names, consumer: str) -> str:
    """What to do about a deleted row: a new one would pass over arrivals, or start them again."""
    return (
        f"The row of the consumer {consumer!r} was deleted from {names.consumers}, and {names.log} has rows "
        f"of it. Bring it back: RESTORE TABLE {names.consumers} TO VERSION AS OF …, or "
        "`file-arrivals cursor import`."
    )


def make_consumer(sql: Sql, names: Names, consumer: str, cursor: Mapping[str, int]) -> None:
    """Make a consumer's row unless it is there. An empty cursor means everything that was logged.

    The epoch goes on from the log's newest, so that a row that is made again repeats no epoch.
    """
    sql.query(
        f"""MERGE INTO {names.consumers.sql} c USING (
  SELECT :consumer AS consumer, coalesce(max(epoch), 0) AS epoch
  FROM {names.log.sql} WHERE consumer = :consumer
) n ON c.consumer = n.consumer
WHEN NOT MATCHED THEN INSERT (consumer, epoch, cursor, open_from, updated_at)
VALUES (n.consumer, n.epoch, from_json(:cursor, 'MAP<STRING,BIGINT>'), n.epoch, current_timestamp())""",
        {"consumer": consumer, "cursor": json.dumps(dict(cursor))},
    )


def _compare(sql: Sql, wanted: Sequence[tuple[TableName, Table]], done: Deployment, upgrade: bool) -> None:
    """Compare what is there; raise TableDiffers before anything is changed. Add columns where asked to."""
    there = {name: found for name, _ in wanted if (found := describe(sql, name)) is not None}
    done.kept += map(str, there)
    differences = [
        f"{name}: {line}"
        for name, table in wanted
        if name in there
        for line in there[name].differences(table, strict=not upgrade)
    ]
    if differences:
        raise TableDiffers(
            differences,
            "Nothing was changed. --upgrade (upgrade=True) adds what is missing; else name other tables.",
        )
    for name, table in wanted:
        missing = there[name].missing(table) if name in there else []
        if missing and not upgrade:
            listed = ", ".join(c.name for c in missing)
            done.notes.append(
                f"note    {name} works without the optional columns {listed}; --upgrade adds them"
            )
        elif missing:
            columns = ", ".join(f"`{c.name}` {c.type}" for c in missing)
            sql.query(f"ALTER TABLE {name.sql} ADD COLUMNS ({columns})")
            done.notes.append(f"added   {', '.join(c.name for c in missing)} to {name}")
        if upgrade and name in there:
            sql.query(f"ALTER TABLE {name.sql} SET TBLPROPERTIES ('{VERSION_PROPERTY}' = '{SCHEMA_VERSION}')")


@dataclass(frozen=True, slots=True)
class Described:
    """What a table is: its format, its columns' types by name, its properties."""

    format: str
    columns: Mapping[str, str]
    properties: Mapping[str, str]

    def missing(self, table: Table) -> list[Column]:
        """The columns of `table` that are not there."""
        return [c for c in table.columns if c.name not in self.columns]

    def differences(self, table: Table, *, strict: bool) -> list[str]:
        """In words, all that differs; what an upgrade would add only counts if `strict`."""
        if self.format != "delta":
            return [f"it is not a Delta table but {self.format}"]
        found = [
            f"the column {c.name} is {self.columns[c.name]}, not {c.type}"
            for c in table.columns
            if c.name in self.columns and _plain(self.columns[c.name]) != _plain(c.type)
        ]
        for key, value in table.properties:
            if self.properties.get(key, "").lower() != value.lower():
                found.append(f"the property {key} is {self.properties.get(key) or 'not set'}, not {value}")
        if strict:
            required = [c for c in self.missing(table) if not c.optional]
            found += [f"the column {c.name} {c.type} is missing" for c in required]
        return found + self._version_differences(table, strict)

    def _version_differences(self, table: Table, strict: bool) -> list[str]:
        version = self.properties.get(VERSION_PROPERTY)
        if version and version.isdecimal() and int(version) > SCHEMA_VERSION:
            # An "upgrade" to this version would be the opposite.
            return [f"the schema version is {version}, of a newer release than this one ({SCHEMA_VERSION})"]
        if strict and table is not MAPPING and version != str(SCHEMA_VERSION):
            return [f"the schema version is {version or 'not set'}, not {SCHEMA_VERSION}"]
        return []


def describe(sql: Sql, name: TableName) -> Described | None:
    """What a table is, or None when there is none of that name."""
    try:
        columns = sql.query(f"DESCRIBE TABLE {name.sql}")
        detail = sql.query(f"DESCRIBE DETAIL {name.sql}")[0]
    except StatementFailed as error:
        if error.condition.split(".")[0] in MISSING:
            return None
        if error.condition.split(".")[0] == IS_A_VIEW:
            return Described("a view", {}, {})
        raise
    types: dict[str, str] = {}
    for row in columns:
        if not row["col_name"] or row["col_name"].startswith("#"):
            break
        types[row["col_name"]] = row["data_type"]
    return Described(str(detail["format"]).lower(), types, dict(detail["properties"] or {}))


def _plain(type_text: str) -> str:
    return re.sub(r"\s|`", "", type_text).lower()
