"""The processes of a workspace: started, watched, started again when they die, ended together.

Each of them may be killed at any moment, this one included. What a killed supervisor leaves behind is
recorded in `server/workspace.json` by process id and time of creation; the next one keeps the engine and
the runs that live, and ends the rest before it starts its own.
"""

import fcntl
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from local_workspace.api.principals import issue_tokens
from local_workspace.api.service_principals import TOKEN_SECONDS, issue_service_principals
from local_workspace.certificates import Certificate, ensure_certificate
from local_workspace.engine import Engine, EngineError
from local_workspace.records import ProcessRecord, read_json, write_json
from local_workspace.runner_client import RunnerError, ping
from local_workspace.state import State

READY = "Workspace: "
START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.2
# A process that dies at once each time is not worth a busy loop; one that lived a while is replaced at once.
SHORT_LIFE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 15.0

Say = Callable[[str], None]


class WorkspaceError(Exception):
    """Raised when the workspace cannot be started or stopped; the message says what to do."""


def workspace_file(folder: Path) -> Path:
    """Where url, remote and processes of a workspace stand."""
    return folder / "server" / "workspace.json"


def recorded(folder: Path) -> dict[str, Any]:
    """What `workspace.json` says; empty before the first start."""
    value: dict[str, Any] | None = read_json(workspace_file(folder))
    return value or {}


def live_process(folder: Path, name: str) -> psutil.Process | None:
    """The recorded process of that name, if it lives."""
    entry = recorded(folder).get("processes", {}).get(name)
    return ProcessRecord(entry["pid"], entry["create_time"]).process() if entry else None


def end_process(process: psutil.Process | None, seconds: float = STOP_SECONDS) -> None:
    """Ask a process to end, and kill it when it does not."""
    if process is None:
        return
    try:
        process.terminate()
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(seconds)
    except psutil.NoSuchProcess:
        return


class Supervisor:
    """Runs one workspace from `start` to `stop`; `run` is both, with the watching in between."""

    def __init__(
        self,
        folder: Path,
        port: int,
        principals: list[str],
        processes: int,
        memory: str,
        say: Say,
        *,
        faults: bool = False,
        tls: bool = False,
        service_principals: list[str] | None = None,
        token_seconds: int = TOKEN_SECONDS,
    ) -> None:
        self._folder = folder
        self._port = port
        self._principals = principals
        self._processes = processes
        self._service_principals = service_principals or []
        self._options = ["--token-seconds", str(token_seconds)]
        self._options += ["--faults"] if faults else []
        self._options += ["--tls"] if tls else []
        self._tls = tls
        self._say = say
        self._engine = Engine(folder, driver_memory=memory)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._stop_signal: int | None = None
        self._listener: socket.socket | None = None
        self._lock = -1

    @property
    def url(self) -> str:
        """Where the workspace is."""
        if self._listener is None:
            raise WorkspaceError("The workspace is not started.")
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Start, watch until SIGTERM or SIGINT, stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            self.start()
            while self._stop_signal is None:
                self._watch()
                time.sleep(LOOK_SECONDS)
        finally:
            self.stop()

    def start(self) -> None:
        """Start what does not live, and return when all of it answers."""
        self._take_lock()
        self._listener = self._listen()
        state = State(self._folder)
        issue_tokens(state, self._principals)
        issue_service_principals(state, self._service_principals)
        if self._tls:
            ensure_certificate(self._folder)
        self._end_leftovers()
        self._say("Spark server: starting (10 to 20 s) ...")
        self._engine.start()
        self._say(f"Spark server: {self._engine.remote}")
        self._record()
        self._start_runner()
        self._start_api()
        self._await("runner", self._runner_answers)
        self._await("api", self._api_answers)
        self._say(f"{READY}{self.url}")

    def stop(self) -> None:
        """End the API, then the runs with their runner, then the engine."""
        for name in ("api", "runner"):
            child = self._children.pop(name, None)
            if child is not None and child.poll() is None:
                self._say(f"{name}: stopping ...")
                end_process(psutil.Process(child.pid))
                child.wait()
        if self._listener is not None:
            self._listener.close()
        if self._lock >= 0:
            self._engine.stop()
            os.close(self._lock)
            self._lock = -1
            self._say("stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number

    def _take_lock(self) -> None:
        """One supervisor for a state folder: the lock goes with its process, however it ends."""
        server = self._folder / "server"
        server.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(server / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            where = recorded(self._folder).get("url", "")
            raise WorkspaceError(
                f"A workspace runs on {self._folder} already: {where}\n"
                "`local-workspace status` shows it, `local-workspace stop` ends it."
            ) from error
        self._lock = lock

    def _listen(self) -> socket.socket:
        """The API's socket. It is held here, so that a call made while the API starts again waits for it."""
        last = recorded(self._folder).get("port", 0)
        end_process(live_process(self._folder, "api"))
        for port in dict.fromkeys((self._port or last, self._port)):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(512)
                return listener
            except OSError:
                listener.close()
        raise WorkspaceError(
            f"Port {self._port} of 127.0.0.1 is taken. Give another one with --port, or 0 for any."
        )

    def _end_leftovers(self) -> None:
        """End what an earlier supervisor left: its runner and API, and the runs whose engine is gone."""
        end_process(live_process(self._folder, "api"))
        runner = live_process(self._folder, "runner")
        if runner is not None:
            # Not asked but killed: asked, it would end the runs that live, and they are to go on.
            runner.kill()
            runner.wait(STOP_SECONDS)
        if self._engine.alive():
            return
        for path in (self._folder / "runs").glob("*/pid.json"):
            record = ProcessRecord.read(path)
            process = record.process() if record else None
            if process is not None:
                self._say(f"run {path.parent.name}: ended, its Spark server is gone")
                os.killpg(process.pid, signal.SIGKILL)

    def _record(self) -> None:
        processes = {"supervisor": ProcessRecord.of(os.getpid()).as_dict()}
        processes["engine"] = ProcessRecord.of(self._engine.pid).as_dict()
        for name, child in self._children.items():
            if child.poll() is None:
                processes[name] = ProcessRecord.of(child.pid).as_dict()
        port = int(self.url.rsplit(":", 1)[1])
        value = {"url": self.url, "port": port, "remote": self._engine.remote, "processes": processes}
        value["trusted"] = str(Certificate.of(self._folder).trusted) if self._tls else None
        write_json(workspace_file(self._folder), value, mode=0o600)

    def _spawn(self, name: str, arguments: list[str], descriptors: tuple[int, ...] = ()) -> None:
        path = self._folder / "server" / f"{name}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,  # a Ctrl-C in the terminal is this process's to handle
            )
        self._started[name] = time.monotonic()
        self._record()

    def _start_runner(self) -> None:
        state = ["--state", str(self._folder), "--remote", self._engine.remote]
        self._spawn("runner", ["local_workspace.runner", *state])

    def _start_api(self) -> None:
        assert self._listener is not None
        descriptor = self._listener.fileno()
        state = ["--state", str(self._folder), "--remote", self._engine.remote]
        more = ["--socket", str(descriptor), "--processes", str(self._processes)]
        self._spawn("api", ["local_workspace.api", *state, *more, *self._options], (descriptor,))

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            child = self._children[name]
            if child.poll() is not None or time.monotonic() > deadline:
                log = self._folder / "server" / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise WorkspaceError(f"The {name} process does not answer. The end of {log}:\n{tail}")
            if self._stop_signal is not None:
                raise WorkspaceError("Stopped before it was started.")
            time.sleep(0.05)

    def _runner_answers(self) -> bool:
        try:
            return ping(self._folder) == self._children["runner"].pid
        except RunnerError:
            return False

    def _api_answers(self) -> bool:
        """Whether the API answers at all: without a token it answers 401."""
        assert self._listener is not None
        try:
            with socket.create_connection(self._listener.getsockname(), timeout=2) as plain:
                connection = self._secured(plain)
                connection.sendall(b"GET /api/ HTTP/1.0\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.")
        except OSError:
            return False

    def _secured(self, plain: socket.socket) -> socket.socket:
        if not self._tls:
            return plain
        context = ssl.create_default_context(cafile=Certificate.of(self._folder).trusted)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def _watch(self) -> None:
        """Start again whatever has died; not faster than every few seconds when it dies at once each time."""
        if not self._engine.alive() and self._may_start("engine"):
            self._restart_engine()
        for name, start in (("runner", self._start_runner), ("api", self._start_api)):
            code = self._children[name].poll()
            if code is not None and self._may_start(name):
                self._say(f"{name}: ended with {code}, starting again ...")
                start()

    def _restart_engine(self) -> None:
        self._say("Spark server: died, starting again ...")
        self._started["engine"] = time.monotonic()
        try:
            self._engine.start()
        except EngineError as error:
            self._say(f"Spark server: {error}\nIt is tried again.")
            return
        self._record()
        self._say(f"Spark server: {self._engine.remote}")

    def _may_start(self, name: str) -> bool:
        life = time.monotonic() - self._started.get(name, 0.0)
        pause = self._pauses.get(name, 0.0)
        if life < pause:
            return False
        self._pauses[name] = (
            min(max(1.0, pause * 2), LONGEST_PAUSE_SECONDS) if life < SHORT_LIFE_SECONDS else 0.0
        )
        return True
