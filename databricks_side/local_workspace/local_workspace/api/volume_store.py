"""Volumes, where their files stand, and who may read and write them."""

import os
import re
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from local_workspace.api.catalog_store import CATALOG, split_name
from local_workspace.api.errors import AlreadyExists, DoesNotExist, InvalidParameter, PermissionDenied
from local_workspace.api.principals import Principal
from local_workspace.state import State, now_ms

READ, WRITE = "READ_VOLUME", "WRITE_VOLUME"
PRIVILEGES = (READ, WRITE)
ALL_PRIVILEGES = "ALL_PRIVILEGES"
EVERYONE = "account users"
MANAGED, EXTERNAL = "MANAGED", "EXTERNAL"
_NAME = re.compile(r"[^\x00-\x20\x7f./]{1,255}")
_COLUMNS = "volume_id, schema_name, name, volume_type, storage_location, owner, comment, created_at"


@dataclass(frozen=True, slots=True)
class Volume:
    """A folder of this machine under a name of the catalog."""

    volume_id: str
    schema_name: str
    name: str
    volume_type: str
    storage_location: str
    owner: str
    comment: str | None
    created_at: int

    @property
    def full_name(self) -> str:
        """Its name in the catalog."""
        return f"{CATALOG}.{self.schema_name}.{self.name}"

    @property
    def path(self) -> str:
        """Its path in the Files API."""
        return f"/Volumes/{CATALOG}/{self.schema_name}/{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """The volume as the API tells it."""
        return {
            "name": self.name,
            "catalog_name": CATALOG,
            "schema_name": self.schema_name,
            "full_name": self.full_name,
            "volume_type": self.volume_type,
            "volume_id": self.volume_id,
            "storage_location": self.storage_location,
            "owner": self.owner,
            "created_at": self.created_at,
            "created_by": self.owner,
            **({} if self.comment is None else {"comment": self.comment}),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """What a principal is given and what is taken from it."""

    principal: str
    add: frozenset[str]
    remove: frozenset[str]


class Volumes:
    """The volumes of a state folder. The catalog's schemas are Spark's: who creates a volume looks there."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self, caller: Principal, schema: str, name: str, comment: str | None) -> Volume:
        """A new, empty volume, whose files stand in the state folder."""
        volume_id = str(uuid.uuid4())
        folder = self._state.folder / "volumes" / schema.lower() / f"{name.lower()}-{volume_id[:8]}"
        return self._add(caller, volume_id, schema, name, MANAGED, folder, comment)

    def create_external(
        self, caller: Principal, schema: str, name: str, location: str, comment: str | None
    ) -> Volume:
        """A new volume on a folder that is there or is made; it outlives the volume."""
        folder = external_folder(location)
        return self._add(caller, str(uuid.uuid4()), schema, name, EXTERNAL, folder, comment)

    def _add(
        self,
        caller: Principal,
        volume_id: str,
        schema: str,
        name: str,
        kind: str,
        folder: Path,
        comment: str | None,
    ) -> Volume:
        for each in (schema, name):
            if not _NAME.fullmatch(each):
                raise InvalidParameter(
                    f"{each!r} is not a valid name: 1 to 255 characters, none of them a space, a dot or a /."
                )
        location = str(folder.absolute())
        volume = Volume(
            volume_id, schema.lower(), name.lower(), kind, location, caller.name, comment, now_ms()
        )
        with self._state.writing() as db:
            if _row(db, volume.schema_name, volume.name) is not None:
                raise AlreadyExists(f"Volume '{volume.full_name}' already exists")
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InvalidParameter(f"{location} is no folder to write to: {error.strerror}.") from error
            values = [getattr(volume, column) for column in _COLUMNS.split(", ")]
            db.execute(f"INSERT INTO volumes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            _change(db, volume_id, Change(EVERYONE, frozenset(PRIVILEGES), frozenset()))
        return volume

    def find(self, full_name: str) -> Volume:
        """The volume of that name, whoever asks. Raises DoesNotExist."""
        schema, name = split_name(full_name, 3)
        row = _row(self._state.reading, schema, name)
        if row is None:
            raise DoesNotExist(f"Volume '{full_name}' does not exist.")
        return Volume(**dict(row))

    def visible(self, caller: Principal, schema: str) -> list[Volume]:
        """The volumes of a schema on which the caller has any privilege."""
        db = self._state.reading
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM volumes WHERE schema_name = ? ORDER BY name", (schema.lower(),)
        ).fetchall()
        volumes = [Volume(**dict(row)) for row in rows]
        return [volume for volume in volumes if _held(db, caller, volume)]

    def drop_schema(self, schema: str, force: bool) -> None:
        """The schema has no volumes any more; it may have some only by force."""
        rows = self._state.reading.execute(
            f"SELECT {_COLUMNS} FROM volumes WHERE schema_name = ?", (schema,)
        ).fetchall()
        if rows and not force:
            raise InvalidParameter(
                f"Cannot delete: schema '{CATALOG}.{schema}' is not empty. Delete its volumes, or use force."
            )
        for row in rows:
            self._delete(Volume(**dict(row)))

    def delete(self, caller: Principal, full_name: str) -> None:
        """The volume is gone, a managed one with its files."""
        volume = self.find(full_name)
        self.require_owner(caller, volume)
        self._delete(volume)

    def _delete(self, volume: Volume) -> None:
        trash = self._state.folder / "volumes" / f"{volume.volume_id}.deleted"
        with self._state.writing() as db:
            db.execute("DELETE FROM volumes WHERE volume_id = ?", (volume.volume_id,))
            if volume.volume_type == MANAGED and Path(volume.storage_location).exists():
                os.rename(volume.storage_location, trash)
        if trash.exists():
            shutil.rmtree(trash)

    def require(self, caller: Principal, volume: Volume, privilege: str) -> None:
        """Refuse unless the caller has that privilege."""
        if privilege not in _held(self._state.reading, caller, volume):
            raise PermissionDenied(
                f"User {caller.name} does not have {privilege.replace('_', ' ')}"
                f" on Volume '{volume.full_name}'."
            )

    def require_any(self, caller: Principal, volume: Volume) -> None:
        """Refuse whoever has no privilege at all."""
        if not _held(self._state.reading, caller, volume):
            self.require(caller, volume, READ)

    def require_owner(self, caller: Principal, volume: Volume) -> None:
        """Refuse whoever is neither the volume's owner nor an administrator."""
        if not caller.is_admin and caller.name != volume.owner:
            raise PermissionDenied(
                f"User {caller.name} is not an owner of Volume '{volume.full_name}', nor an admin."
            )

    def grants(self, volume: Volume) -> list[dict[str, Any]]:
        """Who has which privileges, as the API tells it."""
        rows = self._state.reading.execute(
            "SELECT principal, privilege FROM volume_grants WHERE volume_id = ? ORDER BY 1, 2",
            (volume.volume_id,),
        ).fetchall()
        held: dict[str, list[str]] = {}
        for row in rows:
            held.setdefault(row["principal"], []).append(row["privilege"])
        return [{"principal": name, "privileges": privileges} for name, privileges in held.items()]

    def change_grants(self, volume: Volume, changes: list[Change]) -> None:
        """Give and take privileges, all of it or nothing."""
        with self._state.writing() as db:
            for change in changes:
                known = db.execute("SELECT 1 FROM principals WHERE name = ?", (change.principal,)).fetchone()
                if known is None and change.principal != EVERYONE:
                    raise DoesNotExist(f"Could not find principal with name {change.principal}")
                _change(db, volume.volume_id, change)


def external_folder(location: str) -> Path:
    """The folder that an absolute path or a `file:` URI names."""
    path = location
    if location.startswith("file:"):
        path = unquote(urlsplit(location).path)
    if not path.startswith("/") or "\0" in path or ".." in Path(path).parts:
        raise InvalidParameter(
            f"storage_location {location!r} is not an absolute path of this machine, nor a file: URI of one."
        )
    return Path(path)


def parse_changes(entries: list[Any]) -> list[Change]:
    """The `changes` of a request, checked."""
    changes = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("principal"), str):
            raise InvalidParameter("changes has to be an array of objects, each with a principal.")
        changes.append(Change(entry["principal"], _privileges(entry, "add"), _privileges(entry, "remove")))
    return changes


def _privileges(entry: dict[str, Any], field: str) -> frozenset[str]:
    named = entry.get(field) or []
    known = (*PRIVILEGES, ALL_PRIVILEGES)
    if not isinstance(named, list) or not all(each in known for each in named):
        raise InvalidParameter(f"{field} has to be an array of {', '.join(known)}, not {named!r}.")
    return frozenset(PRIVILEGES if ALL_PRIVILEGES in named else named)


def _row(db: sqlite3.Connection, schema: str, name: str) -> Any:
    return db.execute(
        f"SELECT {_COLUMNS} FROM volumes WHERE schema_name = ? AND name = ?", (schema, name)
    ).fetchone()


def _change(db: sqlite3.Connection, volume_id: str, change: Change) -> None:
    for privilege in sorted(change.remove):
        db.execute(
            "DELETE FROM volume_grants WHERE volume_id = ? AND principal = ? AND privilege = ?",
            (volume_id, change.principal, privilege),
        )
    for privilege in sorted(change.add):
        db.execute(
            "INSERT INTO volume_grants (volume_id, principal, privilege) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (volume_id, change.principal, privilege),
        )


def _held(db: sqlite3.Connection, caller: Principal, volume: Volume) -> frozenset[str]:
    """The privileges that the caller has; its owner and admins have all."""
    if caller.is_admin or caller.name == volume.owner:
        return frozenset(PRIVILEGES)
    rows = db.execute(
        "SELECT privilege FROM volume_grants WHERE volume_id = ? AND principal IN (?, ?)",
        (volume.volume_id, caller.name, EVERYONE),
    ).fetchall()
    return frozenset(row["privilege"] for row in rows)
