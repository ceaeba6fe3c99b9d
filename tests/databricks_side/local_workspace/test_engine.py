"""The engine: names, parameters and idempotent writes as on Databricks; a catalog that outlives a server."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
from pyspark.errors import PySparkException
from pyspark.sql.connect.session import SparkSession

from local_workspace.engine import Engine, EngineError, SetupError, free_port, spark_settings
from local_workspace.runtime import session
from tests.databricks_side.local_workspace.conftest import eventually

ODD = 'it\'s "main.a.b" \n\t\\ ü日🎉 :a ? ; -- /* */ ${x} {{y}} `z` %'


def rows(spark: SparkSession, sql: str, **parameters: object) -> list[tuple[object, ...]]:
    return [tuple(row) for row in spark.sql(sql, args=parameters or None).collect()]


@pytest.fixture
def table(spark: SparkSession, schema: str) -> str:
    """A clustered Delta table with three rows."""
    name = f"{schema}.t"
    spark.sql(
        f"CREATE TABLE {name} (a BIGINT NOT NULL, b STRING, c MAP<STRING, STRING>) "
        "USING DELTA CLUSTER BY (a) TBLPROPERTIES ('our.version' = '1')"
    )
    spark.sql(f"INSERT INTO {name} VALUES (1, 'one', NULL), (2, 'two', map('k', 'v')), (3, 'main.a.b', NULL)")
    return name


class TestStatements:
    """Three-level names and bound parameters in the statements that the product needs."""

    def test_select(self, spark: SparkSession, table: str) -> None:
        assert rows(spark, f"SELECT a FROM {table} WHERE b = :b AND a > :a", b="two", a=0) == [(2,)]

    def test_insert_and_read_back_an_odd_string(self, spark: SparkSession, table: str) -> None:
        spark.sql(f"INSERT INTO {table} SELECT :a, :b, NULL", args={"a": 9, "b": ODD})
        assert rows(spark, f"SELECT a FROM {table} WHERE b = :b", b=ODD) == [(9,)]

    def test_rows_travel_as_one_json_string(self, spark: SparkSession, table: str) -> None:
        given = [{"a": 10, "b": ODD}, {"a": 11, "b": None}]
        spark.sql(
            f"INSERT INTO {table} SELECT r.a, r.b, NULL FROM "
            "(SELECT explode(from_json(:rows, 'ARRAY<STRUCT<a: BIGINT, b: STRING>>')) AS r)",
            args={"rows": json.dumps(given)},
        )
        assert rows(spark, f"SELECT a, b FROM {table} WHERE a >= 10 ORDER BY a") == [(10, ODD), (11, None)]

    def test_update(self, spark: SparkSession, table: str) -> None:
        updated = rows(
            spark, f"UPDATE {table} SET b = :new WHERE a = :a AND b = :old", new=ODD, a=1, old="one"
        )
        assert updated == [(1,)]
        assert rows(spark, f"SELECT b FROM {table} WHERE a = 1") == [(ODD,)]

    def test_merge(self, spark: SparkSession, table: str) -> None:
        merge = (
            f"MERGE INTO {table} AS t USING (SELECT :a AS a, :b AS b) AS s ON t.a = s.a "
            "WHEN MATCHED THEN UPDATE SET b = s.b "
            "WHEN NOT MATCHED THEN INSERT (a, b, c) VALUES (s.a, s.b, NULL)"
        )
        spark.sql(merge, args={"a": 1, "b": "merged"})
        spark.sql(merge, args={"a": 4, "b": "four"})
        assert rows(spark, f"SELECT a, b FROM {table} WHERE a IN (1, 4) ORDER BY a") == [
            (1, "merged"),
            (4, "four"),
        ]

    def test_delete(self, spark: SparkSession, table: str) -> None:
        spark.sql(f"DELETE FROM {table} WHERE a = :a", args={"a": 3})
        assert rows(spark, f"SELECT count(*) FROM {table}") == [(2,)]

    def test_parameters_by_position(self, spark: SparkSession, table: str) -> None:
        found = spark.sql(f"SELECT a FROM {table} WHERE b = ?", args=["two"]).collect()
        assert [row.a for row in found] == [2]

    def test_a_parameter_that_is_missing_is_an_error(self, spark: SparkSession, table: str) -> None:
        with pytest.raises(PySparkException, match="UNBOUND_SQL_PARAMETER"):
            spark.sql(f"SELECT * FROM {table} WHERE a = :a", args={"b": 1}).collect()

    def test_view_with_a_literal_that_looks_like_a_name(self, spark: SparkSession, table: str) -> None:
        spark.sql(f"CREATE OR REPLACE VIEW {table}_view AS SELECT a FROM {table} WHERE b = 'main.a.b'")
        assert rows(spark, f"SELECT a, 'main.a.b' FROM {table}_view") == [(3, "main.a.b")]

    def test_table_function(self, spark: SparkSession, table: str) -> None:
        spark.sql(
            f"CREATE OR REPLACE FUNCTION {table}_of(x BIGINT COMMENT 'x') RETURNS TABLE (a BIGINT, b STRING) "
            f"RETURN SELECT t.a, t.b FROM {table} AS t WHERE t.a = {table.rpartition('.')[2]}_of.x"
        )
        assert rows(spark, f"SELECT b FROM {table}_of(:x)", x=2) == [("two",)]

    def test_describe_detail(self, spark: SparkSession, table: str) -> None:
        detail = spark.sql(f"DESCRIBE DETAIL {table}").collect()[0]
        assert (detail.format, detail.clusteringColumns) == ("delta", ["a"])

    def test_show_tblproperties(self, spark: SparkSession, table: str) -> None:
        assert ("our.version", "1") in rows(spark, f"SHOW TBLPROPERTIES {table}")
        assert rows(spark, f"SHOW TBLPROPERTIES {table} ('our.version')") == [("our.version", "1")]

    @pytest.mark.parametrize(
        "sql",
        [
            "DESCRIBE HISTORY {table}",
            "DESCRIBE TABLE EXTENDED {table}",
            "ALTER TABLE {table} SET TBLPROPERTIES ('x' = 'y')",
            "ALTER TABLE {table} ADD COLUMN d INT",
            "OPTIMIZE {table}",
            "SELECT * FROM {table} VERSION AS OF 1",
            "SHOW COLUMNS IN {table}",
            "SHOW TABLES IN {schema}",
            "SHOW TABLES FROM {schema} LIKE 't*'",
            "DESCRIBE SCHEMA {schema}",
            "CREATE SCHEMA IF NOT EXISTS {schema}",
            "CREATE TABLE {schema}.copy AS SELECT * FROM {table} -- main.x.y",
            "DROP TABLE IF EXISTS {schema}.none",
            "SHOW SCHEMAS IN main",
            "USE CATALOG main",
            "SET CATALOG main",
            "USE {schema}",
        ],
    )
    def test_is_understood(self, spark: SparkSession, schema: str, table: str, sql: str) -> None:
        spark.sql(sql.format(schema=schema, table=table)).collect()

    def test_schemas_are_made_and_dropped(self, spark: SparkSession, schema: str) -> None:
        spark.sql(f"CREATE SCHEMA {schema}_2")
        assert spark.catalog.databaseExists(f"{schema}_2")
        spark.sql(f"DROP SCHEMA {schema}_2")
        assert not spark.catalog.databaseExists(f"{schema}_2")


class TestNames:
    def test_backticks_in_any_place(self, spark: SparkSession, table: str) -> None:
        _, schema, name = table.split(".")
        for written in (f"`main`.`{schema}`.`{name}`", f"main.`{schema}`.{name}", f"MAIN.{schema}.{name}"):
            assert rows(spark, f"SELECT count(*) FROM {written}") == [(3,)]
            assert spark.table(written).count() == 3

    def test_a_column_by_its_full_name(self, spark: SparkSession, table: str) -> None:
        assert rows(spark, f"SELECT {table}.b FROM {table} WHERE {table}.a = 2") == [("two",)]

    def test_comments_and_literals_are_left_alone(self, spark: SparkSession) -> None:
        sql = "SELECT 'main.a.b', \"main.c.d\" /* main.e.f */ -- main.g.h"
        assert rows(spark, sql) == [("main.a.b", "main.c.d")]

    def test_an_alias_called_main(self, spark: SparkSession, table: str) -> None:
        assert rows(spark, f"SELECT main.b FROM {table} AS main WHERE main.a = 2") == [("two",)]

    def test_names_beyond_ascii_shift_nothing(self, spark: SparkSession, table: str) -> None:
        assert rows(spark, f"SELECT '🎉🎉ü', b FROM {table} WHERE a = 1") == [("🎉🎉ü", "one")]

    def test_identifier_clause(self, spark: SparkSession, table: str) -> None:
        assert rows(spark, "SELECT count(*) FROM IDENTIFIER(:t)", t=table) == [(3,)]
        schema, _, name = table.rpartition(".")
        assert rows(spark, "SELECT count(*) FROM IDENTIFIER(:s || :t)", s=schema, t=f".{name}") == [(3,)]

    def test_catalog_calls(self, spark: SparkSession, schema: str, table: str) -> None:
        assert spark.catalog.tableExists(table)
        assert not spark.catalog.tableExists(f"{schema}.none")
        assert spark.catalog.databaseExists(schema)
        assert not spark.catalog.databaseExists(f"{schema}_none")

    def test_dataframes_write_and_read(self, spark: SparkSession, schema: str) -> None:
        name = f"{schema}.frame"
        spark.range(3).write.saveAsTable(name)
        spark.range(3).write.mode("append").saveAsTable(name)
        spark.range(3).writeTo(name).append()
        spark.range(3).write.insertInto(name)
        assert spark.table(name).count() == spark.read.table(name).count() == 12
        spark.range(1).write.mode("overwrite").saveAsTable(name)
        assert spark.table(name).count() == 1

    def test_streams_read_a_table(self, spark: SparkSession, table: str, tmp_path: Path) -> None:
        writer = spark.readStream.table(table).writeStream.option("checkpointLocation", str(tmp_path))
        query = writer.trigger(availableNow=True).toTable(f"{table}_copy")
        assert query.awaitTermination(60) is True
        assert spark.table(f"{table}_copy").count() == 3


def test_a_batch_number_is_written_once(spark: SparkSession, schema: str) -> None:
    name = f"{schema}.log"
    for version in (0, 1, 1, 0):
        writer = spark.range(10).write.mode("append")
        writer.option("txnAppId", "stream").option("txnVersion", version).saveAsTable(name)
    assert spark.table(name).count() == 20


def test_everything_outlives_a_killed_server(engine: Engine, spark: SparkSession, table: str) -> None:
    spark.sql(f"CREATE VIEW {table}_view AS SELECT a FROM {table} WHERE b = 'main.a.b'")
    spark.sql(
        f"CREATE FUNCTION {table}_of(x BIGINT) RETURNS TABLE (b STRING) "
        f"RETURN SELECT b FROM {table} WHERE a = x"
    )
    remote, pid = engine.remote, engine.pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: engine.pid != pid or not engine.alive())
    engine.start()
    assert (engine.remote, engine.alive()) == (remote, True)
    after = session(remote, engine.state)
    try:
        assert rows(after, f"SELECT count(*) FROM {table}") == [(3,)]
        assert rows(after, f"SELECT a FROM {table}_view") == [(3,)]
        assert rows(after, f"SELECT b FROM {table}_of(2)") == [("two",)]
        after.sql(f"CREATE OR REPLACE VIEW {table}_view AS SELECT b FROM {table} WHERE a = 1")
        assert rows(after, f"SELECT b FROM {table}_view") == [("one",)]
    finally:
        after.stop()


class TestEngine:
    def test_a_running_server_is_found_again(self, engine: Engine) -> None:
        again = Engine(engine.state)
        again.start()
        assert (again.pid, again.remote) == (engine.pid, engine.remote)

    def test_it_listens_on_loopback_only(self, engine: Engine) -> None:
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(engine.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening and {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}

    def test_its_log_is_a_file_of_warnings(self, engine: Engine) -> None:
        assert " INFO " not in (engine.state / "server" / "spark.log").read_text(encoding="utf-8")

    def test_without_set_up_it_says_what_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match="local-workspace setup"):
            Engine(tmp_path / "state", home=tmp_path / "home").start()

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(EngineError, match="is taken"):
                Engine(tmp_path, port=taken.getsockname()[1]).start()

    def test_free_ports_are_given_to_no_outgoing_connection(self) -> None:
        ports = {free_port() for _ in range(20)}
        assert len(ports) > 1 and all(20_000 <= port < 32_000 for port in ports)

    def test_where_none_was_started(self, tmp_path: Path) -> None:
        unborn = Engine(tmp_path)
        assert not unborn.alive()
        unborn.stop()
        with pytest.raises(EngineError, match="No engine was started"):
            _ = unborn.remote

    def test_settings_keep_everything_in_the_state_folder(self, tmp_path: Path) -> None:
        assert spark_settings(tmp_path)["spark.sql.warehouse.dir"] == str(tmp_path / "warehouse")
