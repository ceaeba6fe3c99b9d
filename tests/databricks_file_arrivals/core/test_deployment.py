"""Tables are made where they are missing, compared where they are there, and never changed unasked."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from databricks_file_arrivals.core.deployment import Described, deploy, describe, make_consumer
from databricks_file_arrivals.core.errors import StatementFailed, TableDiffers
from databricks_file_arrivals.core.tables import (
    ARRIVALS,
    CONSUMERS,
    MAPPING,
    SCHEMA_VERSION,
    STREAMS,
    TRIGGER_LOG,
    VERSION_PROPERTY,
    Names,
    TableName,
)
from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.airflow_side import Log

SEEDS_MAPPING = """CREATE TABLE {} (directory STRING NOT NULL, workflow_name STRING NOT NULL,
  active_ind STRING NOT NULL, last_change_user STRING, last_updated_ts TIMESTAMP) USING DELTA"""


@pytest.fixture(scope="module")
def schema(hook: FileArrivalsHook) -> str:
    name = f"main.deployment_{uuid.uuid4().hex[:8]}"
    hook.query(f"CREATE SCHEMA {name}")
    return name


@pytest.fixture
def names(schema: str) -> Names:
    """Names of tables that are not there."""
    unique = uuid.uuid4().hex[:8]
    return Names.of(f"{schema}.log_{unique}", f"{schema}.mapping_{unique}")


def there(hook: FileArrivalsHook, names: Names) -> dict[str, Described]:
    """The tables that are there."""
    wanted = [names.mapping, *(name for name, _ in names.tables())]
    return {str(name): found for name in wanted if (found := describe(hook, name)) is not None}


def differences(hook: FileArrivalsHook, names: Names, upgrade: bool = False) -> Sequence[str]:
    """What a refused deployment says; nothing may be different after it."""
    before = there(hook, names)
    with pytest.raises(TableDiffers, match=r"Nothing was changed\..*--upgrade") as raised:
        deploy(hook, str(names.mapping), str(names.log), upgrade=upgrade)
    assert there(hook, names) == before
    return raised.value.differences


def test_a_deployed_log_is_as_it_should_be(hook: FileArrivalsHook, log: Log) -> None:
    wanted = [(log.names.mapping, MAPPING), *log.names.tables()]
    for name, table in wanted:
        found = describe(hook, name)
        assert found is not None
        assert found.differences(table, strict=True) == []
        assert list(found.columns) == [column.name for column in table.columns]
        assert found.properties[VERSION_PROPERTY] == str(SCHEMA_VERSION)
    detail = hook.query(f"DESCRIBE DETAIL {log.names.arrivals.sql}")[0]
    assert list(detail["clusteringColumns"]) == ["stream_id", "batch_id"] and not detail["partitionColumns"]


def test_a_second_deployment_changes_nothing(hook: FileArrivalsHook, log: Log) -> None:
    done = deploy(hook, str(log.names.mapping), str(log.names.log))
    assert done.created == [] and len(done.kept) == 5
    assert len(hook.query(f"DESCRIBE HISTORY {log.names.consumers.sql}")) <= 3, "made, its row, no more"


def test_the_seeds_mapping_table_works_as_it_is(hook: FileArrivalsHook, names: Names) -> None:
    hook.query(SEEDS_MAPPING.format(names.mapping.sql))
    hook.query(f"INSERT INTO {names.mapping.sql} VALUES ('/in/a', 'load', 'Y', 'me', current_timestamp())")
    done = deploy(hook, str(names.mapping))
    assert done.created == [] and done.kept == [str(names.mapping)]
    assert "works without the optional columns file_pattern, parameters, settle_seconds" in str(done)
    added = deploy(hook, str(names.mapping), upgrade=True)
    assert "added   file_pattern, parameters," in str(added)
    rows = hook.query(f"SELECT directory, workflow_name, file_pattern, owner FROM {names.mapping.sql}")
    assert [tuple(row.values()) for row in rows] == [("/in/a", "load", None, None)]
    assert "note" not in str(deploy(hook, str(names.mapping)))


def test_columns_of_others_are_left_alone(hook: FileArrivalsHook, names: Names) -> None:
    hook.query(SEEDS_MAPPING.format(names.mapping.sql).replace("(directory", "(team STRING, directory"))
    deploy(hook, str(names.mapping), upgrade=True)
    found = describe(hook, names.mapping)
    assert found is not None and "team" in found.columns


def test_an_older_table_is_told_by_its_columns_and_mended_when_asked(
    hook: FileArrivalsHook, names: Names
) -> None:
    older = ARRIVALS.create(names.arrivals).replace("`logged_at` TIMESTAMP", "`team` STRING")
    hook.query(older.replace(f"'{VERSION_PROPERTY}' = '{SCHEMA_VERSION}'", "'a' = 'b'"))
    assert differences(hook, names) == (
        f"{names.arrivals}: the column logged_at TIMESTAMP is missing",
        f"{names.arrivals}: the schema version is not set, not {SCHEMA_VERSION}",
    )
    done = deploy(hook, str(names.mapping), str(names.log), upgrade=True)
    assert f"added   logged_at to {names.arrivals}" in str(done)
    assert len(done.created) == 4
    assert "created" not in str(deploy(hook, str(names.mapping), str(names.log)))


def test_a_foreign_table_is_told_column_by_column(hook: FileArrivalsHook, names: Names) -> None:
    hook.query(f"CREATE TABLE {names.streams.sql} (stream_id BIGINT, root STRING) USING DELTA")
    told = differences(hook, names)
    assert f"{names.streams}: the column stream_id is bigint, not STRING" in told
    assert f"{names.streams}: the column checkpoint STRING is missing" in told
    assert differences(hook, names, upgrade=True) == (
        f"{names.streams}: the column stream_id is bigint, not STRING",
    )


def test_what_is_no_delta_table_is_told_by_its_format(hook: FileArrivalsHook, names: Names) -> None:
    hook.query(f"CREATE TABLE {names.log.sql} (directory STRING) USING PARQUET")
    hook.query(f"CREATE VIEW {names.arrivals.sql} AS SELECT 1 AS batch_id")
    assert sorted(differences(hook, names)) == [
        f"{names.log}: it is not a Delta table but parquet",
        f"{names.arrivals}: it is not a Delta table but a view",
    ]


@pytest.mark.parametrize(
    ("version", "upgrade", "told"),
    [
        ("0", False, "the schema version is 0, not 1"),
        ("99", False, "the schema version is 99, of a newer release than this one (1)"),
        ("99", True, "the schema version is 99, of a newer release than this one (1)"),
    ],
)
def test_another_version_is_told(
    hook: FileArrivalsHook, names: Names, version: str, upgrade: bool, told: str
) -> None:
    hook.query(
        STREAMS.create(names.streams).replace(
            f"'{VERSION_PROPERTY}' = '{SCHEMA_VERSION}'", f"'{VERSION_PROPERTY}' = '{version}'"
        )
    )
    assert differences(hook, names, upgrade) == (f"{names.streams}: {told}",)


def test_what_the_compare_and_swap_rests_on_is_required() -> None:
    """A consumers' table with weaker isolation could let two claims win."""
    columns = {c.name: c.type.lower() for c in CONSUMERS.columns}
    weak = {VERSION_PROPERTY: "1", "delta.isolationLevel": "WriteSerializable"}
    assert Described("delta", columns, weak).differences(CONSUMERS, strict=False) == [
        "the property delta.isolationLevel is WriteSerializable, not Serializable",
        "the property delta.enableDeletionVectors is not set, not false",
    ]


def test_types_are_compared_not_their_spelling() -> None:
    spelled = {c.name: c.type.lower().replace(",", ", ") for c in TRIGGER_LOG.columns}
    assert Described("delta", spelled, {VERSION_PROPERTY: "1"}).differences(TRIGGER_LOG, strict=True) == []


def test_a_schema_that_is_not_there_is_an_error(hook: FileArrivalsHook) -> None:
    with pytest.raises(StatementFailed, match=r"no_such_schema.*cannot be found"):
        deploy(hook, "main.no_such_schema.mapping")


def test_a_consumer_is_made_once_and_repeats_no_epoch(hook: FileArrivalsHook, log: Log) -> None:
    """A row that was deleted and is made again goes on after the newest epoch of its log."""
    name = f"it's {uuid.uuid4().hex[:8]}"
    make_consumer(hook, log.names, name, {"s": 3})
    make_consumer(hook, log.names, name, {"s": 9})
    where = {"consumer": name}
    select = f"SELECT epoch, cursor['s'] AS s FROM {log.names.consumers.sql} WHERE consumer = :consumer"
    assert [tuple(row.values()) for row in hook.query(select, where)] == [(0, 3)]
    hook.query(
        f"INSERT INTO {log.names.log.sql} (consumer, claim_id, epoch, status) "
        "VALUES (:consumer, 'c', 41, 'CLAIMED')",
        where,
    )
    hook.query(f"DELETE FROM {log.names.consumers.sql} WHERE consumer = :consumer", where)
    make_consumer(hook, log.names, name, {})
    assert [row["epoch"] for row in hook.query(select, where)] == [41]


def test_a_table_that_is_not_there_is_none(hook: FileArrivalsHook, schema: str) -> None:
    assert describe(hook, TableName.parse(f"{schema}.nothing")) is None
    assert describe(hook, TableName.parse("main.no_such_schema.nothing")) is None
