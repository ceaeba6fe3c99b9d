"""The Unity Catalog API: the parts that name schemas and tables. There are no grants on them here."""

from typing import Any

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.catalog_store import CATALOG, split_name
from local_workspace.api.errors import DoesNotExist
from local_workspace.api.spark_sessions import CATALOGS

_CATALOG: dict[str, Any] = {
    "name": CATALOG,
    "full_name": CATALOG,
    "catalog_type": "MANAGED_CATALOG",
    "owner": "admin",
    "securable_type": "CATALOG",
}


def list_catalogs(call: Call) -> Answer:
    """GET unity-catalog/catalogs"""
    return {"catalogs": [_CATALOG]}


def get_catalog(call: Call) -> Answer:
    """GET unity-catalog/catalogs/{name}"""
    _check_catalog(call.path["name"])
    return _CATALOG


def list_schemas(call: Call) -> Answer:
    """GET unity-catalog/schemas"""
    _check_catalog(call.arguments.text("catalog_name"))
    return {"schemas": call.workspace.catalog.schemas()}


def get_schema(call: Call) -> Answer:
    """GET unity-catalog/schemas/{full_name}"""
    return call.workspace.catalog.schema(call.path["full_name"])


def create_schema(call: Call) -> Answer:
    """POST unity-catalog/schemas"""
    given = call.arguments
    given.only("name", "catalog_name", "comment")
    _check_catalog(given.text("catalog_name"))
    return call.workspace.catalog.create_schema(given.text("name"), given.optional_text("comment"))


def delete_schema(call: Call) -> Answer:
    """DELETE unity-catalog/schemas/{full_name}"""
    full_name, force = call.path["full_name"], call.arguments.boolean("force")
    call.workspace.catalog.schema(full_name)
    call.workspace.volumes.drop_schema(split_name(full_name, 2)[0], force)
    call.workspace.catalog.delete_schema(full_name, force)
    return {}


def list_tables(call: Call) -> Answer:
    """GET unity-catalog/tables"""
    given = call.arguments
    return {"tables": call.workspace.catalog.tables(given.text("catalog_name"), given.text("schema_name"))}


def get_table(call: Call) -> Answer:
    """GET unity-catalog/tables/{full_name}"""
    return call.workspace.catalog.table(call.path["full_name"])


def table_exists(call: Call) -> Answer:
    """GET unity-catalog/tables/{full_name}/exists"""
    return {"table_exists": call.workspace.catalog.exists(call.path["full_name"])}


def delete_table(call: Call) -> Answer:
    """DELETE unity-catalog/tables/{full_name}"""
    call.workspace.catalog.delete_table(call.path["full_name"])
    return {}


def _check_catalog(name: str) -> None:
    if name.lower() not in CATALOGS:
        raise DoesNotExist(f"Catalog '{name}' does not exist.")


_V = ("2.1",)
ROUTES = [
    Route("GET", "unity-catalog/catalogs", list_catalogs, _V),
    Route("GET", "unity-catalog/catalogs/{name}", get_catalog, _V),
    Route("GET", "unity-catalog/schemas", list_schemas, _V),
    Route("GET", "unity-catalog/schemas/{full_name}", get_schema, _V),
    Route("POST", "unity-catalog/schemas", create_schema, _V),
    Route("DELETE", "unity-catalog/schemas/{full_name}", delete_schema, _V),
    Route("GET", "unity-catalog/tables", list_tables, _V),
    Route("GET", "unity-catalog/tables/{full_name}", get_table, _V),
    Route("GET", "unity-catalog/tables/{full_name}/exists", table_exists, _V),
    Route("DELETE", "unity-catalog/tables/{full_name}", delete_table, _V),
]
