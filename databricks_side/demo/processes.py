"""The processes that the demo starts: each with a log of its own, watched, and ended by its id."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
END_SECONDS = 40.0
ORPHAN_SECONDS = 3.0
_OTHERS = ("AIRFLOW", "DATABRICKS_", "SPARK_", "PYTHONPATH")


class DemoError(Exception):
    """Raised when the demo cannot go on; the message says why, and where to look."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started, and the file of what it prints. `ends`: it does its work and ends."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ends: bool


class Processes:
    """All processes of one state folder, and those that an earlier demo left there when it was killed."""

    def __init__(self, folder: Path) -> None:
        self._record = folder / "processes.json"
        self._children: list[Child] = []
        self._orphans: list[psutil.Process] = []

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        ends: bool = False,
    ) -> Child:
        """Start a process in a session of its own: a Ctrl-C in the terminal is the demo's to handle."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
        child = Child(name, process, log, ends)
        self._children.append(child)
        self._write_record()
        return child

    def finish(self, child: Child) -> None:
        """Wait until a process that does its work and ends has done so. Raises DemoError when it failed."""
        child.process.wait()
        self.check()

    @property
    def living(self) -> list[Child]:
        """Those that have not ended."""
        return [child for child in self._children if child.process.poll() is None]

    def kill(self, child: Child, *, alone: bool = False) -> None:
        """SIGKILL to a process and all that it started; with `alone` the others live on, and end with us."""
        root = psutil.Process(child.process.pid)
        started = root.children(recursive=True)
        root.kill()
        child.process.wait()
        self._children.remove(child)
        if alone:
            self._orphans += started
        else:
            _kill(started)
        self._write_record()

    def kill_orphans(self) -> None:
        """SIGKILL to what was left when something was killed alone."""
        _kill(self._orphans)
        self._orphans.clear()

    def check(self) -> None:
        """Raise DemoError when one of them has ended that should not, with the end of its log."""
        for child in self._children:
            code = child.process.poll()
            if code is not None and not (child.ends and code == 0):
                raise DemoError(f"{child.name} ended with {code}. {tail(child.log)}")

    def tree(self) -> list[psutil.Process]:
        """All processes that live, with those that they started."""
        return _trees([child.process.pid for child in self._children if child.process.poll() is None])

    def end(self) -> None:
        """End all of them, and whatever they started."""
        self.kill_orphans()
        _end([psutil.Process(child.process.pid) for child in self._children if child.process.poll() is None])
        for child in self._children:
            child.process.wait()
        self._children.clear()
        self._write_record()

    def end_leftovers(self) -> None:
        """End what a demo that was killed has left: found by process id and time of creation."""
        if not self._record.exists():
            return
        left = []
        for entry in json.loads(self._record.read_text()):
            try:
                process = psutil.Process(entry["pid"])
                if abs(process.create_time() - entry["created"]) < 1:
                    left.append(process)
            except psutil.NoSuchProcess:
                continue
        _end(left)
        self._record.unlink()

    def _write_record(self) -> None:
        living = []
        for child in self._children:
            if child.process.poll() is None:
                created = psutil.Process(child.process.pid).create_time()
                living.append({"pid": child.process.pid, "created": created})
        draft = self._record.with_suffix(".draft")
        draft.write_text(json.dumps(living))
        draft.replace(self._record)


def _trees(roots: Sequence[int]) -> list[psutil.Process]:
    found = []
    for pid in roots:
        try:
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # psutil never takes a newer process of the same id for it
            process.kill()
    _wait(processes, END_SECONDS)


def _end(roots: Sequence[psutil.Process]) -> None:
    """Ask them to end, and kill what is left of their trees: those they started end with them, or soon."""
    everything = _trees([root.pid for root in roots])
    for root in roots:
        root.terminate()
    _wait(roots, END_SECONDS)
    _kill(_wait(everything, ORPHAN_SECONDS))


def _wait(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they have ended: those that have not."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left:
        try:
            return psutil.wait_procs(left, timeout=max(0.0, deadline - time.monotonic()))[1]
        except FileNotFoundError:
            # ENOENT: what has the id by now is a thread. Older Linux says ESRCH, which psutil expects.
            time.sleep(0.05)
            left = [process for process in left if process.is_running()]
    return left


def until(
    condition: Callable[[], T | None], what: str, processes: Processes, *, seconds: float, pause: float = 0.3
) -> T:
    """What the condition gives, once it gives something. Raises DemoError: too late, or a process ended."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        processes.check()
        if time.monotonic() > deadline:
            raise DemoError(f"Waited {seconds:.0f} s in vain until {what}.")
        time.sleep(pause)


def tail(log: Path, lines: int = 25) -> str:
    """The end of a log, with its name."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, below those that systems give to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def environment(binaries: Path, **more: str) -> dict[str, str]:
    """The environment for a process: ours, without what is meant for other installations of these parts."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    path = f"{binaries}{os.pathsep}{ours.get('PATH', '')}"
    return {**ours, "PATH": path, "NO_PROXY": direct, "no_proxy": direct, **more}
