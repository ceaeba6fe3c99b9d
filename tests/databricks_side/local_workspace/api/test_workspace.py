"""The small calls."""

from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service import iam

from local_workspace.testing import RunningWorkspace


def test_the_sdk_asks_who_it_is_and_what_there_is(workspace: RunningWorkspace) -> None:
    sdk = WorkspaceClient(host=workspace.url, token=workspace.token("alice"))
    me = sdk.current_user.me()
    assert me.user_name == "alice" and me.active
    assert [group.display for group in me.groups or []] == ["users"]
    assert [(each.id, each.state and each.state.value) for each in sdk.warehouses.list()] == [
        ("local", "RUNNING")
    ]
    assert sdk.warehouses.get("local").name == "Local warehouse"
    with pytest.raises(NotFound):
        sdk.warehouses.get("other")
    assert sdk.clusters.spark_versions().versions


def test_the_sdk_grants_permissions_on_a_job(workspace: RunningWorkspace) -> None:
    admin, bob = (
        WorkspaceClient(host=workspace.url, token=workspace.token(name)) for name in ("admin", "bob")
    )
    job_id = admin.jobs.create(name="granted").job_id
    assert job_id is not None and not list(bob.jobs.list(name="granted"))
    entry = iam.AccessControlRequest(user_name="bob", permission_level=iam.PermissionLevel.CAN_VIEW)
    admin.permissions.update("jobs", str(job_id), access_control_list=[entry])
    assert [job.job_id for job in bob.jobs.list(name="granted")] == [job_id]
    shown = admin.permissions.get("jobs", str(job_id))
    assert shown.object_id == f"/jobs/{job_id}" and len(shown.access_control_list or []) == 3


def test_only_an_admin_reads_the_call_counts_of_all_or_of_one(as_user: Any) -> None:
    as_user("alice").get("/api/2.0/sql/warehouses")
    counts = as_user("admin").get("/local/calls", principal="alice")
    assert counts == {"GET /api/2.0/sql/warehouses": 1}
    assert as_user("alice").get("/local/calls", 403)["error_code"] == "PERMISSION_DENIED"


def test_an_admin_reads_the_usage_of_all_or_of_one_and_begins_anew(as_user: Any) -> None:
    admin, alice = as_user("admin"), as_user("alice")
    sent = alice.client.post("/api/2.0/secrets/scopes/create", json={"scope": "s"})
    usage = admin.get("/local/usage", principal="alice")
    assert usage["calls"] == {
        "POST /api/2.0/secrets/scopes/create": {
            "calls": 1,
            "bytes_received": len(sent.request.content),
            "bytes_sent": len(sent.content),
        }
    }
    assert usage["statements"] == [] and usage["since"] > 1_600_000_000_000
    assert len(admin.get("/local/usage")["calls"]) == 2
    for method in ("GET", "DELETE"):
        assert alice.call(method, "/local/usage", 403)["error_code"] == "PERMISSION_DENIED"
    assert admin.client.delete("/local/usage").json() == {}
    assert admin.get("/local/usage", principal="alice")["calls"] == {}


def test_a_warehouse_that_runs_is_started_without_effect(admin: Any) -> None:
    assert admin.post("/api/2.0/sql/warehouses/local/start") == {}
    admin.post("/api/2.0/sql/warehouses/other/start", 404)
    admin.post("/api/2.0/sql/warehouses/local/stop", 501)
