"""Jobs as they are stored."""

import base64
import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_workspace.api import permissions
from local_workspace.api.errors import InvalidParameter, JobDoesNotExist, PermissionDenied
from local_workspace.api.job_settings import Settings, checked_settings
from local_workspace.api.principals import Principal
from local_workspace.state import State, now_ms


def new_id() -> int:
    """An id as large and as unordered as those of Databricks, and exact in JavaScript."""
    return secrets.randbelow(9 * 10**14) + 10**14


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its settings."""

    seq: int
    job_id: int
    creator: str
    run_as: str
    created_at: int
    settings: Settings

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Job":
        """The job of a row of `jobs`."""
        return cls(
            row["seq"],
            row["job_id"],
            row["creator"],
            row["run_as"],
            row["created_at"],
            json.loads(row["settings"]),
        )

    def view(self, expand_tasks: bool = True) -> dict[str, Any]:
        """The job as the API shows it; without `expand_tasks`, less whatever Databricks may leave out."""
        settings = self.settings
        if not expand_tasks:
            hidden = ("tasks", "parameters", "job_clusters", "environments")
            settings = {key: value for key, value in settings.items() if key not in hidden}
        return {
            "job_id": self.job_id,
            "creator_user_name": self.creator,
            "run_as_user_name": self.run_as,
            "settings": settings,
            "created_time": self.created_at,
        }


def next_token(seq: int) -> str:
    """A page token that names the last row shown."""
    return base64.urlsafe_b64encode(f"after:{seq}".encode()).decode()


def seq_of_token(token: str | None) -> int | None:
    """The row after which the page begins; None for the first page."""
    if token is None:
        return None
    try:
        word, seq = base64.urlsafe_b64decode(token.encode()).decode().split(":")
        if word != "after":
            raise ValueError(word)
        return int(seq)
    except ValueError as error:
        raise InvalidParameter(f"page_token {token!r} is not one that this workspace gave out.") from error


def find_job(db: sqlite3.Connection, job_id: int) -> Job:
    """The job, or the error of the Jobs API."""
    row = db.execute("SELECT * FROM jobs WHERE job_id = ? AND deleted_at IS NULL", (job_id,)).fetchone()
    if row is None:
        raise JobDoesNotExist(f"Job {job_id} does not exist.")
    return Job.of(row)


class Jobs:
    """The jobs of the workspace."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self, caller: Principal, given: dict[str, Any], version: str) -> int:
        """Store a new job, owned by its creator, and return its id."""
        given = dict(given)
        grants = permissions.parse_grants(given.pop("access_control_list", None) or [])
        settings = checked_settings(given, version)
        job_id = new_id()
        if not any(level == "IS_OWNER" for _, _, level in grants):
            grants.append(("user", caller.name, "IS_OWNER"))
        with self._state.writing() as db:
            run_as = _run_as(db, caller, settings, caller.name)
            db.execute(
                "INSERT INTO jobs (job_id, name_key, creator, run_as, created_at, settings)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, settings["name"].casefold(), caller.name, run_as, now_ms(), json.dumps(settings)),
            )
            permissions.put_grants(db, job_id, grants, replace=True)
        return job_id

    def get(self, caller: Principal, job_id: int) -> Job:
        """One job that the caller may see."""
        permissions.require(self._state.reading, caller, job_id, "CAN_VIEW")
        return find_job(self._state.reading, job_id)

    def page(
        self, caller: Principal, name: str | None, limit: int, token: str | None
    ) -> tuple[list[Job], str | None]:
        """One page of the jobs the caller may see, newest first, and the token of the next page.

        The name has to be the whole name, in any case of letters.
        """
        before = seq_of_token(token)
        rows = self._state.reading.execute(
            "SELECT * FROM jobs WHERE deleted_at IS NULL AND (:name IS NULL OR name_key = :name)"
            f" AND (:before IS NULL OR seq < :before) AND (:is_admin OR {permissions.VISIBLE})"
            " ORDER BY seq DESC LIMIT :limit",
            {
                "name": None if name is None else name.casefold(),
                "before": before,
                "is_admin": caller.is_admin,
                "caller": caller.name,
                "limit": limit + 1,
            },
        ).fetchall()
        jobs = [Job.of(row) for row in rows[:limit]]
        return jobs, next_token(jobs[-1].seq) if len(rows) > limit else None

    def reset(self, caller: Principal, job_id: int, given: dict[str, Any], version: str) -> None:
        """Replace all settings; runs that have begun keep those they began with."""
        settings = checked_settings(given, version)
        with self._state.writing() as db:
            permissions.require(db, caller, job_id, "CAN_MANAGE")
            _store(db, caller, find_job(db, job_id), settings)

    def update(
        self, caller: Principal, job_id: int, changes: dict[str, Any], removed: list[str], version: str
    ) -> None:
        """Replace the settings that are given, remove those that are named, keep the others."""
        with self._state.writing() as db:
            permissions.require(db, caller, job_id, "CAN_MANAGE")
            job = find_job(db, job_id)
            settings = _without(job.settings, removed)
            for field, key in _KEYED.items():
                if field in changes:
                    changes = {**changes, field: _merged(settings.get(field, []), changes[field], field, key)}
            _store(db, caller, job, checked_settings({**settings, **changes}, version))

    def delete(
        self, caller: Principal, job_id: int, cancel: Callable[[sqlite3.Connection, int], None]
    ) -> None:
        """The job is gone, and its active runs are cancelled; those that are over can still be read."""
        with self._state.writing() as db:
            permissions.require(db, caller, job_id, "CAN_MANAGE")
            job = find_job(db, job_id)
            db.execute("UPDATE jobs SET deleted_at = ? WHERE job_id = ?", (now_ms(), job.job_id))
            cancel(db, job_id)


# jobs/update merges these arrays, entry by entry, and replaces every other field.
_KEYED = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "environments": "environment_key",
    "parameters": "name",
}


def _merged(old: list[Any], new: Any, field: str, key: str) -> list[Any]:
    """As jobs/update does it: an entry of the same key is replaced, a new one added, no other touched."""
    if not isinstance(new, list) or not all(isinstance(entry, dict) for entry in new):
        raise InvalidParameter(f"{field} has to be an array of objects.")
    return list({entry.get(key): entry for entry in [*old, *new]}.values())


def _without(settings: Settings, removed: list[str]) -> Settings:
    """The settings without the named fields; `tasks/KEY` removes one entry."""
    left = {key: value for key, value in settings.items() if key not in removed}
    for name in removed:
        field, slash, entry = name.partition("/")
        if slash and field in left and field in _KEYED:
            left[field] = [each for each in left[field] if each.get(_KEYED[field]) != entry]
        elif name not in settings:
            raise InvalidParameter(f"fields_to_remove names {name!r}, which the job does not have.")
    return left


def _store(db: sqlite3.Connection, caller: Principal, job: Job, settings: Settings) -> None:
    run_as = _run_as(db, caller, settings, job.run_as)
    db.execute(
        "UPDATE jobs SET settings = ?, name_key = ?, run_as = ? WHERE job_id = ?",
        (json.dumps(settings), settings["name"].casefold(), run_as, job.job_id),
    )


def _run_as(db: sqlite3.Connection, caller: Principal, settings: Settings, default: str) -> str:
    """Whose rights the runs have: the creator's, or, if an administrator says so, another principal's."""
    given = settings.get("run_as")
    if given is None:
        return default
    names = [
        value for key, value in given.items() if key in ("user_name", "service_principal_name") and value
    ]
    if len(names) != 1:
        raise InvalidParameter("run_as names exactly one of user_name and service_principal_name.")
    if names[0] not in (caller.name, default) and not caller.is_admin:
        raise PermissionDenied(f"User {caller.name} may not make a job run as {names[0]}.")
    if db.execute("SELECT 1 FROM principals WHERE name = ?", (names[0],)).fetchone() is None:
        raise InvalidParameter(
            f"run_as names {names[0]!r}: no such principal. `local-workspace start --principal` adds one."
        )
    return str(names[0])
