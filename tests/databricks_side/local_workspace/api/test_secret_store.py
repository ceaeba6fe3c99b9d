"""Secrets as stored."""

import pytest

from local_workspace.api.call import Workspace
from local_workspace.api.errors import AlreadyExists, DoesNotExist, InvalidParameter, PermissionDenied
from local_workspace.api.principals import Principal

ADMIN, ALICE, BOB = Principal("admin", 1, True), Principal("alice", 2, False), Principal("bob", 3, False)


def test_a_scope_belongs_to_its_creator_and_to_admins(parts: Workspace) -> None:
    parts.secrets.create_scope(ALICE, "s", everyone=False)
    parts.secrets.put(ALICE, "s", "k", b"\x00value")
    assert parts.secrets.get(ALICE, "s", "k") == parts.secrets.get(ADMIN, "s", "k") == b"\x00value"
    with pytest.raises(PermissionDenied):
        parts.secrets.get(BOB, "s", "k")
    assert (parts.secrets.scopes(ALICE), parts.secrets.scopes(BOB)) == (["s"], [])
    with pytest.raises(AlreadyExists):
        parts.secrets.create_scope(BOB, "s", everyone=False)


def test_permissions_go_up_from_read_to_manage(parts: Workspace) -> None:
    parts.secrets.create_scope(ADMIN, "s", everyone=False)
    parts.secrets.put(ADMIN, "s", "k", b"1")
    parts.secrets.put_acl(ADMIN, "s", "bob", "READ")
    assert parts.secrets.get(BOB, "s", "k") == b"1"
    with pytest.raises(PermissionDenied):
        parts.secrets.put(BOB, "s", "k", b"2")
    parts.secrets.put_acl(ADMIN, "s", "bob", "WRITE")
    parts.secrets.put(BOB, "s", "k", b"2")
    with pytest.raises(PermissionDenied):
        parts.secrets.delete_scope(BOB, "s")
    parts.secrets.delete_acl(ADMIN, "s", "bob")
    with pytest.raises(PermissionDenied):
        parts.secrets.keys(BOB, "s")
    with pytest.raises(InvalidParameter):
        parts.secrets.put_acl(ADMIN, "s", "bob", "CAN_READ")


def test_a_scope_takes_its_secrets_along(parts: Workspace) -> None:
    parts.secrets.create_scope(ADMIN, "s", everyone=True)
    parts.secrets.put(BOB, "s", "k", b"1")
    parts.secrets.delete_scope(BOB, "s")
    parts.secrets.create_scope(ADMIN, "s", everyone=False)
    assert parts.secrets.keys(ADMIN, "s") == []
    with pytest.raises(PermissionDenied):
        parts.secrets.keys(BOB, "s")


def test_what_is_not_there_does_not_exist(parts: Workspace) -> None:
    with pytest.raises(DoesNotExist, match="Scope s"):
        parts.secrets.get(ADMIN, "s", "k")
    parts.secrets.create_scope(ADMIN, "s", everyone=False)
    for act in (parts.secrets.get, parts.secrets.delete, parts.secrets.delete_acl):
        with pytest.raises(DoesNotExist):
            act(ADMIN, "s", "k")
    with pytest.raises(InvalidParameter):
        parts.secrets.put(ADMIN, "s", "k", b"x" * (128 * 1024 + 1))
