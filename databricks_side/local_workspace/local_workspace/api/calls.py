"""What each caller asked of the API since the start: an extension of this workspace, at `/local/calls` and
`/local/usage`."""

import threading
from dataclasses import asdict, dataclass

from local_workspace.state import now_ms


@dataclass(slots=True)
class Traffic:
    """How often something was called, and how many bytes of bodies went in and out."""

    calls: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

    def add(self, other: "Traffic") -> None:
        """What another tells, on top of it."""
        self.calls += other.calls
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent


class CallCounts:
    """Counts by method and path, where a path that holds an id counts under its pattern."""

    def __init__(self) -> None:
        self._traffic: dict[tuple[str, str], Traffic] = {}
        self._lock = threading.Lock()
        self.since = now_ms()

    def add(self, method: str, path: str, principal: str = "", received: int = 0, sent: int = 0) -> None:
        """One more call of a principal."""
        with self._lock:
            known = self._traffic.setdefault((principal, f"{method} {path}"), Traffic())
            known.add(Traffic(1, received, sent))

    def as_dict(self, principal: str | None = None) -> dict[str, int]:
        """The counts of one principal, or of all together, in the order of the calls' names."""
        return {call: traffic.calls for call, traffic in self._found(principal).items()}

    def usage(self, principal: str | None = None) -> dict[str, dict[str, int]]:
        """The same with the bytes."""
        return {call: asdict(traffic) for call, traffic in self._found(principal).items()}

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            self._traffic = {}
            self.since = now_ms()

    def _found(self, principal: str | None) -> dict[str, Traffic]:
        found: dict[str, Traffic] = {}
        with self._lock:
            for (caller, call), traffic in self._traffic.items():
                if principal in (None, caller):
                    found.setdefault(call, Traffic()).add(traffic)
        return dict(sorted(found.items()))
