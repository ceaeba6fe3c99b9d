"""The Unity Catalog API of volumes, with the unmodified SDK."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.catalog import PermissionsChange, Privilege, VolumeType

from local_workspace.testing import RunningWorkspace


@pytest.fixture(scope="module")
def sdk(workspace: RunningWorkspace) -> Iterator[WorkspaceClient]:
    """The admin's client, with the schema `main.volumes`."""
    client = WorkspaceClient(host=workspace.url, token=workspace.token())
    client.schemas.create("volumes", "main")
    yield client
    client.schemas.delete("main.volumes", force=True)


def test_volumes_live_and_die(sdk: WorkspaceClient, workspace: RunningWorkspace, tmp_path: Path) -> None:
    made = sdk.volumes.create("main", "volumes", "Signals", VolumeType.MANAGED, comment="pointers")
    assert (made.full_name, made.volume_type, made.comment) == (
        "main.volumes.signals",
        VolumeType.MANAGED,
        "pointers",
    )
    assert made.storage_location and Path(made.storage_location).is_relative_to(workspace.folder)
    assert sdk.volumes.read("main.volumes.signals") == made
    landing = sdk.volumes.create(
        "main", "volumes", "landing", VolumeType.EXTERNAL, storage_location=str(tmp_path)
    )
    assert landing.storage_location == str(tmp_path)
    assert [each.name for each in sdk.volumes.list("main", "volumes")] == ["landing", "signals"]
    with pytest.raises(ResourceAlreadyExists):
        sdk.volumes.create("main", "volumes", "signals", VolumeType.MANAGED)
    with pytest.raises(BadRequest, match="not empty"):
        sdk.schemas.delete("main.volumes")
    for name in ("main.volumes.signals", "main.volumes.landing"):
        sdk.volumes.delete(name)
        with pytest.raises(NotFound, match=name):
            sdk.volumes.read(name)


def test_a_volume_needs_a_schema_a_type_and_no_place_of_its_own(sdk: WorkspaceClient) -> None:
    with pytest.raises(NotFound, match=r"main\.nowhere"):
        sdk.volumes.create("main", "nowhere", "v", VolumeType.MANAGED)
    with pytest.raises(BadRequest, match="EXTERNAL"):
        sdk.volumes.create("main", "volumes", "v", VolumeType.MANAGED, storage_location="/x")
    with pytest.raises(BadRequest, match="storage_location"):
        sdk.volumes.create("main", "volumes", "v", VolumeType.EXTERNAL)


def test_grants_are_given_and_taken(sdk: WorkspaceClient, workspace: RunningWorkspace) -> None:
    sdk.volumes.create("main", "volumes", "granted", VolumeType.MANAGED)
    bob = WorkspaceClient(host=workspace.url, token=workspace.token("bob"))
    sdk.grants.update(
        "volume",
        "main.volumes.granted",
        changes=[
            PermissionsChange(principal="account users", remove=[Privilege.ALL_PRIVILEGES]),
            PermissionsChange(principal="alice", add=[Privilege.READ_VOLUME]),
        ],
    )
    found = sdk.grants.get("volume", "main.volumes.granted").privilege_assignments or []
    assert [(each.principal, each.privileges) for each in found] == [("alice", [Privilege.READ_VOLUME])]
    for call in (bob.volumes.read, lambda name: bob.grants.get("volume", name), bob.volumes.delete):
        with pytest.raises(PermissionDenied):
            call("main.volumes.granted")
    with pytest.raises(PermissionDenied, match="owner"):
        bob.grants.update("volume", "main.volumes.granted", changes=[])
    assert list(bob.volumes.list("main", "volumes")) == []


def test_sql_for_volumes_and_grants_on_tables_say_that_they_are_not_there(admin: Any) -> None:
    for statement in ("create volume main.a.b", "\nDROP VOLUME IF EXISTS main.a.b", "SHOW VOLUMES IN main.a"):
        answer = admin.post("/api/2.0/sql/statements", 501, statement=statement, warehouse_id="local")
        assert "unity-catalog/volumes" in answer["message"]
    assert "table" in admin.get("/api/2.1/unity-catalog/permissions/table/main.a.b", 501)["message"]
