"""Small facts in files of the state folder: written whole or not at all; processes never mistaken."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    """Replace the file by `value` in one step: a reader sees the old or the new, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The file's value, or None when there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that is never mistaken for a later one of the same id: its id and when it was created."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """The record of a process that runs now; raises psutil.NoSuchProcess when it does not."""
        return cls(pid, psutil.Process(pid).create_time())

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """The record in a JSON file that has `pid` and `create_time`, or None when there is no such file."""
        value = read_json(path)
        return None if value is None else cls(int(value["pid"]), float(value["create_time"]))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def process(self) -> psutil.Process | None:
        """The process if it still runs; a zombie has ended."""
        try:
            process = psutil.Process(self.pid)
            # computed from ticks since boot and the wall clock, which may be adjusted a little meanwhile
            same = abs(process.create_time() - self.create_time) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def alive(self) -> bool:
        return self.process() is not None
