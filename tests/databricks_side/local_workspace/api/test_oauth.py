"""The token endpoint: who logs in gets a token that ends, anybody else an error in the manner of OAuth."""

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from local_workspace.api.app import create_app
from local_workspace.api.call import Workspace
from local_workspace.api.service_principals import ServicePrincipal, issue_service_principals

FORM = {"grant_type": "client_credentials", "scope": "all-apis"}


@pytest.fixture
def robot(parts: Workspace) -> ServicePrincipal:
    return issue_service_principals(parts.state, ["robot"])["robot"]


@pytest.fixture
def client(parts: Workspace) -> TestClient:
    return TestClient(create_app(parts), "https://localhost:8471")


def test_the_metadata_names_the_token_endpoint_as_the_caller_sees_it(client: TestClient) -> None:
    told = client.get("/oidc/.well-known/oauth-authorization-server").json()
    assert told["token_endpoint"] == "https://localhost:8471/oidc/v1/token"


@pytest.mark.parametrize("in_form", [True, False])
def test_a_token_is_given_for_basic_and_for_form(
    client: TestClient, robot: ServicePrincipal, in_form: bool
) -> None:
    named = {"client_id": robot.client_id, "client_secret": robot.client_secret} if in_form else {}
    auth: Any = None if in_form else (robot.client_id, robot.client_secret)
    given = client.post("/oidc/v1/token", data={**FORM, **named}, auth=auth)
    assert given.status_code == 200 and given.headers["cache-control"] == "no-store"
    answer = given.json()
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 3600, "all-apis")
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert client.get("/api/2.0/preview/scim/v2/Me", headers=headers).json()["userName"] == "robot"


@pytest.mark.parametrize(
    ("form", "header", "status", "error"),
    [
        (FORM, None, 401, "invalid_client"),
        (FORM, "Basic !", 401, "invalid_client"),
        (FORM, "Basic " + base64.b64encode(b"robot:x").decode(), 401, "invalid_client"),
        (FORM | {"client_id": "x", "client_secret": "y"}, None, 401, "invalid_client"),
        (FORM | {"grant_type": "password"}, None, 400, "unsupported_grant_type"),
        ({}, None, 400, "unsupported_grant_type"),
        (FORM | {"scope": "sql"}, None, 400, "invalid_scope"),
    ],
)
def test_anything_else_is_refused(
    client: TestClient, robot: ServicePrincipal, form: Any, header: str | None, status: int, error: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = client.post("/oidc/v1/token", data=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
