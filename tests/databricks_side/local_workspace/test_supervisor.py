"""The processes: each of them killed with -9, and nothing lost."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

from local_workspace.engine import setup
from local_workspace.supervisor import Supervisor, WorkspaceError, end_process, live_process, recorded
from local_workspace.testing import RunningWorkspace, running_workspace

SECONDS = 120.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder of its own: the session's workspace is not to be killed."""
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="class")
def running(folder: Path) -> Iterator[RunningWorkspace]:
    """A workspace on that folder, for the tests that leave its supervisor alive."""
    setup()
    with running_workspace(folder) as workspace:
        yield workspace


def _client(workspace: RunningWorkspace) -> WorkspaceClient:
    return WorkspaceClient(host=workspace.url, token=workspace.token())


def _kill(folder: Path, name: str) -> int:
    process = live_process(folder, name)
    assert process is not None, name
    os.kill(process.pid, signal.SIGKILL)
    return process.pid


def _until(what: str, true: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _again(folder: Path, name: str, old: int) -> None:
    """Wait until a new process of that name lives."""

    def other() -> bool:
        process = live_process(folder, name)
        return process is not None and process.pid != old

    _until(f"{name} started again", other)


def _job(client: WorkspaceClient, folder: Path, source: str) -> int:
    file = folder / f"job{time.monotonic_ns()}.py"
    file.write_text(source)
    task = jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(file)))
    job_id = client.jobs.create(name="kill", tasks=[task]).job_id
    assert job_id is not None
    return job_id


def _start(client: WorkspaceClient, job_id: int, token: str | None = None) -> int:
    run_id: int | None = client.jobs.run_now(job_id, idempotency_token=token).run_id
    assert run_id is not None
    return run_id


def _result(client: WorkspaceClient, run_id: int) -> str:
    def over() -> bool:
        state = client.jobs.get_run(run_id).state
        return state is not None and state.result_state is not None

    _until("the run's end", over)
    state = client.jobs.get_run(run_id).state
    assert state and state.result_state
    return state.result_state.value


def _has_begun(client: WorkspaceClient, run_id: int) -> None:
    _until("the run's first line", lambda: "begun" in (client.jobs.get_run_output(run_id).logs or ""))


LONG = (
    "import time\nprint('begun', flush=True)\ntime.sleep(4)\nprint(spark.sql('SELECT 7').collect()[0][0])\n"
)


def _is_run(process: psutil.Process, folder: Path, task_run_id: int | None) -> bool:
    try:
        return any(
            file.path == str(folder / "runs" / str(task_run_id) / "log.txt") for file in process.open_files()
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


class TestKilled:
    """Processes that the supervisor starts again."""

    def test_a_run_outlives_api_and_runner(self, running: RunningWorkspace, folder: Path) -> None:
        client = _client(running)
        job_id = _job(client, folder, LONG)
        run_id = _start(client, job_id, "token")
        _has_begun(client, run_id)
        for name in ("api", "runner"):
            _again(folder, name, _kill(folder, name))
        assert _start(client, job_id, "token") == run_id
        assert _result(client, run_id) == "SUCCESS"
        assert client.jobs.get_run_output(run_id).logs == "begun\n7\n"
        assert _result(client, _start(client, job_id)) == "SUCCESS"

    def test_a_run_that_is_killed_says_so(self, running: RunningWorkspace, folder: Path) -> None:
        client = _client(running)
        run_id = _start(client, _job(client, folder, LONG.replace("sleep(4)", "sleep(600)")))
        _has_begun(client, run_id)
        tasks = client.jobs.get_run(run_id).tasks
        assert tasks
        for process in psutil.process_iter():
            if _is_run(process, folder, tasks[0].run_id):
                process.kill()
        assert _result(client, run_id) == "FAILED"
        assert "ended" in (client.jobs.get_run_output(run_id).error or "")

    def test_the_engine_starts_again_and_has_its_tables(
        self, running: RunningWorkspace, folder: Path
    ) -> None:
        client = _client(running)
        execute = client.statement_execution.execute_statement
        execute("CREATE TABLE main.default.kept AS SELECT 1 AS a", "local", wait_timeout="50s")
        _again(folder, "engine", _kill(folder, "engine"))

        def rows() -> list[list[str]] | None:
            answer = execute("SELECT a FROM main.default.kept", "local", wait_timeout="50s")
            return answer.result.data_array if answer.result else None

        _until("the table", lambda: rows() == [["1"]])
        assert recorded(folder)["remote"] == running.remote
        assert _result(client, _start(client, _job(client, folder, LONG))) == "SUCCESS"


def test_the_next_supervisor_finds_what_a_killed_one_left_and_what_a_stopped_one_ended(folder: Path) -> None:
    with running_workspace(folder) as first:
        client = _client(first)
        job_id = _job(client, folder, LONG.replace("sleep(4)", "sleep(25)"))
        run_id = _start(client, job_id, "over")
        _has_begun(client, run_id)
        before = {name: entry["pid"] for name, entry in recorded(folder)["processes"].items()}
        _kill(folder, "supervisor")
        with running_workspace(folder) as second:
            after = {name: entry["pid"] for name, entry in recorded(folder)["processes"].items()}
            assert second.url == first.url and second.token() == first.token()
            assert after["engine"] == before["engine"]
            assert not {before["api"], before["runner"]} & {p.pid for p in psutil.process_iter()}
            assert _start(_client(second), job_id, "over") == run_id
            assert _result(_client(second), run_id) == "SUCCESS"
            client = _client(second)
            ended = _start(client, _job(client, folder, LONG.replace("sleep(4)", "sleep(600)")))
            _has_begun(client, ended)
        assert not any(live_process(folder, name) for name in ("supervisor", "engine", "runner", "api"))
    with running_workspace(folder) as third:
        assert _result(_client(third), ended) == "FAILED"
        assert _result(_client(third), run_id) == "SUCCESS"


def test_one_supervisor_for_a_folder(tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.mkdir()
    with (server / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WorkspaceError, match="already"):
            Supervisor(tmp_path, 0, [], 1, "1g", print).start()


def test_a_taken_port_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorkspaceError, match=f"Port {port}"):
            Supervisor(tmp_path, port, [], 1, "1g", print).start()


def test_a_process_that_is_gone_is_ended_already() -> None:
    end_process(None)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    end_process(psutil.Process(child.pid))
    assert child.poll() is not None
