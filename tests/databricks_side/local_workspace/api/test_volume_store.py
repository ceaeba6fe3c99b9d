"""Volumes: where their files stand, and who may read and write them."""

from pathlib import Path
from typing import Any

import pytest

from local_workspace.api.call import Workspace
from local_workspace.api.errors import AlreadyExists, DoesNotExist, InvalidParameter, PermissionDenied
from local_workspace.api.principals import Principal
from local_workspace.api.volume_store import (
    EVERYONE,
    READ,
    WRITE,
    Volumes,
    external_folder,
    parse_changes,
)
from local_workspace.state import State


def _principal(parts: Workspace, name: str) -> Principal:
    found = parts.principals.find(name)
    assert found is not None
    return found


def test_a_managed_volume_is_a_folder_of_the_state_that_goes_with_it(parts: Workspace) -> None:
    alice = _principal(parts, "alice")
    volume = parts.volumes.create(alice, "Ingest", "Signals", "it's ours")
    folder = Path(volume.storage_location)
    assert folder.is_dir() and folder.is_relative_to(parts.folder)
    assert parts.volumes.find("MAIN.ingest.SIGNALS") == volume
    assert Volumes(State(parts.folder)).find(volume.full_name) == volume
    with pytest.raises(AlreadyExists, match=r"main\.ingest\.signals"):
        parts.volumes.create(alice, "ingest", "signals", None)
    (folder / "file").write_text("x")
    with pytest.raises(PermissionDenied, match="owner"):
        parts.volumes.delete(_principal(parts, "bob"), volume.full_name)
    parts.volumes.delete(alice, volume.full_name)
    assert not folder.exists() and not list((parts.folder / "volumes").glob("*.deleted"))
    with pytest.raises(DoesNotExist):
        parts.volumes.find(volume.full_name)
    assert not list(Path(parts.volumes.create(alice, "ingest", "signals", None).storage_location).iterdir())


def test_an_external_volume_leaves_its_folder_behind(parts: Workspace, tmp_path: Path) -> None:
    alice, folder = _principal(parts, "alice"), tmp_path / "a folder"
    volume = parts.volumes.create_external(alice, "ingest", "landing", f"file://{tmp_path}/a%20folder", None)
    assert (volume.storage_location, folder.is_dir()) == (str(folder), True)
    (folder / "file").write_text("x")
    parts.volumes.delete(alice, volume.full_name)
    assert (folder / "file").read_text() == "x"


@pytest.mark.parametrize("location", ["s3://b/x", "x/y", "file:x", "/a/../b", "/a\0b"])
def test_an_external_location_is_a_path_of_this_machine(location: str) -> None:
    with pytest.raises(InvalidParameter, match="absolute path"):
        external_folder(location)


@pytest.mark.parametrize("name", ["a b", "a.b", "a/b", "", "..", "a\n"])
def test_a_name_that_is_no_name_is_refused(parts: Workspace, name: str) -> None:
    with pytest.raises(InvalidParameter, match="not a valid name"):
        parts.volumes.create(_principal(parts, "alice"), "ingest", name, None)


def test_everybody_reads_and_writes_until_grants_say_otherwise(parts: Workspace) -> None:
    alice, bob, admin = (_principal(parts, name) for name in ("alice", "bob", "admin"))
    volume = parts.volumes.create(alice, "ingest", "signals", None)
    assert parts.volumes.grants(volume) == [{"principal": EVERYONE, "privileges": [READ, WRITE]}]
    parts.volumes.require(bob, volume, WRITE)
    _change(parts, volume, EVERYONE, remove=[WRITE])
    parts.volumes.require(bob, volume, READ)
    with pytest.raises(PermissionDenied, match=r"bob does not have WRITE VOLUME on Volume 'main\.ingest"):
        parts.volumes.require(bob, volume, WRITE)
    _change(parts, volume, EVERYONE, remove=["ALL_PRIVILEGES"])
    assert parts.volumes.visible(bob, "ingest") == []
    for caller in (alice, admin):
        parts.volumes.require(caller, volume, WRITE)
        assert parts.volumes.visible(caller, "ingest") == [volume]
    _change(parts, volume, "bob", add=[READ])
    parts.volumes.require(bob, volume, READ)
    assert parts.volumes.grants(volume) == [{"principal": "bob", "privileges": [READ]}]


def test_a_grant_to_nobody_changes_nothing(parts: Workspace) -> None:
    volume = parts.volumes.create(_principal(parts, "alice"), "ingest", "signals", None)
    changes = [{"principal": EVERYONE, "remove": [READ]}, {"principal": "carol", "add": [READ]}]
    with pytest.raises(DoesNotExist, match="carol"):
        parts.volumes.change_grants(volume, parse_changes(changes))
    assert parts.volumes.grants(volume) == [{"principal": EVERYONE, "privileges": [READ, WRITE]}]


@pytest.mark.parametrize("entry", ["x", {}, {"principal": "a", "add": ["SELECT"]}, {"principal": 1}])
def test_a_change_that_is_none_is_refused(entry: Any) -> None:
    with pytest.raises(InvalidParameter):
        parse_changes([entry])


def test_a_schema_with_volumes_goes_by_force_only(parts: Workspace) -> None:
    volume = parts.volumes.create(_principal(parts, "alice"), "ingest", "signals", None)
    with pytest.raises(InvalidParameter, match="not empty"):
        parts.volumes.drop_schema("ingest", force=False)
    parts.volumes.drop_schema("ingest", force=True)
    assert not Path(volume.storage_location).exists()


def _change(parts: Workspace, volume: Any, principal: str, **change: list[str]) -> None:
    parts.volumes.change_grants(volume, parse_changes([{"principal": principal, **change}]))
