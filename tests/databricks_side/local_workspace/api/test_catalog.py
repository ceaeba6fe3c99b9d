"""The Unity Catalog API, with the unmodified SDK and real Spark."""

from collections.abc import Iterator

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, ResourceAlreadyExists
from databricks.sdk.service import catalog

from local_workspace.testing import RunningWorkspace


@pytest.fixture(scope="module")
def sdk(workspace: RunningWorkspace) -> Iterator[WorkspaceClient]:
    """The admin's client, with the schema `main.shop` and a table and a view in it."""
    client = WorkspaceClient(host=workspace.url, token=workspace.token())
    client.schemas.create("Shop", "main", comment="it's ours")
    for statement in (
        "CREATE TABLE main.shop.orders (id BIGINT NOT NULL COMMENT 'the key', m MAP<STRING, ARRAY<INT>>)"
        " TBLPROPERTIES ('mark' = 'x')",
        "CREATE VIEW main.shop.newest AS SELECT id FROM main.shop.orders",
    ):
        status = client.statement_execution.execute_statement(statement, "local", wait_timeout="50s").status
        assert status and status.error is None, status
    yield client
    client.schemas.delete("main.shop", force=True)


def test_there_is_one_catalog(sdk: WorkspaceClient) -> None:
    assert [each.name for each in sdk.catalogs.list()] == ["main"]
    assert sdk.catalogs.get("main").full_name == "main"
    with pytest.raises(NotFound, match="other"):
        sdk.catalogs.get("other")


def test_schemas_live_and_die(sdk: WorkspaceClient) -> None:
    assert {"default", "shop"} <= {each.name for each in sdk.schemas.list("main")}
    assert sdk.schemas.get("main.shop").full_name == "main.shop"
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        sdk.schemas.create("shop", "main")
    with pytest.raises(BadRequest, match="not empty"):
        sdk.schemas.delete("main.shop")
    sdk.schemas.create("brief", "main")
    sdk.schemas.delete("main.brief")
    for gone in ("main.brief", "other.shop"):
        with pytest.raises(NotFound, match="does not exist"):
            sdk.schemas.get(gone)


def test_a_table_is_told_with_its_columns(sdk: WorkspaceClient) -> None:
    table = sdk.tables.get("main.shop.orders")
    assert table.full_name == "main.shop.orders" and table.table_type == catalog.TableType.MANAGED
    assert table.data_source_format == catalog.DataSourceFormat.DELTA
    assert table.storage_location and table.storage_location.startswith("file:/")
    assert table.properties and table.properties["mark"] == "x"
    assert [(c.name, c.type_text, c.type_name, c.nullable, c.comment) for c in table.columns or []] == [
        ("id", "bigint", catalog.ColumnTypeName.LONG, False, "the key"),
        ("m", "map<string, array<int>>", catalog.ColumnTypeName.MAP, True, None),
    ]


def test_tables_and_views_are_listed_found_and_deleted(sdk: WorkspaceClient) -> None:
    listed = {table.name: table.table_type for table in sdk.tables.list("main", "shop")}
    assert listed == {"orders": catalog.TableType.MANAGED, "newest": catalog.TableType.VIEW}
    assert sdk.tables.exists("main.shop.orders").table_exists
    assert sdk.tables.get("main.shop.newest").table_type == catalog.TableType.VIEW
    assert not sdk.tables.exists("main.nowhere.orders").table_exists
    sdk.statement_execution.execute_statement(
        "CREATE TABLE main.shop.brief (a INT)", "local", wait_timeout="50s"
    )
    sdk.tables.delete("main.shop.brief")
    assert not sdk.tables.exists("main.shop.brief").table_exists
    for gone in ("main.shop.brief", "main.shop.or`ders"):
        with pytest.raises(NotFound, match="does not exist"):
            sdk.tables.get(gone)
    with pytest.raises(BadRequest, match="3 parts"):
        sdk.tables.get("orders")
