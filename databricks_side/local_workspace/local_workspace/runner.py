"""The runner: a process that has imported the Connect client, and forks one process for each task run.

A fork costs half a second where a fresh interpreter costs three. That only works while this process has no
gRPC channel and no second thread: it imports, forks, waits, answers on a socket, nothing else. Sessions of
ended runs are released in forks of their own.

Runs survive this process: each writes its own pid.json and result.json; a new runner watches what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from local_workspace import run_process
from local_workspace.connect import release
from local_workspace.records import ProcessRecord, read_json
from local_workspace.runner_client import socket_path

GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.25  # how often runs of an earlier runner, and overdue cancellations, are looked at


class Runner:
    """Starts, cancels and outlives task runs; `serve` returns only on SIGTERM."""

    def __init__(self, state: Path, remote: str) -> None:
        self._state = state
        self._remote = remote
        self._runs = state / "runs"
        self._children: dict[int, int] = {}  # pid -> task_run_id, forked here
        self._adopted: dict[int, ProcessRecord] = {}  # task_run_id -> process, forked by an earlier runner
        self._releasing: dict[
            int, list[int]
        ] = {}  # pid of a fork -> the task runs whose sessions it releases
        self._to_release: list[int] = []  # task runs that have ended
        self._release_at = 0.0  # not before: after a failure there is a pause
        self._kill_at: dict[int, float] = {}  # process group -> when SIGTERM has had its time
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[socket.socket, bytes] = {}
        self._ending = False

    # -- serving

    def serve(self) -> None:
        """Answer requests until SIGTERM; then end all runs, release their sessions and return."""
        self._runs.mkdir(parents=True, exist_ok=True)
        self._wake_on_signals()
        self._adopt()
        listener = self._listen()
        while not self._ending:
            for key, _ in self._selector.select(LOOK_SECONDS):
                key.data(key.fileobj)
            self._look()
        self._selector.unregister(listener)
        listener.close()
        self._end_all()

    def _wake_on_signals(self) -> None:
        reading, writing = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self._wakeup = (reading, writing)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the byte in the socket is what counts
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what a Ctrl-C means
        self._selector.register(reading, selectors.EVENT_READ, self._drain)

    def _on_sigterm(self, *_: object) -> None:
        self._ending = True

    @staticmethod
    def _drain(wakeup: socket.socket) -> None:
        with suppress(BlockingIOError):
            while wakeup.recv(4096):
                pass

    def _listen(self) -> socket.socket:
        path = socket_path(self._state)
        path.unlink(missing_ok=True)  # of a runner that was killed; the supervisor runs one at a time
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen(64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._buffers[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ, self._receive)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up(connection)
            return
        *lines, self._buffers[connection] = (self._buffers[connection] + data).split(b"\n")
        for line in lines:
            answer = json.dumps(self._answer(line)).encode() + b"\n"
            try:
                connection.sendall(answer)
            except OSError:  # the client has gone; it asks again if it still wants to know
                self._hang_up(connection)
                return

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        connection.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        operations: dict[str, Callable[[Any], dict[str, Any]]] = {
            "start": lambda request: {"pid": self.start(int(request["task_run_id"]))},
            "cancel": lambda request: {"running": self.cancel(int(request["task_run_id"]))},
            "ping": lambda request: {"pid": os.getpid()},
        }
        try:
            request = json.loads(line)
            return {"ok": True, **operations[request["op"]](request)}
        except Exception as error:  # one bad request must not end the runner: the client is told
            traceback.print_exc()
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    # -- runs

    def _folder(self, task_run_id: int) -> Path:
        return self._runs / str(task_run_id)

    def _record(self, task_run_id: int) -> ProcessRecord | None:
        return ProcessRecord.read(self._folder(task_run_id) / "pid.json")

    def start(self, task_run_id: int) -> int:
        """Fork the run's process and return its id once it is written down; asked again, the same id."""
        folder = self._folder(task_run_id)
        if not (folder / "spec.json").exists():
            raise FileNotFoundError(f"Run {task_run_id} has no spec.json: {folder}")
        record = self._record(task_run_id)
        if record is None:
            self._fork_run(task_run_id, folder)
            record = self._record(task_run_id)
        if record is None:
            raise RuntimeError(
                f"The process of run {task_run_id} ended before it had begun; see {folder}/log.txt"
            )
        return record.pid

    def _fork_run(self, task_run_id: int, folder: Path) -> None:
        ready, begun = os.pipe()

        def body() -> int:
            os.close(ready)
            os.setsid()  # a group of its own: a cancel reaches what the run has started
            if not run_process.claim(folder):
                return 0
            run_process.redirect(folder / "log.txt")
            os.close(begun)
            return run_process.main(folder, self._state, self._remote)

        pid = self._fork(body)
        os.close(begun)
        os.read(ready, 1)  # returns when the child has closed its end: written down with a log, or dead
        os.close(ready)
        self._children[pid] = task_run_id

    def _fork(self, body: Callable[[], int]) -> int:
        """Run `body` in a child that has none of this process's sockets; returns the child's id."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._close_sockets()
            code = body()
        except BaseException:
            traceback.print_exc()
        finally:
            self._leave(code)

    @staticmethod
    def _leave(code: int) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not exit(): the parent's clean-up is not the child's to do

    def _close_sockets(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # only sockets are registered
        self._selector.close()
        self._wakeup[1].close()

    def cancel(self, task_run_id: int) -> bool:
        """Send SIGTERM to the run's process group, SIGKILL five seconds later; False when it does not run."""
        record = self._record(task_run_id)
        if record is None or not record.alive():
            return False
        with suppress(ProcessLookupError):
            os.killpg(record.pid, signal.SIGTERM)
        self._kill_at.setdefault(record.pid, time.monotonic() + GRACE_SECONDS)
        return True

    # -- what has ended

    def _adopt(self) -> None:
        """Take over what an earlier runner left: the live are watched, sessions of the dead released."""
        for path in self._runs.glob("*/pid.json"):
            folder = path.parent
            record = ProcessRecord.read(path)
            if record is None or (folder / "released").exists():
                continue
            if record.alive():
                self._adopted[int(folder.name)] = record
            else:
                self._to_release.append(int(folder.name))

    def _look(self) -> None:
        self._reap()
        for task_run_id, record in list(self._adopted.items()):
            if not record.alive():
                del self._adopted[task_run_id]
                self._kill_group(record.pid)
                self._to_release.append(task_run_id)
        for group, at in list(self._kill_at.items()):
            if time.monotonic() >= at:
                self._kill_group(group)
        if self._to_release and not self._releasing and time.monotonic() >= self._release_at:
            self._fork_release()

    def _reap(self) -> None:
        while self._children or self._releasing:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._children:
                # Still a zombie, so the group's id is not reused: what the run left behind ends with it.
                self._kill_group(pid)
                self._note_end(self._children.pop(pid), ended)
            _, status = os.waitpid(pid, 0)
            batch = self._releasing.pop(pid, [])
            if batch and status and not self._ending:
                print(f"releasing sessions failed ({status:#x}); again soon", file=sys.stderr, flush=True)
                self._to_release += batch
                self._release_at = time.monotonic() + GRACE_SECONDS

    def _note_end(self, task_run_id: int, ended: os.waitid_result) -> None:
        """A run that could not write its own result (os._exit, a signal) gets one that says how it ended."""
        folder = self._folder(task_run_id)
        record = self._record(task_run_id)
        if record is None or record.pid != ended.si_pid:
            return  # it died before it had begun, or another runner's process is the run
        self._to_release.append(task_run_id)
        if (folder / "result.json").exists():
            return
        if ended.si_code == os.CLD_EXITED:
            code, how = ended.si_status, f"ended with exit code {ended.si_status}"
        else:
            code, how = -ended.si_status, f"was ended by {signal.Signals(ended.si_status).name}"
        run_process.Result(code, error=f"The run's process {how}.").write(folder)

    def _kill_group(self, group: int) -> None:
        self._kill_at.pop(group, None)
        with suppress(ProcessLookupError, PermissionError):  # an empty group, or (macOS) only zombies in it
            os.killpg(group, signal.SIGKILL)

    def _fork_release(self) -> None:
        """One fork releases the sessions of all runs that have ended by now; what fails is tried again."""
        batch, self._to_release = self._to_release, []
        self._releasing[self._fork(lambda: self._release(batch))] = batch

    def _release(self, batch: list[int]) -> int:
        for task_run_id in batch:
            folder = self._folder(task_run_id)
            release(self._remote, read_json(folder / "spec.json")["session_id"])
            (folder / "released").touch()  # also when the server is gone: its sessions went with it
        return 0

    # -- the end

    def _end_all(self) -> None:
        for task_run_id in [*self._children.values(), *self._adopted]:
            self.cancel(task_run_id)
        while self._children or self._adopted or self._releasing or self._to_release:
            self._look()
            time.sleep(0.02)


def _import_client() -> None:
    """Import, in the parent, what each run would import: that is the half second instead of three."""
    for module in ("dataframe", "functions", "session", "streaming.readwriter"):
        import_module(f"pyspark.sql.connect.{module}")
    for module in ("grpc", "pandas", "pyarrow"):
        import_module(module)


def main() -> None:
    """Serve one state folder until SIGTERM."""
    parser = argparse.ArgumentParser(description=Runner.__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the workspace's state folder")
    parser.add_argument("--remote", required=True, help="the engine's address, sc://127.0.0.1:PORT")
    arguments = parser.parse_args()
    _import_client()
    Runner(arguments.state.resolve(), arguments.remote).serve()


if __name__ == "__main__":
    main()
