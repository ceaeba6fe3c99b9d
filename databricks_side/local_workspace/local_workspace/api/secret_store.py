"""Secrets and who may read them. Values are stored as they are: only its owner can read the state file."""

import sqlite3
from typing import Any

from local_workspace.api.errors import AlreadyExists, DoesNotExist, InvalidParameter, PermissionDenied
from local_workspace.api.principals import Principal
from local_workspace.state import State, now_ms

PERMISSIONS = ("READ", "WRITE", "MANAGE")
MAX_VALUE_BYTES = 128 * 1024


class Secrets:
    """Scopes, their secrets and their access lists."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create_scope(self, caller: Principal, scope: str, everyone: bool) -> None:
        """A new scope, managed by its creator."""
        with self._state.writing() as db:
            if db.execute("SELECT 1 FROM secret_scopes WHERE scope = ?", (scope,)).fetchone():
                raise AlreadyExists(f"Scope {scope} already exists!")
            db.execute("INSERT INTO secret_scopes (scope, created_by) VALUES (?, ?)", (scope, caller.name))
            _grant(db, scope, "users" if everyone else caller.name, "MANAGE")

    def delete_scope(self, caller: Principal, scope: str) -> None:
        """The scope and all in it are gone."""
        with self._state.writing() as db:
            _require(db, caller, scope, "MANAGE")
            db.execute("DELETE FROM secret_scopes WHERE scope = ?", (scope,))

    def scopes(self, caller: Principal) -> list[str]:
        """The scopes that the caller may read."""
        db = self._state.reading
        names = [
            row["scope"] for row in db.execute("SELECT scope FROM secret_scopes ORDER BY scope").fetchall()
        ]
        return [name for name in names if _level(db, caller, name) >= 0]

    def put(self, caller: Principal, scope: str, key: str, value: bytes) -> None:
        """Store or replace a secret."""
        if len(value) > MAX_VALUE_BYTES:
            raise InvalidParameter(f"A secret has at most {MAX_VALUE_BYTES} bytes.")
        with self._state.writing() as db:
            _require(db, caller, scope, "WRITE")
            db.execute(
                "INSERT INTO secrets (scope, key, value, updated_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value,"
                " updated_at = excluded.updated_at",
                (scope, key, value, now_ms()),
            )

    def get(self, caller: Principal, scope: str, key: str) -> bytes:
        """The secret's value."""
        db = self._state.reading
        _require(db, caller, scope, "READ")
        row = db.execute("SELECT value FROM secrets WHERE scope = ? AND key = ?", (scope, key)).fetchone()
        if row is None:
            raise DoesNotExist(f"Secret does not exist with scope: {scope} and key: {key}")
        return bytes(row["value"])

    def keys(self, caller: Principal, scope: str) -> list[tuple[str, int]]:
        """Key and time of change of each secret of the scope."""
        db = self._state.reading
        _require(db, caller, scope, "READ")
        rows = db.execute(
            "SELECT key, updated_at FROM secrets WHERE scope = ? ORDER BY key", (scope,)
        ).fetchall()
        return [(row["key"], row["updated_at"]) for row in rows]

    def delete(self, caller: Principal, scope: str, key: str) -> None:
        """The secret is gone."""
        with self._state.writing() as db:
            _require(db, caller, scope, "WRITE")
            if not db.execute("DELETE FROM secrets WHERE scope = ? AND key = ?", (scope, key)).rowcount:
                raise DoesNotExist(f"Secret does not exist with scope: {scope} and key: {key}")

    def put_acl(self, caller: Principal, scope: str, principal: str, permission: str) -> None:
        """Give a principal, or the group `users`, a permission on the scope."""
        if permission not in PERMISSIONS:
            raise InvalidParameter(f"permission {permission!r} is not one of {', '.join(PERMISSIONS)}.")
        with self._state.writing() as db:
            _require(db, caller, scope, "MANAGE")
            _grant(db, scope, principal, permission)

    def delete_acl(self, caller: Principal, scope: str, principal: str) -> None:
        """Take the principal's permission on the scope away."""
        with self._state.writing() as db:
            _require(db, caller, scope, "MANAGE")
            if not db.execute(
                "DELETE FROM secret_grants WHERE scope = ? AND principal = ?", (scope, principal)
            ).rowcount:
                raise DoesNotExist(f"Failed to get secret acl for principal: {principal} for scope: {scope}")

    def acls(self, caller: Principal, scope: str) -> list[dict[str, Any]]:
        """All permissions on the scope."""
        db = self._state.reading
        _require(db, caller, scope, "MANAGE")
        rows = db.execute(
            "SELECT principal, permission FROM secret_grants WHERE scope = ? ORDER BY principal", (scope,)
        ).fetchall()
        return [{"principal": row["principal"], "permission": row["permission"]} for row in rows]


def _grant(db: sqlite3.Connection, scope: str, principal: str, permission: str) -> None:
    db.execute(
        "INSERT INTO secret_grants (scope, principal, permission) VALUES (?, ?, ?)"
        " ON CONFLICT (scope, principal) DO UPDATE SET permission = excluded.permission",
        (scope, principal, permission),
    )


def _level(db: sqlite3.Connection, caller: Principal, scope: str) -> int:
    if caller.is_admin:
        return PERMISSIONS.index("MANAGE")
    rows = db.execute(
        "SELECT permission FROM secret_grants WHERE scope = ? AND principal IN (?, 'users')",
        (scope, caller.name),
    ).fetchall()
    return max((PERMISSIONS.index(row["permission"]) for row in rows), default=-1)


def _require(db: sqlite3.Connection, caller: Principal, scope: str, least: str) -> None:
    if db.execute("SELECT 1 FROM secret_scopes WHERE scope = ?", (scope,)).fetchone() is None:
        raise DoesNotExist(f"Scope {scope} does not exist!")
    if _level(db, caller, scope) < PERMISSIONS.index(least):
        raise PermissionDenied(f"User {caller.name} does not have {least} permission on scope: {scope}")
