"""The tables, made through `spark` on Databricks' side. How they are compared is tested with the core."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.errors import TableDiffers
from file_arrivals_stream import deploy_framework
from tests.databricks_side.file_arrivals_stream.conftest import Log


def test_a_second_deployment_keeps_all(log: Log) -> None:
    """The first one is the fixture's."""
    done = deploy_framework(str(log.names.mapping), str(log.names.log), spark=log.spark)
    assert done.created == []
    assert set(done.kept) == {str(log.names.mapping), *(str(name) for name, _ in log.names.tables())}
    assert f"function {log.names.arrived_files}(trigger_id)" in str(done)
    rows = log.query(f"SELECT consumer, epoch, cursor FROM {log.names.consumers.sql}")
    assert [tuple(row) for row in rows] == [("default", 0, {})]
    for view in ("_latest", "_held", "_unmapped", "_lag"):
        log.query(f"SELECT * FROM {log.names.log.derive(view).sql}")


def test_without_a_log_table_it_makes_the_mapping_table_only(connect: Log) -> None:
    name = connect.names.mapping.derive("_alone")
    done = deploy_framework(str(name), spark=connect.spark)
    assert done.created == [str(name)] and done.notes == []
    assert connect.query(f"SELECT * FROM {name.sql}") == []


def test_a_table_of_somebody_else_is_named_and_left(connect: Log) -> None:
    name = connect.names.mapping.derive("_foreign")
    connect.query(f"CREATE TABLE {name.sql} (directory INT, other STRING) USING delta")
    with pytest.raises(TableDiffers) as raised:
        deploy_framework(str(name), spark=connect.spark)
    assert f"{name}: the column directory is int, not STRING" in raised.value.differences
    assert connect.spark.table(name.sql).columns == ["directory", "other"]
