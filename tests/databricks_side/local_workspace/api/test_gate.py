"""The gate: nothing is served to whom the workspace does not know."""

from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from local_workspace.api.app import ROUTES, create_app
from local_workspace.api.call import Workspace

OPEN = {
    *("/login", "/.well-known/databricks-config"),
    *("/oidc/v1/token", "/oidc/.well-known/oauth-authorization-server"),
}


def test_every_route_but_the_logins_and_the_discovery_asks_who_calls(parts: Workspace) -> None:
    app = create_app(parts)
    client = TestClient(app, follow_redirects=False)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    paths = {(method, route.path) for route in routes for method in route.methods}
    assert len(paths) > 60
    for method, path in paths:
        if path in OPEN:
            continue
        response = client.request(method, path.replace("{", "").replace("}", ""))
        assert response.status_code in (401, 303), (method, path)


def test_an_unknown_path_is_no_way_around(parts: Workspace) -> None:
    client = TestClient(create_app(parts), follow_redirects=False)
    for path in ("/nonsense", "/api/9.9/x", "//api/2.2/jobs/list", "/login/../api/2.2/jobs/list", "/jobs/1"):
        assert client.get(path).status_code in (401, 303), path


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer \xff", "bearer dapi"]
)
def test_a_header_that_is_no_token_is_refused(parts: Workspace, value: str) -> None:
    response = TestClient(create_app(parts)).get(
        "/api/2.2/jobs/list", headers={b"Authorization": value.encode("latin-1")}
    )
    assert response.status_code == 401
    assert response.json()["error_code"] == "UNAUTHENTICATED"


def test_a_page_leads_to_the_login_and_back(parts: Workspace) -> None:
    response = TestClient(create_app(parts), follow_redirects=False).get("/jobs/1")
    assert (response.status_code, response.headers["location"]) == (303, "/login?next=/jobs/1")


def test_calls_are_counted_under_their_pattern(as_user: Any, parts: Workspace) -> None:
    as_user("alice").get("/api/2.0/sql/warehouses/local")
    as_user("alice").get("/api/2.0/nonsense", 501)
    counts = parts.counts.as_dict("alice")
    assert counts == {"GET (not implemented)": 1, "GET /api/2.0/sql/warehouses/{id}": 1}
    assert ROUTES


def test_a_call_that_breaks_is_counted_too(as_user: Any, parts: Workspace) -> None:
    with parts.state.writing() as db:
        db.execute("DROP TABLE secret_scopes")
    as_user("alice").get("/api/2.0/secrets/scopes/list", 500)
    assert parts.counts.as_dict("alice") == {"GET /api/2.0/secrets/scopes/list": 1}
