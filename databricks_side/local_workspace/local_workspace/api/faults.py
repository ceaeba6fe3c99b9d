"""Faults on demand: calls that are answered late, wrongly or not at all, to test who makes them.

A fault says which calls it takes and what it does to them, before their effect or after it. It lives in the
API process until it is deleted, and is there only in a workspace that was started with faults allowed.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_workspace.api.arguments import Arguments
from local_workspace.api.errors import ApiError, DoesNotExist

PATH = "/api/local/faults"
STATEMENTS = "/api/2.0/sql/statements"
DEFAULT_STATUS = 500
ENDED_SECONDS = 20.0
DEFAULT_MESSAGE = "A fault of the local workspace."
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


class Kind(StrEnum):
    """What a fault does to a call."""

    DELAY = "delay"  # hold it, for some seconds or until the fault is deleted
    ERROR = "error"  # answer an HTTP error
    DROP = "drop"  # close its connection without an answer
    STATEMENT_FAILED = "statement_failed"  # answer that the statement has failed, with HTTP 200
    WAREHOUSE_STOPPED = "warehouse_stopped"  # accept the statement; it is PENDING until the warehouse is up


class When(StrEnum):
    """On which side of the call's effect a fault acts."""

    BEFORE = "before"
    AFTER = "after"


OF_STATEMENTS = (Kind.STATEMENT_FAILED, Kind.WAREHOUSE_STOPPED)


@dataclass(frozen=True, slots=True)
class Called:
    """One call, as faults tell it from others."""

    name: str
    principal: str
    texts: tuple[str, ...]

    @classmethod
    def of(cls, scope: Scope, body: bytes) -> "Called":
        """The call of a request."""
        try:
            arguments: Any = Arguments.parse(scope["query_string"], body).values
        except ApiError:
            arguments = body.decode(errors="replace")
        caller = scope.get("state", {}).get("caller")  # nobody yet where one asks for a token
        name = "" if caller is None else caller.name
        return cls(f"{scope['method']} {scope['path']}", name, tuple(_texts(arguments)))


def _texts(value: Any) -> Iterator[str]:
    """All texts and numbers in a call's arguments, as they were before they were written as JSON."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a fault is: the calls that it takes, and what it does to them. `times` 0: until it is deleted."""

    calls: tuple[str, ...]
    kind: Kind
    when: When = When.BEFORE
    contains: tuple[str, ...] = ()
    principal: str | None = None
    skip: int = 0
    times: int = 1
    seconds: float | None = None
    status: int = DEFAULT_STATUS
    retry_after: int | None = None
    error_code: str | None = None
    message: str = DEFAULT_MESSAGE

    def match(self, call: Called) -> bool:
        """Whether a call is one of those that are meant."""
        return (
            any(fnmatchcase(call.name, glob) for glob in self.calls)
            and self.principal in (None, call.principal)
            and all(any(part in text for text in call.texts) for part in self.contains)
        )

    @property
    def answers(self) -> bool:
        """Whether a call has its answer by this, or will never have one."""
        return self.kind not in (Kind.DELAY, Kind.WAREHOUSE_STOPPED)


@dataclass(slots=True)
class Fault:
    """A fault that is set, how often it hit, how many calls it holds, and how many that it hit go on."""

    fault_id: int
    terms: Terms
    seen: int = 0
    hits: int = 0
    held: int = 0
    under_way: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, call: Called) -> bool:
        """Whether the call is hit; it counts, so each call is to be asked about once."""
        terms = self.terms
        if not terms.match(call):
            return False
        self.seen += 1
        if self.seen <= terms.skip or (terms.times and self.hits >= terms.times):
            return False
        self.hits += 1
        return True

    async def hold(self) -> None:
        """Wait for as long as the fault says; who deletes it ends the wait."""
        self.held += 1
        try:
            async with asyncio.timeout(self.terms.seconds):
                await self.released.wait()
        except TimeoutError:
            pass
        finally:
            self.held -= 1

    async def ended(self) -> None:
        """Wait until the calls that it hit have ended; not for ever, as another fault may hold them."""
        deadline = asyncio.get_running_loop().time() + ENDED_SECONDS
        while self.under_way and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    def as_dict(self) -> dict[str, Any]:
        """The fault as the API tells it."""
        terms = self.terms
        return {
            "fault_id": self.fault_id,
            "calls": list(terms.calls),
            "kind": terms.kind,
            "when": terms.when,
            "contains": list(terms.contains),
            "principal": terms.principal,
            "skip": terms.skip,
            "times": terms.times,
            "seconds": terms.seconds,
            "hits": self.hits,
            "held": self.held,
        }


Cut = Callable[[tuple[str, int]], None]
"""Closes the connection of a client, by its address, without an answer."""


def cut_nothing(client: tuple[str, int]) -> None:
    """For an application without a server: there is no connection that could be closed."""
    raise ConnectionAbortedError(f"There is no connection of {client} to cut.")


class Faults:
    """The faults that are set. Used on the event loop only."""

    def __init__(self, allowed: bool = False) -> None:
        self.allowed = allowed
        self._faults: dict[int, Fault] = {}
        self._ids = count(1)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, terms: Terms) -> Fault:
        """Set a fault."""
        fault = Fault(next(self._ids), terms)
        self._faults[fault.fault_id] = fault
        return fault

    def all(self) -> list[Fault]:
        """The faults in the order in which they were set."""
        return list(self._faults.values())

    def find(self, fault_id: str) -> Fault:
        """One of them. Raises DoesNotExist."""
        fault = self._faults.get(int(fault_id)) if fault_id.isdecimal() else None
        if fault is None:
            raise DoesNotExist(
                f"The fault {fault_id} does not exist; it may have ended with the API process."
            )
        return fault

    def delete(self, fault: Fault) -> None:
        """Take a fault away; the calls that it holds go on."""
        del self._faults[fault.fault_id]
        fault.released.set()

    def take(self, call: Called) -> list[Fault]:
        """The faults that hit a call: all that act, in their order, up to the first that answers for it."""
        taken: list[Fault] = []
        for fault in self._faults.values():
            if fault.take(call):
                taken.append(fault)
                if fault.terms.answers:
                    break
        return taken


class FaultyCalls:
    """Between the gate and the routes: lets calls pass, or does to them what the faults say."""

    def __init__(self, app: ASGIApp, faults: Faults, cut: Cut) -> None:
        self._app = app
        self._faults = faults
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self._faults or scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            scope.setdefault("state", {})["counted_as"] = scope["path"]
            return
        taken = self._faults.take(Called.of(scope, body))
        for fault in taken:
            fault.under_way += 1
        try:
            await self._serve(taken, scope, _again(body, receive), send)
        finally:
            for fault in taken:
                fault.under_way -= 1

    async def _serve(self, taken: list[Fault], scope: Scope, receive: Receive, send: Send) -> None:
        for fault in (each for each in taken if each.terms.when is When.BEFORE):
            if await self._act(fault, scope, receive, send):
                return
        messages: list[Message] = []
        late = [each for each in taken if each.terms.when is When.AFTER]
        await self._app(scope, receive, _keep(messages) if late else send)
        for fault in late:
            if await self._act(fault, scope, receive, send):
                return
        for message in messages:
            await send(message)

    async def _act(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> bool:
        """Do what the fault says: whether the call has had its answer, or will never have one."""
        terms = fault.terms
        if terms.kind is Kind.DELAY:
            await fault.hold()
            return False
        if terms.kind is Kind.WAREHOUSE_STOPPED:
            scope["state"]["warehouse_stopped"] = fault
            return False
        scope.setdefault("state", {}).setdefault("counted_as", scope["path"])
        if terms.kind is Kind.DROP:
            self._cut(tuple(scope["client"]))
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await _answer(send, *(_failed(terms) if terms.kind is Kind.STATEMENT_FAILED else _error(terms)))
        return True


async def _read(receive: Receive) -> bytes | None:
    """The body; None where the caller hung up before the end of it: a half is not to be taken for a whole."""
    parts = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, and then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return first.pop() if first else await receive()

    return next_message


def _keep(messages: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        messages.append(message)

    return keep


def _error(terms: Terms) -> tuple[int, dict[str, Any], dict[str, str]]:
    code = terms.error_code or _CODES.get(terms.status, "UNKNOWN")
    headers = {} if terms.retry_after is None else {"retry-after": str(terms.retry_after)}
    return terms.status, {"error_code": code, "message": terms.message}, headers


def _failed(terms: Terms) -> tuple[int, dict[str, Any], dict[str, str]]:
    error = {"error_code": terms.error_code or "INTERNAL_ERROR", "message": terms.message}
    return 200, {"statement_id": str(uuid.uuid4()), "status": {"state": "FAILED", "error": error}}, {}


async def _answer(send: Send, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    content = json.dumps(body).encode()
    told = {"content-type": "application/json", "content-length": str(len(content)), **headers}
    start: Message = {"type": "http.response.start", "status": status}
    start["headers"] = [(name.encode(), value.encode()) for name, value in told.items()]
    await send(start)
    await send({"type": "http.response.body", "body": content})
