"""The calls that set faults: for the administrator, where they are allowed, and only what can be meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from local_workspace.api.app import create_app, open_workspace
from local_workspace.api.principals import issue_tokens
from local_workspace.state import State
from tests.databricks_side.local_workspace.api.conftest import HOST, NOWHERE, Caller

FAULTS = "/api/local/faults"
LIST = "GET /api/2.*/jobs/list"


@pytest.fixture
def faulty(tmp_path: Path) -> Callable[[str], Caller]:
    """A caller for each name, of a workspace that allows faults."""
    tokens = issue_tokens(State(tmp_path), ["alice"])
    app = create_app(open_workspace(tmp_path, HOST, NOWHERE, 2, faults_allowed=True))

    def caller(name: str) -> Caller:
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        return Caller(TestClient(app, HOST, headers=headers, raise_server_exceptions=False))

    return caller


def test_where_they_are_not_allowed_it_says_how_to_allow_them(admin: Any) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = admin.call(method, FAULTS, 404)
        assert "start --faults" in answer["message"] and "faults=True" in answer["message"]


def test_they_are_for_admins(as_user: Callable[[str], Any], faulty: Callable[[str], Caller]) -> None:
    for alice in (as_user("alice"), faulty("alice")):
        for method in ("GET", "POST", "DELETE"):
            assert alice.call(method, FAULTS, 403)["error_code"] == "PERMISSION_DENIED"


def test_a_fault_is_set_hits_is_told_and_taken_away(faulty: Callable[[str], Caller]) -> None:
    admin = faulty("admin")
    asked = {"kind": "error", "calls": LIST, "status": 429, "retry_after": 7, "skip": 1}
    fault_id = admin.client.post(FAULTS, json=asked).json()["fault_id"]
    assert admin.get("/api/2.2/jobs/list") == {}
    answer = admin.client.get("/api/2.1/jobs/list")
    assert answer.status_code == 429 and answer.headers["retry-after"] == "7"
    assert answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    assert admin.get("/api/2.2/jobs/list") == {}
    (told,) = admin.get(FAULTS)["faults"]
    assert told["fault_id"] == fault_id and (told["hits"], told["held"]) == (1, 0)
    assert admin.call("DELETE", f"{FAULTS}/{fault_id}")["hits"] == 1
    assert admin.get(FAULTS) == {"faults": []}
    admin.call("DELETE", f"{FAULTS}/{fault_id}", 404)
    counts = admin.get("/local/calls")
    assert counts["GET /api/2.1/jobs/list"] == 1 and counts["GET /api/2.2/jobs/list"] == 2


def test_an_error_after_the_effect_has_one(faulty: Callable[[str], Caller], job: dict[str, Any]) -> None:
    admin = faulty("admin")
    for when in ("before", "after"):
        admin.post(FAULTS, kind="error", calls="POST */jobs/create", when=when, message="on purpose")
        answer = admin.post("/api/2.2/jobs/create", 500, **job)
        assert answer == {"error_code": "INTERNAL_ERROR", "message": "on purpose"}
        assert len(admin.get("/api/2.2/jobs/list").get("jobs", [])) == (when == "after")
    assert len(admin.call("DELETE", FAULTS)["faults"]) == 2


def test_a_failed_statement_is_an_answer_with_200(faulty: Callable[[str], Caller]) -> None:
    admin = faulty("admin")
    admin.post(FAULTS, kind="statement_failed", contains="UPDATE", error_code="ABORTED", message="lost")
    update = "UPDATE t SET a = 1"
    answer = admin.post("/api/2.0/sql/statements", statement=update, warehouse_id="local")
    error = {"error_code": "ABORTED", "message": "lost"}
    assert answer["status"] == {"state": "FAILED", "error": error}


def test_faults_cannot_lock_themselves_in(faulty: Callable[[str], Caller]) -> None:
    admin = faulty("admin")
    admin.post(FAULTS, kind="error", calls="*", times=0)
    admin.get("/api/2.2/jobs/list", 500)
    admin.call("DELETE", FAULTS)
    admin.get("/api/2.2/jobs/list")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "flood"}, "has to be one of delay, error, drop"),
        ({"when": "during"}, "when has to be one of before, after"),
        ({"calls": []}, "calls has to name calls"),
        ({"calls": [1]}, "array of strings"),
        ({"times": -1}, "times has to be 0 or more"),
        ({"seconds": "ten"}, "seconds has to be a number"),
        ({"status": 200}, "between 400 and 599"),
        ({"kind": "warehouse_stopped", "when": "after"}, "no effect"),
        ({"nonsense": 1}, "Unknown argument 'nonsense'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    faulty: Callable[[str], Caller], wrong: dict[str, Any], message: str
) -> None:
    asked = {"kind": "error", "calls": LIST, **wrong}
    answer = faulty("admin").client.post(FAULTS, json=asked)
    assert answer.status_code == 400 and message in answer.json()["message"]
