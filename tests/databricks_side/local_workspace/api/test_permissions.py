"""Who may see, run and manage a job."""

from collections.abc import Callable
from typing import Any

import pytest

from local_workspace.api.errors import InvalidParameter
from local_workspace.api.permissions import parse_grants

Job = dict[str, Any]
RUN_NOW = "/api/2.2/jobs/run-now"


def _grant(
    admin: Any, job_id: int, *entries: tuple[str, str], method: str = "PATCH", status: int = 200
) -> Any:
    acl = [{"user_name": name, "permission_level": level} for name, level in entries]
    return admin.call(method, f"/api/2.0/permissions/jobs/{job_id}", status, access_control_list=acl)


@pytest.fixture
def job_id(admin: Any, job: Job) -> int:
    """A job of the admin's."""
    return int(admin.post("/api/2.2/jobs/create", **job)["job_id"])


def test_a_job_without_a_grant_is_invisible(as_user: Callable[[str], Any], job_id: int) -> None:
    alice = as_user("alice")
    assert alice.get("/api/2.2/jobs/list") == {}
    assert alice.get("/api/2.2/jobs/get", 403, job_id=job_id)["error_code"] == "PERMISSION_DENIED"
    assert alice.get("/api/2.2/jobs/get", 403, job_id=12345)["error_code"] == "PERMISSION_DENIED"
    assert alice.post(RUN_NOW, 403, job_id=job_id)["error_code"] == "PERMISSION_DENIED"


def test_each_level_allows_what_its_name_says(as_user: Callable[[str], Any], admin: Any, job_id: int) -> None:
    alice = as_user("alice")
    _grant(admin, job_id, ("alice", "CAN_VIEW"))
    assert alice.get("/api/2.2/jobs/list")["jobs"][0]["job_id"] == job_id
    assert alice.post(RUN_NOW, 403, job_id=job_id)["error_code"] == "PERMISSION_DENIED"
    run_id = admin.post(RUN_NOW, job_id=job_id)["run_id"]
    assert alice.get("/api/2.2/jobs/runs/get", run_id=run_id)["run_id"] == run_id
    alice.post("/api/2.2/jobs/runs/cancel", 403, run_id=run_id)
    _grant(admin, job_id, ("alice", "CAN_MANAGE_RUN"))
    alice.post("/api/2.2/jobs/runs/cancel", run_id=run_id)
    alice.post(RUN_NOW, job_id=job_id)
    alice.post("/api/2.2/jobs/delete", 403, job_id=job_id)
    _grant(admin, job_id, ("alice", "CAN_MANAGE"))
    alice.post("/api/2.2/jobs/delete", job_id=job_id)


def test_runs_of_an_invisible_job_are_invisible(
    as_user: Callable[[str], Any], admin: Any, job_id: int
) -> None:
    run_id = admin.post(RUN_NOW, job_id=job_id)["run_id"]
    alice = as_user("alice")
    assert alice.get("/api/2.2/jobs/runs/list") == {"has_more": False}
    assert alice.get("/api/2.2/jobs/runs/get", 403, run_id=run_id)["error_code"] == "PERMISSION_DENIED"


def test_everyone_is_in_the_group_users(as_user: Callable[[str], Any], admin: Any, job_id: int) -> None:
    acl = [{"group_name": "users", "permission_level": "CAN_VIEW"}]
    admin.call("PATCH", f"/api/2.0/permissions/jobs/{job_id}", access_control_list=acl)
    assert as_user("bob").get("/api/2.2/jobs/get", job_id=job_id)["job_id"] == job_id


def test_put_replaces_and_patch_adds(admin: Any, job_id: int) -> None:
    _grant(admin, job_id, ("alice", "CAN_VIEW"))
    shown = _grant(admin, job_id, ("bob", "CAN_VIEW"))
    names = {entry.get("user_name") for entry in shown["access_control_list"]}
    assert names == {"admin", "alice", "bob", None}
    shown = _grant(admin, job_id, ("bob", "IS_OWNER"), method="PUT")
    assert [entry.get("user_name") for entry in shown["access_control_list"]] == ["bob", None]
    assert shown["access_control_list"][-1] == {
        "group_name": "admins",
        "all_permissions": [
            {"permission_level": "CAN_MANAGE", "inherited": True, "inherited_from_object": ["/jobs/"]}
        ],
    }


def test_a_job_has_exactly_one_owner(admin: Any, job_id: int) -> None:
    for entries in ((("bob", "CAN_VIEW"),), (("bob", "IS_OWNER"), ("alice", "IS_OWNER"))):
        answer = _grant(admin, job_id, *entries, method="PUT", status=400)
        assert answer["message"] == "The job must have exactly one owner."
    shown = _grant(admin, job_id, ("bob", "IS_OWNER"))
    assert [e["user_name"] for e in shown["access_control_list"] if "user_name" in e] == ["bob"]


def test_permissions_of_other_things_are_not_implemented(admin: Any) -> None:
    assert admin.get("/api/2.0/permissions/clusters/1", 501)["error_code"] == "NOT_IMPLEMENTED"


@pytest.mark.parametrize(
    "entry",
    [
        {"user_name": "a", "group_name": "b", "permission_level": "CAN_VIEW"},
        {"permission_level": "CAN_VIEW"},
        {"user_name": "a", "permission_level": "CAN_FLY"},
        {"user_name": 1, "permission_level": "CAN_VIEW"},
        "x",
    ],
)
def test_bad_entries_are_refused(entry: object) -> None:
    with pytest.raises(InvalidParameter):
        parse_grants([entry])
