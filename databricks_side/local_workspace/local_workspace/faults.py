"""Sets faults in a local workspace that was started with faults allowed, for tests of what talks to it.

    with running_workspace(folder, faults=True) as workspace:
        lost = workspace.faults.add("drop", "POST /api/2.*/jobs/run-now", when="after")
        …                                      # the run is started, and who asked for it gets no answer
        workspace.faults.wait_until_hit(lost)

What each kind does stands in docs/local-workspace.md.
"""

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

PATH = "/api/local/faults"
_PAUSE_SECONDS = 0.02


class FaultError(Exception):
    """Raised when the workspace refuses a fault, or when one was not hit in time; the message says why."""


@dataclass(frozen=True, slots=True)
class FaultState:
    """A fault as it was when it was asked about: how often it hit, how many calls it holds."""

    fault_id: int
    kind: str
    calls: tuple[str, ...]
    hits: int
    held: int

    @classmethod
    def read(cls, answer: dict[str, Any]) -> "FaultState":
        """From an answer of the API."""
        return cls(answer["fault_id"], answer["kind"], tuple(answer["calls"]), answer["hits"], answer["held"])


class FaultClient:
    """The faults of one workspace, set with its administrator's token."""

    def __init__(self, url: str, token: str, trusted: Path | None = None) -> None:
        self._url = url
        self._token = token
        context = ssl.create_default_context(cafile=trusted) if trusted else None
        # Loopback goes past any proxy.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def add(self, kind: str, calls: str | Sequence[str] = (), **terms: Any) -> FaultState:
        """Set a fault. The terms are those of the REST call: when, contains, principal, skip, times, seconds,
        status, retry_after, error_code, message."""
        given = [calls] if isinstance(calls, str) else list(calls)
        return FaultState.read(self._call("POST", "", {"kind": kind, "calls": given, **terms}))

    @contextmanager
    def added(self, kind: str, calls: str | Sequence[str] = (), **terms: Any) -> Iterator[FaultState]:
        """A fault for the length of a block; what it holds goes on afterwards."""
        fault = self.add(kind, calls, **terms)
        try:
            yield fault
        finally:
            if any(each.fault_id == fault.fault_id for each in self.all()):
                self.delete(fault)

    def all(self) -> list[FaultState]:
        """The faults that are set."""
        return [FaultState.read(each) for each in self._call("GET", "")["faults"]]

    def find(self, fault: FaultState) -> FaultState:
        """The fault as it is now."""
        for each in self.all():
            if each.fault_id == fault.fault_id:
                return each
        raise FaultError(f"The fault {fault.fault_id} is not set any more.")

    def delete(self, fault: FaultState) -> FaultState:
        """Take a fault away, and return when what it held has ended, or after 20 s: the fault as it was."""
        return FaultState.read(self._call("DELETE", f"/{fault.fault_id}"))

    def clear(self) -> list[FaultState]:
        """Take all faults away in the same manner: the faults as they were."""
        return [FaultState.read(each) for each in self._call("DELETE", "")["faults"]]

    def wait_until_hit(self, fault: FaultState, times: int = 1, seconds: float = 60.0) -> FaultState:
        """Return once the fault has hit so often. Raises FaultError when it has not within `seconds`."""
        deadline = time.monotonic() + seconds
        while (now := self.find(fault)).hits < times:
            if time.monotonic() > deadline:
                raise FaultError(f"The fault {fault} was hit {now.hits} times within {seconds:.0f} s.")
            time.sleep(_PAUSE_SECONDS)
        return now

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = Request(
            f"{self._url}{PATH}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except HTTPError as error:
            raise FaultError(f"{error.code}: {error.read().decode(errors='replace')}") from error
