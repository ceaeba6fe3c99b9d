"""The catalog as Spark has it: one catalog, `main`, its schemas and its tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local_workspace.api import sql_values
from local_workspace.api.errors import AlreadyExists, DoesNotExist, InvalidParameter
from local_workspace.api.spark_sessions import CATALOGS, SparkSessions, error_text

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

CATALOG = "main"


def quoted(*names: str) -> str:
    """A name of several parts that SQL reads as just that, whatever it holds."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def split_name(full_name: str, parts: int) -> list[str]:
    """The parts below the catalog of `main.schema` or `main.schema.table`."""
    names = full_name.split(".")
    if len(names) != parts or not all(names):
        raise InvalidParameter(f"{full_name!r} is not a name of {parts} parts, such as main.default.t.")
    if names[0].lower() not in CATALOGS:
        raise DoesNotExist(f"Catalog '{names[0]}' does not exist.")
    return [name.lower() for name in names[1:]]


class Catalog:
    """What the catalog API asks of Spark."""

    def __init__(self, sessions: SparkSessions) -> None:
        self._sessions = sessions

    def schemas(self) -> list[dict[str, Any]]:
        """All schemas."""
        with self._sessions.one() as spark:
            return [_schema(row[0]) for row in spark.sql(f"SHOW SCHEMAS IN {CATALOG}").collect()]

    def schema(self, full_name: str) -> dict[str, Any]:
        """One schema."""
        (name,) = split_name(full_name, 2)
        with self._sessions.one() as spark:
            _require_schema(spark, name)
            return _schema(name)

    def create_schema(self, name: str, comment: str | None) -> dict[str, Any]:
        """A new schema."""
        with self._sessions.one() as spark:
            if spark.catalog.databaseExists(name.lower()):
                raise AlreadyExists(f"Schema '{CATALOG}.{name.lower()}' already exists")
            remark = " COMMENT :comment" if comment else ""
            with _refused_as_invalid():
                spark.sql(
                    f"CREATE SCHEMA {quoted(name.lower())}{remark}", {"comment": comment} if comment else None
                )
        return _schema(name.lower())

    def delete_schema(self, full_name: str, force: bool) -> None:
        """The schema is gone; one with tables only by force."""
        (name,) = split_name(full_name, 2)
        with self._sessions.one() as spark:
            _require_schema(spark, name)
            if not force and spark.sql(f"SHOW TABLES IN {quoted(name)}").take(1):
                raise InvalidParameter(
                    f"Cannot delete: schema '{full_name}' is not empty. Delete its tables, or use force."
                )
            with _refused_as_invalid():
                spark.sql(f"DROP SCHEMA {quoted(name)} CASCADE")

    def tables(self, catalog: str, schema: str) -> list[dict[str, Any]]:
        """All tables and views of a schema, without their columns."""
        (name,) = split_name(f"{catalog}.{schema}", 2)
        with self._sessions.one() as spark:
            _require_schema(spark, name)
            views = {row["viewName"] for row in spark.sql(f"SHOW VIEWS IN {quoted(name)}").collect()}
            rows = spark.sql(f"SHOW TABLES IN {quoted(name)}").where("NOT isTemporary").collect()
            return [
                _table(name, row["tableName"], "VIEW" if row["tableName"] in views else "MANAGED")
                for row in rows
            ]

    def exists(self, full_name: str) -> bool:
        """Whether there is such a table or view."""
        schema, table = split_name(full_name, 3)
        with self._sessions.one() as spark:
            return _exists(spark, schema, table)

    def table(self, full_name: str) -> dict[str, Any]:
        """One table or view, with its columns and, for Delta, where it stands."""
        schema, table = split_name(full_name, 3)
        with self._sessions.one() as spark:
            if not _exists(spark, schema, table):
                raise DoesNotExist(f"Table '{full_name}' does not exist.")
            name = quoted(CATALOG, schema, table)
            fields = spark.table(name).schema
            columns = [_column(column) for column in sql_values.columns(fields)]
            for column, field in zip(columns, fields.fields, strict=True):
                column["nullable"] = field.nullable
                column["type_json"] = field.json()
                if "comment" in field.metadata:
                    column["comment"] = field.metadata["comment"]
            kind = spark.catalog.getTable(quoted(schema, table)).tableType
            view = _table(schema, table, "VIEW" if kind == "VIEW" else kind)
            return {**view, "columns": columns, **({} if kind == "VIEW" else _detail(spark, name))}

    def delete_table(self, full_name: str) -> None:
        """The table or view is gone."""
        schema, table = split_name(full_name, 3)
        with self._sessions.one() as spark:
            if not _exists(spark, schema, table):
                raise DoesNotExist(f"Table '{full_name}' does not exist.")
            is_view = spark.catalog.getTable(quoted(schema, table)).tableType == "VIEW"
            with _refused_as_invalid():
                spark.sql(f"DROP {'VIEW' if is_view else 'TABLE'} {quoted(CATALOG, schema, table)}")


@contextmanager
def _refused_as_invalid() -> Iterator[None]:
    from pyspark.errors import AnalysisException, ParseException

    try:
        yield
    except (AnalysisException, ParseException) as error:
        raise InvalidParameter(error_text(error)) from error


def _require_schema(spark: "SparkSession", name: str) -> None:
    if not spark.catalog.databaseExists(name):
        raise DoesNotExist(f"Schema '{CATALOG}.{name}' does not exist.")


def _exists(spark: "SparkSession", schema: str, table: str) -> bool:
    return spark.catalog.databaseExists(schema) and spark.catalog.tableExists(quoted(schema, table))


def _schema(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "catalog_name": CATALOG,
        "full_name": f"{CATALOG}.{name}",
        "catalog_type": "MANAGED_CATALOG",
    }


def _table(schema: str, table: str, kind: str) -> dict[str, Any]:
    return {
        "name": table,
        "catalog_name": CATALOG,
        "schema_name": schema,
        "full_name": f"{CATALOG}.{schema}.{table}",
        "table_type": kind,
    }


def _column(column: dict[str, Any]) -> dict[str, Any]:
    return {**column, "type_text": column["type_text"].lower()}


def _detail(spark: "SparkSession", name: str) -> dict[str, Any]:
    row = spark.sql(f"DESCRIBE DETAIL {name}").select("format", "location", "properties", "id").collect()[0]
    return {
        "data_source_format": str(row["format"]).upper(),
        "storage_location": row["location"],
        "properties": dict(row["properties"] or {}),
        "table_id": row["id"],
    }
