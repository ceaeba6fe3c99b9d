"""How much memory the demo's processes take together, at their peak."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from demo.processes import Processes

PAUSE_SECONDS = 2.0
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


class MemorySampler:
    """Samples in a thread, from `start` to `stop`, this process and all that it started.

    `resident` counts a page once for each process that has it; `proportional` once in all, where Linux tells.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="memory", daemon=True)
        self.resident = 0
        self.proportional = 0

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End; the peaks stay."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def sample(self) -> None:
        """Look once."""
        everything = [psutil.Process(os.getpid()), *self._processes.tree()]
        resident = sum(_unless_ended(process, _resident) for process in everything)
        if resident > self.resident:  # the other one takes long to tell
            self.resident = resident
            proportional = sum(_unless_ended(process, _proportional) for process in everything)
            self.proportional = max(self.proportional, proportional)

    def __str__(self) -> str:
        text = f"{self.resident / 2**30:.1f} GiB resident"
        return (
            f"{text}, {self.proportional / 2**30:.1f} GiB with shared pages once"
            if self.proportional
            else text
        )

    def _loop(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            self.sample()


def _unless_ended(process: psutil.Process, size: Callable[[psutil.Process], int]) -> int:
    try:
        return size(process)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return 0


def _resident(process: psutil.Process) -> int:
    """What a process has in memory; a JVM that is about to start a program is there twice for a moment."""
    resident = int(process.memory_info().rss)
    parent = process.parent() if process.exe().endswith("/java") else None
    return 0 if parent is not None and parent.exe() == process.exe() else resident


def _proportional(process: psutil.Process) -> int:
    """The process's share of the pages that it has, in bytes; 0 where the system does not tell."""
    if not Path("/proc/self/smaps_rollup").exists():
        return 0
    found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 if found else 0
