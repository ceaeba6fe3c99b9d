"""How the API asks the runner to start and to cancel a run: one line of JSON each way, over a Unix socket."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

LONGEST_SOCKET_PATH = 100  # of about 104 to 108 bytes that kernels allow


class RunnerError(RuntimeError):
    """Raised when the runner refuses a request or cannot be reached; `reached` tells which.

    A start that was not answered may have happened: ask again, it is started once.
    """

    def __init__(self, message: str, reached: bool) -> None:
        super().__init__(message)
        self.reached = reached


def socket_path(state: Path) -> Path:
    """Where the runner of this state folder listens; by a short link when the path is too long."""
    folder = Path(state).resolve() / "server"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runner.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    link = Path(tempfile.gettempdir()) / f"local-workspace-{os.getuid()}-{digest}"
    try:
        link.symlink_to(folder)
    except FileExistsError:
        if Path(os.readlink(link)) != folder or link.lstat().st_uid != os.getuid():
            raise RunnerError(
                f"{link} is not ours: remove it, or use a shorter state folder", False
            ) from None
    return link / path.name


def start_run(state: Path, task_run_id: int) -> int:
    """Start the run whose spec.json is written, and return its process id; a second call starts nothing."""
    return int(_ask(state, {"op": "start", "task_run_id": task_run_id})["pid"])


def cancel_run(state: Path, task_run_id: int) -> None:
    """End the run's processes: asked first, killed after five seconds. Returns at once; no run, no effect."""
    _ask(state, {"op": "cancel", "task_run_id": task_run_id})


def ping(state: Path) -> int:
    """The runner's process id; raises RunnerError when it does not answer."""
    return int(_ask(state, {"op": "ping"})["pid"])


def _ask(state: Path, request: dict[str, Any], timeout: float = 30) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(socket_path(state)))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except OSError as error:
            raise RunnerError(f"The runner of {state} does not answer: {error}", reached=False) from error
    if not line.endswith(b"\n"):
        raise RunnerError(f"The runner of {state} ended before it answered", reached=False)
    answer = json.loads(line)
    if not answer["ok"]:
        raise RunnerError(answer["error"], reached=True)
    return answer
