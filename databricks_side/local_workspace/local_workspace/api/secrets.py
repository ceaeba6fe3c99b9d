"""The Secrets API."""

import base64
import binascii

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import DoesNotExist, InvalidParameter, NotImplementedHere


def create_scope(call: Call) -> Answer:
    """POST secrets/scopes/create"""
    given = call.arguments
    given.only("scope", "initial_manage_principal", "scope_backend_type", "backend_azure_keyvault")
    if given.optional_text("scope_backend_type") not in (None, "DATABRICKS"):
        raise NotImplementedHere("The local workspace has secret scopes of the type DATABRICKS only.")
    everyone = given.optional_text("initial_manage_principal") == "users"
    call.workspace.secrets.create_scope(call.caller, given.text("scope"), everyone)
    return {}


def list_scopes(call: Call) -> Answer:
    """GET secrets/scopes/list"""
    names = call.workspace.secrets.scopes(call.caller)
    return {"scopes": [{"name": name, "backend_type": "DATABRICKS"} for name in names]} if names else {}


def delete_scope(call: Call) -> Answer:
    """POST secrets/scopes/delete"""
    call.workspace.secrets.delete_scope(call.caller, call.arguments.text("scope"))
    return {}


def put(call: Call) -> Answer:
    """POST secrets/put"""
    given = call.arguments
    given.only("scope", "key", "string_value", "bytes_value")
    if ("string_value" in given.values) == ("bytes_value" in given.values):
        raise InvalidParameter("Exactly one of string_value and bytes_value has to be given.")
    if "string_value" in given.values:
        value = (given.optional_text("string_value") or "").encode()
    else:
        try:
            value = base64.b64decode(given.text("bytes_value"), validate=True)
        except binascii.Error as error:
            raise InvalidParameter("bytes_value has to be base64.") from error
    call.workspace.secrets.put(call.caller, given.text("scope"), given.text("key"), value)
    return {}


def get(call: Call) -> Answer:
    """GET secrets/get"""
    given = call.arguments
    value = call.workspace.secrets.get(call.caller, given.text("scope"), given.text("key"))
    return {"key": given.text("key"), "value": base64.b64encode(value).decode()}


def list_secrets(call: Call) -> Answer:
    """GET secrets/list"""
    keys = call.workspace.secrets.keys(call.caller, call.arguments.text("scope"))
    return {"secrets": [{"key": key, "last_updated_timestamp": at} for key, at in keys]} if keys else {}


def delete(call: Call) -> Answer:
    """POST secrets/delete"""
    call.workspace.secrets.delete(call.caller, call.arguments.text("scope"), call.arguments.text("key"))
    return {}


def put_acl(call: Call) -> Answer:
    """POST secrets/acls/put"""
    given = call.arguments
    call.workspace.secrets.put_acl(
        call.caller, given.text("scope"), given.text("principal"), given.text("permission")
    )
    return {}


def delete_acl(call: Call) -> Answer:
    """POST secrets/acls/delete"""
    call.workspace.secrets.delete_acl(
        call.caller, call.arguments.text("scope"), call.arguments.text("principal")
    )
    return {}


def list_acls(call: Call) -> Answer:
    """GET secrets/acls/list"""
    return {"items": call.workspace.secrets.acls(call.caller, call.arguments.text("scope"))}


def get_acl(call: Call) -> Answer:
    """GET secrets/acls/get"""
    scope, principal = call.arguments.text("scope"), call.arguments.text("principal")
    for acl in call.workspace.secrets.acls(call.caller, scope):
        if acl["principal"] == principal:
            return acl
    raise DoesNotExist(f"Failed to get secret acl for principal: {principal} for scope: {scope}")


_V = ("2.0",)
ROUTES = [
    Route("POST", "secrets/scopes/create", create_scope, _V),
    Route("GET", "secrets/scopes/list", list_scopes, _V),
    Route("POST", "secrets/scopes/delete", delete_scope, _V),
    Route("POST", "secrets/put", put, _V),
    Route("GET", "secrets/get", get, _V),
    Route("GET", "secrets/list", list_secrets, _V),
    Route("POST", "secrets/delete", delete, _V),
    Route("POST", "secrets/acls/put", put_acl, _V),
    Route("POST", "secrets/acls/delete", delete_acl, _V),
    Route("GET", "secrets/acls/list", list_acls, _V),
    Route("GET", "secrets/acls/get", get_acl, _V),
]
