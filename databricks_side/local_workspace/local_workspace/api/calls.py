"""How often each call was made since the start: an extension of this workspace, at `/local/calls`."""

import threading
from collections import Counter


class CallCounts:
    """Counts by method and path, where a path that holds an id counts under its pattern."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, method: str, path: str) -> None:
        """One more call."""
        with self._lock:
            self._counts[f"{method} {path}"] += 1

    def as_dict(self) -> dict[str, int]:
        """All counts, in the order of their names."""
        with self._lock:
            return dict(sorted(self._counts.items()))
