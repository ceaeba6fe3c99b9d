"""The gate that every request passes: nothing is served to whom the workspace does not know."""

import asyncio
import json
from collections.abc import Iterable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_workspace.api.calls import CallCounts
from local_workspace.api.errors import ApiError, Unauthenticated
from local_workspace.api.logins import Logins
from local_workspace.api.oauth import DISCOVERY_PATH, METADATA_PATH, TOKEN_PATH
from local_workspace.api.principals import Principal, Principals

LOGIN_PATH = "/login"
_OPEN = (LOGIN_PATH, DISCOVERY_PATH, METADATA_PATH, TOKEN_PATH)


class Gate:
    """Authenticates by bearer token, or, for the pages, by the cookie of a login; counts calls."""

    def __init__(self, app: ASGIApp, principals: Principals, logins: Logins, counts: CallCounts) -> None:
        self._app = app
        self._principals = principals
        self._logins = logins
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it may, answer it if not."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in _OPEN):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"The workspace serves HTTP only, not {scope['type']}.")
        is_page = scope["path"] == "/" or scope["path"].startswith("/jobs/")
        caller = self._caller(scope["headers"], is_page)
        if caller is None:
            await self._refuse(scope, send, is_page)
            return
        scope.setdefault("state", {})["caller"] = caller
        meter = _Meter(receive, send)
        try:
            await self._app(scope, meter.receive, meter.send)
        finally:
            route = scope.get("route")
            path = getattr(route, "path_format", scope["state"].get("counted_as", "(not implemented)"))
            sent = 0 if scope["method"] == "HEAD" else meter.sent
            self._counts.add(scope["method"], path, caller.name, meter.received, sent)

    def _caller(self, headers: Iterable[tuple[bytes, bytes]], is_page: bool) -> Principal | None:
        values = {
            name: value.decode("latin-1") for name, value in headers if name in (b"authorization", b"cookie")
        }
        scheme, _, token = values.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._principals.authenticate(token.strip())
        # A cookie opens pages only, and pages only read: no other site can make a browser change anything.
        return self._logins.find(values.get(b"cookie", "")) if is_page else None

    async def _refuse(self, scope: Scope, send: Send, is_page: bool) -> None:
        if is_page and scope["method"] == "GET":
            target = f"{LOGIN_PATH}?next={quote(scope['path'])}".encode()
            await _answer(send, 303, b"", [(b"location", target)])
            return
        error: ApiError = Unauthenticated(
            "Credential was not sent, has expired, or is not a valid access token of this workspace."
        )
        await _answer(
            send, error.status, json.dumps(error.body()).encode(), [(b"content-type", b"application/json")]
        )


class _Meter:
    """Counts the bytes of the bodies that pass."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.received = 0
        self.sent = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        self.sent += len(message.get("body", b""))
        await self._send(message)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    start: Message = {"type": "http.response.start", "status": status}
    start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
    await send(start)
    await send({"type": "http.response.body", "body": body})
    await asyncio.sleep(0)
