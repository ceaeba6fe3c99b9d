"""The application: what is not there says so, what breaks says so, and the docs list what there is."""

import re
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from local_workspace.api.app import ROUTES, create_app
from local_workspace.api.call import Workspace
from local_workspace.api.principals import issue_tokens

DOCS = Path(__file__).parents[4] / "docs" / "local-workspace.md"
ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>\S+)` \|", re.MULTILINE)


def test_the_docs_list_exactly_the_calls_that_are_there(parts: Workspace) -> None:
    listed = {(row["method"], row["path"]) for row in ROW.finditer(DOCS.read_text("utf-8"))}
    there = {
        (route.method, f"/api/{'|'.join(route.versions)}/{route.path}" if route.versions else route.path)
        for route in ROUTES
    }
    assert listed == {(method, path.replace("|", ",")) for method, path in there}
    routes = [route for route in create_app(parts).routes if isinstance(route, APIRoute)]
    served = {(method, route.path_format) for route in routes for method in route.methods}
    expected = {(route.method, path) for route in ROUTES for path in route.paths()}
    assert served - expected == {
        ("GET", "/login"), ("POST", "/login"), ("GET", "/.well-known/databricks-config"),
        ("POST", "/oidc/v1/token"), ("GET", "/oidc/.well-known/oauth-authorization-server"),
    }  # fmt: skip


def test_what_is_not_there_is_named(admin: Any) -> None:
    for method, path in (
        ("GET", "/api/2.0/clusters/list"),
        ("POST", "/api/2.2/jobs/runs/submit"),
        ("PUT", "/x"),
    ):
        answer = admin.call(method, path, 501)
        assert answer["error_code"] == "NOT_IMPLEMENTED" and f"{method} {path}" in answer["message"]


def test_a_body_that_is_no_json_is_malformed(parts: Workspace) -> None:
    headers = {"Authorization": f"Bearer {issue_tokens(parts.state, [])['admin']}"}
    answer = TestClient(create_app(parts)).post("/api/2.2/jobs/create", content="{", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "MALFORMED_REQUEST")


def test_what_breaks_is_an_error_of_the_api_without_its_secrets(parts: Workspace, admin: Any) -> None:
    with parts.state.writing() as db:
        db.execute("DROP TABLE secret_scopes")
    answer = admin.get("/api/2.0/secrets/scopes/list", 500)
    assert answer["error_code"] == "INTERNAL_ERROR" and "OperationalError" in answer["message"]


def test_the_sdk_discovers_the_host_without_a_token(parts: Workspace) -> None:
    answer = TestClient(create_app(parts), "http://h:1").get("/.well-known/databricks-config")
    assert (answer.status_code, answer.json()) == (200, {"oidc_endpoint": "http://h:1/oidc"})
