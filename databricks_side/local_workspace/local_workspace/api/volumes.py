"""The Unity Catalog API of volumes, and the grants on them."""

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.catalog_store import split_name
from local_workspace.api.errors import InvalidParameter, NotImplementedHere
from local_workspace.api.volume_store import EXTERNAL, MANAGED, Volume, parse_changes


def create_volume(call: Call) -> Answer:
    """POST unity-catalog/volumes"""
    given, volumes = call.arguments, call.workspace.volumes
    given.only("catalog_name", "schema_name", "name", "volume_type", "storage_location", "comment")
    schema = f"{given.text('catalog_name')}.{given.text('schema_name')}"
    kind, location = given.text("volume_type"), given.optional_text("storage_location")
    name, comment = given.text("name"), given.optional_text("comment")
    if kind not in (MANAGED, EXTERNAL):
        raise InvalidParameter(f"volume_type has to be MANAGED or EXTERNAL, not {kind!r}.")
    call.workspace.catalog.schema(schema)
    (below,) = split_name(schema, 2)
    if kind == EXTERNAL:
        where = given.text("storage_location")
        return volumes.create_external(call.caller, below, name, where, comment).as_dict()
    if location is not None:
        raise InvalidParameter("storage_location is for EXTERNAL volumes; a MANAGED one chooses its own.")
    return volumes.create(call.caller, below, name, comment).as_dict()


def list_volumes(call: Call) -> Answer:
    """GET unity-catalog/volumes"""
    (schema,) = split_name(f"{call.arguments.text('catalog_name')}.{call.arguments.text('schema_name')}", 2)
    return {"volumes": [each.as_dict() for each in call.workspace.volumes.visible(call.caller, schema)]}


def get_volume(call: Call) -> Answer:
    """GET unity-catalog/volumes/{full_name}"""
    volumes = call.workspace.volumes
    volume = volumes.find(call.path["full_name"])
    volumes.require_any(call.caller, volume)
    return volume.as_dict()


def delete_volume(call: Call) -> Answer:
    """DELETE unity-catalog/volumes/{full_name}"""
    call.workspace.volumes.delete(call.caller, call.path["full_name"])
    return {}


def get_grants(call: Call) -> Answer:
    """GET unity-catalog/permissions/{kind}/{full_name}"""
    volumes, volume = call.workspace.volumes, _granted(call)
    volumes.require_any(call.caller, volume)
    principal = call.arguments.optional_text("principal")
    listed = volumes.grants(volume)
    return {"privilege_assignments": [each for each in listed if principal in (None, each["principal"])]}


def change_grants(call: Call) -> Answer:
    """PATCH unity-catalog/permissions/{kind}/{full_name}"""
    volumes, volume = call.workspace.volumes, _granted(call)
    call.arguments.only("changes")
    volumes.require_owner(call.caller, volume)
    volumes.change_grants(volume, parse_changes(call.arguments.sequence("changes")))
    return {"privilege_assignments": volumes.grants(volume)}


def _granted(call: Call) -> Volume:
    if call.path["kind"].lower() != "volume":
        raise NotImplementedHere(
            f"The local workspace has grants on volumes, not on securables of type {call.path['kind']}."
        )
    return call.workspace.volumes.find(call.path["full_name"])


_V = ("2.1",)
ROUTES = [
    Route("POST", "unity-catalog/volumes", create_volume, _V),
    Route("GET", "unity-catalog/volumes", list_volumes, _V),
    Route("GET", "unity-catalog/volumes/{full_name}", get_volume, _V),
    Route("DELETE", "unity-catalog/volumes/{full_name}", delete_volume, _V),
    Route("GET", "unity-catalog/permissions/{kind}/{full_name}", get_grants, _V),
    Route("PATCH", "unity-catalog/permissions/{kind}/{full_name}", change_grants, _V),
]
