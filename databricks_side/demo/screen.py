"""What the demo says while it works: a line for each thing that happens, with the seconds since it began."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.table import Table


class Screen:
    """Lines and tables for the terminal."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """How long the demo has been going on."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """A line with the time."""
        self.plain(f"[{self.seconds:5.0f} s] {text}")

    def plain(self, text: str = "") -> None:
        """A line as it is."""
        self._console.print(text, markup=False)
        sys.stdout.flush()

    def table(self, table: Table) -> None:
        """A table."""
        self._console.print(table)
        sys.stdout.flush()


def shown(text: str) -> str:
    """A name on one line, whatever it holds."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
