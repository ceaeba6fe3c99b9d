"""How often each caller made each call since the start: an extension of this workspace, at `/local/calls`."""

import threading
from collections import Counter


class CallCounts:
    """Counts by method and path, where a path that holds an id counts under its pattern."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, method: str, path: str, principal: str = "") -> None:
        """One more call of a principal."""
        with self._lock:
            self._counts[principal, f"{method} {path}"] += 1

    def as_dict(self, principal: str | None = None) -> dict[str, int]:
        """The counts of one principal, or of all together, in the order of the calls' names."""
        found: Counter[str] = Counter()
        with self._lock:
            for (caller, call), count in self._counts.items():
                if principal in (None, caller):
                    found[call] += count
        return dict(sorted(found.items()))
