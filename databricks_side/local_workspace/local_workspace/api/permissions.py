"""Who may see, run and manage a job."""

import sqlite3
from typing import Any

from local_workspace.api.errors import InvalidParameter, PermissionDenied
from local_workspace.api.principals import Principal

LEVELS = ("CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER")
_KINDS = {"user_name": "user", "group_name": "group", "service_principal_name": "service_principal"}
_FIELDS = {kind: field for field, kind in _KINDS.items()}
_EVERYONE = "users"

# A grant to the principal under either name, or to the group that everyone is in.
VISIBLE = """EXISTS (SELECT 1 FROM job_grants g WHERE g.job_id = jobs.job_id
  AND ((g.kind IN ('user', 'service_principal') AND g.principal = :caller)
       OR (g.kind = 'group' AND g.principal = 'users')))"""


def level_of(db: sqlite3.Connection, caller: Principal, job_id: int) -> str | None:
    """The highest level that the caller has on the job; None if the job is not for him to see."""
    if caller.is_admin:
        return "CAN_MANAGE"
    rows = db.execute(
        "SELECT level FROM job_grants WHERE job_id = ? AND ((kind <> 'group' AND principal = ?)"
        " OR (kind = 'group' AND principal = ?))",
        (job_id, caller.name, _EVERYONE),
    ).fetchall()
    return max((row["level"] for row in rows), key=LEVELS.index, default=None)


def require(db: sqlite3.Connection, caller: Principal, job_id: int, least: str) -> None:
    """Refuse unless the caller has that level; asked before whether the job exists, as on Databricks."""
    level = level_of(db, caller, job_id)
    if level is not None and LEVELS.index(level) >= LEVELS.index(least):
        return
    words = {
        "CAN_VIEW": "View or Admin or Manage Run or Owner",
        "CAN_MANAGE_RUN": "Manage Run or Admin or Owner",
        "CAN_MANAGE": "Admin or Owner",
    }
    raise PermissionDenied(f"User {caller.name} does not have {words[least]} permissions on job {job_id}")


def grants_of(db: sqlite3.Connection, job_id: int) -> dict[str, Any]:
    """The job's permissions as the API shows them."""
    rows = db.execute(
        "SELECT * FROM job_grants WHERE job_id = ? ORDER BY kind, principal", (job_id,)
    ).fetchall()
    listed = [
        {
            _FIELDS[row["kind"]]: row["principal"],
            "display_name": row["principal"],
            "all_permissions": [{"permission_level": row["level"], "inherited": False}],
        }
        for row in rows
    ]
    inherited = {"permission_level": "CAN_MANAGE", "inherited": True, "inherited_from_object": ["/jobs/"]}
    listed.append({"group_name": "admins", "all_permissions": [inherited]})
    return {"object_id": f"/jobs/{job_id}", "object_type": "job", "access_control_list": listed}


def parse_grants(entries: list[Any]) -> list[tuple[str, str, str]]:
    """An access control list as (kind, principal, level), checked."""
    grants = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidParameter("access_control_list has to be an array of objects.")
        named = [(kind, entry[field]) for field, kind in _KINDS.items() if entry.get(field)]
        if len(named) != 1 or not isinstance(named[0][1], str):
            raise InvalidParameter(
                f"Each entry of access_control_list names exactly one of {', '.join(_KINDS)}."
            )
        level = entry.get("permission_level")
        if level not in LEVELS:
            raise InvalidParameter(f"permission_level {level!r} is not one of {', '.join(LEVELS)}.")
        grants.append((*named[0], level))
    return grants


def put_grants(
    db: sqlite3.Connection, job_id: int, grants: list[tuple[str, str, str]], replace: bool
) -> None:
    """Give the job these grants, instead of all it had or on top of them; exactly one owner has to remain."""
    if replace:
        db.execute("DELETE FROM job_grants WHERE job_id = ?", (job_id,))
    elif any(level == "IS_OWNER" for _, _, level in grants):
        db.execute("DELETE FROM job_grants WHERE job_id = ? AND level = 'IS_OWNER'", (job_id,))
    for kind, principal, level in grants:
        db.execute(
            "INSERT INTO job_grants (job_id, kind, principal, level) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (job_id, kind, principal) DO UPDATE SET level = excluded.level",
            (job_id, kind, principal, level),
        )
    owners = db.execute("SELECT count(*) FROM job_grants WHERE job_id = ? AND level = 'IS_OWNER'", (job_id,))
    if owners.fetchone()[0] != 1:
        raise InvalidParameter("The job must have exactly one owner.")
