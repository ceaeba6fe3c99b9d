"""The Secrets API with the unmodified SDK."""

import base64
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import PermissionDenied, ResourceDoesNotExist
from databricks.sdk.service import workspace as sdk_workspace

from local_workspace.testing import RunningWorkspace


def test_the_sdk_puts_and_gets(workspace: RunningWorkspace) -> None:
    admin = WorkspaceClient(host=workspace.url, token=workspace.token())
    alice = WorkspaceClient(host=workspace.url, token=workspace.token("alice"))
    admin.secrets.create_scope("sdk-scope")
    admin.secrets.put_secret("sdk-scope", "text", string_value="geheim ✓")
    admin.secrets.put_secret("sdk-scope", "bytes", bytes_value=base64.b64encode(b"\x00\xff").decode())
    value = admin.secrets.get_secret("sdk-scope", "text").value
    assert value and base64.b64decode(value).decode() == "geheim ✓"
    assert [each.key for each in admin.secrets.list_secrets("sdk-scope")] == ["bytes", "text"]
    assert "sdk-scope" in [scope.name for scope in admin.secrets.list_scopes()]
    with pytest.raises(PermissionDenied):
        alice.secrets.get_secret("sdk-scope", "text")
    admin.secrets.put_acl("sdk-scope", "alice", sdk_workspace.AclPermission.READ)
    assert alice.secrets.get_secret("sdk-scope", "text").value == value
    assert admin.secrets.get_acl("sdk-scope", "alice").permission == sdk_workspace.AclPermission.READ
    assert {acl.principal for acl in admin.secrets.list_acls("sdk-scope")} == {"admin", "alice"}
    admin.secrets.delete_acl("sdk-scope", "alice")
    admin.secrets.delete_secret("sdk-scope", "text")
    with pytest.raises(ResourceDoesNotExist):
        admin.secrets.get_secret("sdk-scope", "text")
    admin.secrets.delete_scope("sdk-scope")
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        admin.secrets.list_acls("sdk-scope").__next__()


def test_exactly_one_value_has_to_be_given(admin: Any) -> None:
    admin.post("/api/2.0/secrets/scopes/create", scope="s")
    for values in ({}, {"string_value": "a", "bytes_value": "YQ=="}, {"bytes_value": "?"}):
        admin.post("/api/2.0/secrets/put", 400, scope="s", key="k", **values)
    admin.post("/api/2.0/secrets/put", scope="s", key="k", string_value="")
    assert admin.get("/api/2.0/secrets/get", scope="s", key="k") == {"key": "k", "value": ""}
    admin.post("/api/2.0/secrets/scopes/create", 501, scope="z", scope_backend_type="AZURE_KEYVAULT")
