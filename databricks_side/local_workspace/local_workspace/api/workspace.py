"""The small calls: who am I, warehouses, Spark versions, permissions of jobs, calls and usage."""

from importlib.metadata import version
from typing import Any

from local_workspace.api import permissions
from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import DoesNotExist, InvalidParameter, NotImplementedHere
from local_workspace.api.job_store import find_job

WAREHOUSE_ID = "local"


def me(call: Call) -> Answer:
    """GET preview/scim/v2/Me"""
    name = call.caller.name
    groups = [{"display": "users"}, *([{"display": "admins"}] if call.caller.is_admin else [])]
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": str(call.caller.id),
        "userName": name,
        "displayName": name,
        "emails": [{"type": "work", "value": name, "primary": True}],
        "groups": groups,
        "active": True,
    }


def spark_versions(call: Call) -> Answer:
    """GET clusters/spark-versions"""
    spark = version("pyspark")
    return {"versions": [{"key": f"{spark}-local", "name": f"Local workspace (Apache Spark {spark})"}]}


def _warehouse(call: Call) -> dict[str, Any]:
    return {
        "id": WAREHOUSE_ID,
        "name": "Local warehouse",
        "state": "RUNNING",
        "cluster_size": "2X-Small",
        "min_num_clusters": 1,
        "max_num_clusters": 1,
        "num_clusters": 1,
        "auto_stop_mins": 0,
        "creator_name": "admin",
        "warehouse_type": "PRO",
        "enable_serverless_compute": False,
        "health": {"status": "HEALTHY"},
    }


def check_warehouse(warehouse_id: str) -> None:
    """Refuse a warehouse that is not there."""
    if warehouse_id != WAREHOUSE_ID:
        raise DoesNotExist(
            f"SQL warehouse {warehouse_id} does not exist. The local workspace has {WAREHOUSE_ID!r}."
        )


def list_warehouses(call: Call) -> Answer:
    """GET sql/warehouses"""
    return {"warehouses": [_warehouse(call)]}


def get_warehouse(call: Call) -> Answer:
    """GET sql/warehouses/{id}"""
    check_warehouse(call.path["id"])
    return _warehouse(call)


def start_warehouse(call: Call) -> Answer:
    """POST sql/warehouses/{id}/start: it runs already, always"""
    check_warehouse(call.path["id"])
    return {}


def get_permissions(call: Call) -> Answer:
    """GET permissions/jobs/{job_id}"""
    db, job_id = call.workspace.state.reading, _job_id(call)
    permissions.require(db, call.caller, job_id, "CAN_VIEW")
    find_job(db, job_id)
    return permissions.grants_of(db, job_id)


def set_permissions(call: Call) -> Answer:
    """PUT permissions/jobs/{job_id}"""
    return _change_permissions(call, replace=True)


def update_permissions(call: Call) -> Answer:
    """PATCH permissions/jobs/{job_id}"""
    return _change_permissions(call, replace=False)


def _change_permissions(call: Call, replace: bool) -> dict[str, Any]:
    call.arguments.only("access_control_list")
    job_id, grants = _job_id(call), permissions.parse_grants(call.arguments.sequence("access_control_list"))
    with call.workspace.state.writing() as db:
        permissions.require(db, call.caller, job_id, "CAN_MANAGE")
        find_job(db, job_id)
        permissions.put_grants(db, job_id, grants, replace)
        return permissions.grants_of(db, job_id)


def _job_id(call: Call) -> int:
    if call.path["kind"] != "jobs":
        raise NotImplementedHere(f"The local workspace has permissions of jobs, not of {call.path['kind']}.")
    if not call.path["id"].isdecimal():
        raise InvalidParameter(f"{call.path['id']!r} is not a job id.")
    return int(call.path["id"])


def count_calls(call: Call) -> Answer:
    """GET /local/calls: of all callers together, or of one `principal`"""
    call.require_admin("read the call counts")
    call.arguments.only("principal")
    return dict(call.workspace.counts.as_dict(call.arguments.optional_text("principal")))


def usage(call: Call) -> Answer:
    """GET /local/usage: calls with the bytes of their bodies, and when statements ran"""
    call.require_admin("read the usage")
    call.arguments.only("principal")
    principal, counts = call.arguments.optional_text("principal"), call.workspace.counts
    return {
        "since": counts.since,
        "calls": counts.usage(principal),
        "statements": call.workspace.statements.busy(principal, counts.since),
    }


def reset_usage(call: Call) -> Answer:
    """DELETE /local/usage: begin anew, the call counts too"""
    call.require_admin("reset the usage")
    call.workspace.counts.reset()
    return {}


ROUTES = [
    Route("GET", "preview/scim/v2/Me", me, ("2.0",)),
    Route("GET", "clusters/spark-versions", spark_versions, ("2.0", "2.1")),
    Route("GET", "sql/warehouses", list_warehouses, ("2.0",)),
    Route("GET", "sql/warehouses/{id}", get_warehouse, ("2.0",)),
    Route("POST", "sql/warehouses/{id}/start", start_warehouse, ("2.0",)),
    Route("GET", "permissions/{kind}/{id}", get_permissions, ("2.0",)),
    Route("PUT", "permissions/{kind}/{id}", set_permissions, ("2.0",)),
    Route("PATCH", "permissions/{kind}/{id}", update_permissions, ("2.0",)),
    Route("GET", "/local/calls", count_calls),
    Route("GET", "/local/usage", usage),
    Route("DELETE", "/local/usage", reset_usage),
]
