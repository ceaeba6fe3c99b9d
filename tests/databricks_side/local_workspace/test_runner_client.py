"""Where the runner's socket is, and what a client learns when nobody listens there."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from local_workspace.runner_client import (
    LONGEST_SOCKET_PATH,
    RunnerError,
    cancel_run,
    ping,
    socket_path,
    start_run,
)


def test_the_socket_is_in_the_state_folder(tmp_path: Path) -> None:
    short = Path("/tmp") / f"lw-test-{os.getpid()}"
    try:
        assert socket_path(short) == short / "server" / "runner.sock"
    finally:
        (short / "server").rmdir()
        short.rmdir()


def test_a_long_path_gets_a_short_link(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    path = socket_path(state)
    try:
        assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
        assert path.parent.resolve() == state.resolve() / "server"
        assert socket_path(state) == path
    finally:
        path.parent.unlink()


def test_a_link_of_somebody_else_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    link = socket_path(state).parent
    link.unlink()
    link.symlink_to(tmp_path)
    try:
        with pytest.raises(RunnerError, match="is not ours"):
            socket_path(state)
    finally:
        link.unlink()


def test_nobody_listens(tmp_path: Path) -> None:
    for call in (lambda: start_run(tmp_path, 1), lambda: cancel_run(tmp_path, 1), lambda: ping(tmp_path)):
        with pytest.raises(RunnerError, match="does not answer") as silence:
            call()
        assert not silence.value.reached


def test_a_runner_that_dies_before_it_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(tmp_path)))
        listener.listen()
        dying = threading.Thread(target=lambda: listener.accept()[0].close())
        dying.start()
        with pytest.raises(RunnerError) as silence:
            start_run(tmp_path, 1)
        dying.join()
    assert not silence.value.reached
