"""OAuth of machines: a client id and a secret are exchanged for a token that ends (client credentials)."""

import base64
import binascii
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from local_workspace.api.service_principals import ServicePrincipal, ServicePrincipals

TOKEN_PATH = "/oidc/v1/token"
METADATA_PATH = "/oidc/.well-known/oauth-authorization-server"
DISCOVERY_PATH = "/.well-known/databricks-config"
SCOPE = "all-apis"
_LARGEST_FORM = 10_000


async def discovery(request: Request) -> Response:
    """What the SDK asks first of all: nothing is said but where tokens are to be had."""
    return JSONResponse({"oidc_endpoint": f"{_base(request)}/oidc"})


async def metadata(request: Request) -> Response:
    """What there is of OAuth."""
    base = _base(request)
    return JSONResponse(
        {
            "issuer": f"{base}/oidc",
            # The SDK reads it without using it. There is no authorization by a person here.
            "authorization_endpoint": f"{base}/oidc/v1/authorize",
            "token_endpoint": f"{base}{TOKEN_PATH}",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": [SCOPE],
        }
    )


def _base(request: Request) -> str:
    """This workspace, under the name by which the caller has found it."""
    return str(request.base_url).rstrip("/")


async def token(request: Request, clients: ServicePrincipals) -> Response:
    """A token for who logs in by HTTP basic or in the form; else an error in the manner of OAuth."""
    form = dict(parse_qsl((await request.body())[:_LARGEST_FORM].decode("latin-1"), keep_blank_values=True))
    if form.get("grant_type") != "client_credentials":
        return _refused(400, "unsupported_grant_type", "grant_type has to be client_credentials.")
    if SCOPE not in form.get("scope", SCOPE).split():
        return _refused(400, "invalid_scope", f"scope has to be {SCOPE}.")
    client = _client(request.headers.get("authorization", ""), form)
    name = None if client is None else await run_in_threadpool(clients.authenticate, client)
    if name is None:
        return _refused(401, "invalid_client", "Client authentication failed.")
    answer = {
        "access_token": await run_in_threadpool(clients.token, name),
        "token_type": "Bearer",
        "expires_in": clients.token_seconds,
        "scope": SCOPE,
    }
    return JSONResponse(answer, headers={"cache-control": "no-store"})


def _client(header: str, form: dict[str, str]) -> ServicePrincipal | None:
    """Who logs in, by whichever of the two ways."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ServicePrincipal(form.get("client_id", ""), form.get("client_secret", ""))
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    client_id, _, secret = text.partition(":")
    return ServicePrincipal(client_id, secret)


def _refused(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
