"""The engine that these tests share, sessions on it, and runs of their own runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql.connect.session import SparkSession

from local_workspace.engine import Engine, setup
from local_workspace.records import read_json, write_json
from local_workspace.runner_client import RunnerError, ping, start_run
from local_workspace.runtime import session


def eventually(answer: Callable[[], Any], seconds: float = 60, pause: float = 0.05) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := answer()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {answer}"
        time.sleep(pause)
    return value


@pytest.fixture(scope="session")
def engine(workspace_state: Path) -> Iterator[Engine]:
    """The one Spark server of the test session; the workspace's, when that is up already."""
    setup()
    shared = Engine(workspace_state)
    ours = not shared.alive()
    shared.start()
    yield shared
    if ours:
        shared.stop()


@pytest.fixture
def spark(engine: Engine) -> Iterator[SparkSession]:
    """A session of the test's own."""
    opened = session(engine.remote, engine.state)
    yield opened
    opened.stop()


@pytest.fixture
def schema(spark: SparkSession) -> Iterator[str]:
    """A new schema in the catalog `main`, with its three-level tables."""
    name = f"main.test_{uuid.uuid4().hex[:12]}"
    spark.sql(f"CREATE SCHEMA {name}")
    yield name


@dataclass
class Runs:
    """A runner process, and task runs given to it as the API gives them."""

    state: Path
    remote: str
    process: subprocess.Popen[bytes] | None = None
    ids: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    def serve(self) -> int:
        """Start the runner and return its process id when it answers."""
        command = [sys.executable, "-m", "local_workspace.runner"]
        command += ["--state", str(self.state), "--remote", self.remote]
        self.process = subprocess.Popen(command)
        return int(eventually(self._answers))

    def _answers(self) -> int:
        assert self.process is not None and self.process.poll() is None, "the runner has ended"
        try:
            return ping(self.state)
        except RunnerError:
            return 0

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=60)

    def folder(self, run: int) -> Path:
        return self.state / "runs" / str(run)

    def write(self, code: str, **spec: Any) -> int:
        """A run that is written down, and not started: its id."""
        run = next(self.ids)
        folder = self.folder(run)
        folder.mkdir(parents=True)
        file = folder / "job.py"
        file.write_text(code, encoding="utf-8")
        given = {
            **{"task_run_id": run, "run_id": run, "job_id": 1, "job_name": "job", "task_key": "task"},
            **{"kind": "spark_python_task", "file": str(file), "argv": [], "widgets": {}, "libraries": []},
            **{"session_id": str(uuid.uuid4()), "principal": "alice", "host": "http://127.0.0.1:9"},
            **{"token": "dapi-the-token-of-the-run", "env": {}},
        }
        write_json(folder / "spec.json", given | spec)
        return run

    def start(self, code: str, **spec: Any) -> int:
        run = self.write(code, **spec)
        start_run(self.state, run)
        return run

    def pid(self, run: int) -> int:
        return int(read_json(self.folder(run) / "pid.json")["pid"])

    def kill_run(self, run: int) -> None:
        os.kill(self.pid(run), signal.SIGKILL)

    def result(self, run: int, seconds: float = 300) -> dict[str, Any]:
        """How the run ended, once it has."""
        value: dict[str, Any] = eventually(lambda: read_json(self.folder(run) / "result.json"), seconds)
        return value

    def released(self, run: int) -> None:
        """Return when the run's session is released."""
        eventually((self.folder(run) / "released").exists)

    def log(self, run: int) -> str:
        return (self.folder(run) / "log.txt").read_text(encoding="utf-8")

    def finish(self, code: str, **spec: Any) -> int:
        """Run to the end, which has to be a good one."""
        run = self.start(code, **spec)
        result = self.result(run)
        assert result["exit_code"] == 0, json.dumps(result) + self.log(run)
        return run


@pytest.fixture(scope="module")
def runs(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A runner with a state folder of its own, so that a workspace's runner is not in its way."""
    served = Runs(tmp_path_factory.mktemp("runs"), engine.remote)
    served.serve()
    yield served
    served.stop()
