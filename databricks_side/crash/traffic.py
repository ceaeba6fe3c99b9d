"""What lands: files at random in many directories, and which workflows have to be told of each.

Said by construction, as in the demo: a directory is below an area, and the area says who reads it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from demo.landing import land
from demo.scenario import LandingFile, MappingRow


@dataclass(frozen=True, slots=True)
class Area:
    """A directory of the mapping table, its workflows, and how many directories of files are below it."""

    directory: str
    workflows: tuple[str, ...]
    below: int


AREAS = (
    Area("orders", ("orders_load", "orders_audit"), 120),
    Area("orders/returns", ("returns_load",), 40),
    Area("invoices/Müller & Co.", ("invoices_load",), 80),
    Area("clicks/o'brien", ("clicks_load",), 80),
    Area("meters", ("meters_load",), 80),
)
WORKFLOWS = tuple(sorted({name for area in AREAS for name in area.workflows}))
LARGEST_BURST = 60
PAUSES = (0.3, 4.0)


def mapping() -> tuple[MappingRow, ...]:
    """The rows of the mapping table."""
    return tuple(MappingRow(area.directory, workflow) for area in AREAS for workflow in area.workflows)


class Traffic:
    """Lands files in a thread, until so many have landed."""

    def __init__(self, root: Path, arrivals: int, seconds: float, seed: int) -> None:
        self._root = root
        self._wanted = arrivals
        self._random = random.Random(f"traffic {seed}")
        # Bursts are as large as it takes to be done in time, with room for a busy machine.
        self._burst = max(1.0, arrivals / seconds * sum(PAUSES) / 2 * 1.2)
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="traffic", daemon=True)
        self.landed: dict[str, tuple[str, ...]] = {}
        """Each path that has landed, with the workflows that have to be told of it."""

    def start(self) -> None:
        """Begin to land."""
        self._thread.start()

    def finish(self) -> None:
        """Land all that is left at once."""
        self._hurry.set()
        self._thread.join()

    @property
    def done(self) -> bool:
        """Whether all has landed."""
        return len(self.landed) >= self._wanted

    def _loop(self) -> None:
        while not self.done:
            left = self._wanted - len(self.landed)
            largest = LARGEST_BURST * 4 if self._hurry.is_set() else round(self._burst * 2)
            count = min(left, self._random.randint(1, max(1, largest)))
            self.land(self.burst(count))
            self._hurry.wait(self._random.uniform(*PAUSES))
            if self._hurry.is_set():
                threading.Event().wait(0.2)

    def burst(self, count: int) -> list[tuple[LandingFile, Area]]:
        """So many new files, several of them in one directory."""
        files: list[tuple[LandingFile, Area]] = []
        while len(files) < count:
            area = self._random.choice(AREAS)
            folder = f"{area.directory}/d{self._random.randrange(area.below)}"
            for _ in range(self._random.randint(1, 6)):
                name = f"{len(self.landed) + len(files)}-{self._random.randrange(10**6)}.csv"
                files.append((LandingFile(f"{folder}/{name}", 0, b"a line\n"), area))
        return files[:count]

    def land(self, files: Iterable[tuple[LandingFile, Area]]) -> None:
        """Let files land, and remember them."""
        files = list(files)
        land(self._root, [file for file, _ in files])
        self.landed |= {str(self._root / file.path): area.workflows for file, area in files}
