"""Faults as real clients meet them, over real connections: held, dropped, late, and let go."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests
from databricks.sdk import WorkspaceClient

from local_workspace.api.principals import issue_tokens
from local_workspace.faults import FaultClient, FaultError
from local_workspace.state import State
from local_workspace.testing import RunningWorkspace
from tests.databricks_side.local_workspace.conftest import eventually

CREATE = "POST /api/2.*/jobs/create"
LIST = "GET /api/2.*/jobs/list"
JOB = {"name": "j", "tasks": [{"task_key": "t", "spark_python_task": {"python_file": "/no/such/file.py"}}]}


@dataclass(frozen=True)
class Api:
    """An API process of its own, without engine and runner, and its faults."""

    url: str
    token: str
    faults: FaultClient

    def create(self, timeout: float | None = None) -> int:
        """Make a job: the status of the answer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.post(f"{self.url}/api/2.2/jobs/create", json=JOB, headers=headers, timeout=timeout)
        return answer.status_code

    def jobs(self) -> int:
        """How many there are."""
        headers = {"Authorization": f"Bearer {self.token}"}
        found = requests.get(f"{self.url}/api/2.2/jobs/list?limit=100", headers=headers, timeout=30).json()
        return len(found.get("jobs", []))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API process with faults allowed."""
    folder = tmp_path_factory.mktemp("api")
    token = issue_tokens(State(folder), ["alice"])["admin"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        command = [sys.executable, "-m", "local_workspace.api", "--state", str(folder), "--faults"]
        command += ["--socket", str(listener.fileno()), "--remote", "sc://127.0.0.1:1", "--processes", "1"]
        served = subprocess.Popen(command, pass_fds=[listener.fileno()])
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield Api(url, token, FaultClient(url, token))
    served.terminate()
    served.wait(30)


@pytest.fixture
def api(process: Api) -> Iterator[Api]:
    """The same, without any fault left by another test."""
    process.faults.clear()
    yield process
    process.faults.clear()


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_dropped_answer_is_a_closed_connection(api: Api, when: str, made: int) -> None:
    fault = api.faults.add("drop", CREATE, when=when)
    before = api.jobs()
    with pytest.raises(requests.ConnectionError):
        api.create()
    assert api.jobs() - before == made
    assert api.faults.find(fault).hits == 1
    assert api.create() == 200, "one time is one time"


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_held_call_goes_on_when_the_fault_is_taken_away(api: Api, when: str, made: int) -> None:
    fault = api.faults.add("delay", CREATE, when=when)
    before = api.jobs()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(api.create)
        api.faults.wait_until_hit(fault)
        eventually(lambda: api.faults.find(fault).held == 1, 10)
        eventually(lambda: api.jobs() - before == made, 10)
        time.sleep(0.05)
        assert not held.done()
        assert api.faults.delete(fault).held == 1
        assert held.result(10) == 200
    assert api.jobs() - before == 1


def test_the_effect_comes_late_when_who_asked_for_it_is_gone(api: Api) -> None:
    fault = api.faults.add("delay", CREATE)
    before = api.jobs()
    with pytest.raises(requests.Timeout):
        api.create(timeout=0.2)
    assert api.jobs() == before
    api.faults.delete(fault)
    eventually(lambda: api.jobs() == before + 1, 10)


def test_a_delay_for_every_call_holds_no_thread(api: Api) -> None:
    """More calls at once than the server has threads, each held for as long: together as long as one."""
    api.faults.add("delay", LIST, seconds=0.5, times=0)
    begun = time.monotonic()
    with ThreadPoolExecutor(60) as pool:
        list(pool.map(lambda _: api.jobs(), range(60)))
    assert 0.5 <= time.monotonic() - begun < 5


def test_the_sdk_waits_as_long_as_retry_after_says_and_tries_again(api: Api) -> None:
    api.faults.add("error", LIST, status=429, retry_after=1)
    begun = time.monotonic()
    list(WorkspaceClient(host=api.url, token=api.token).jobs.list())
    assert time.monotonic() - begun >= 1


def test_a_fault_for_the_length_of_a_block(api: Api) -> None:
    with api.faults.added("error", CREATE, times=0) as fault:
        assert api.create() == 500
        assert [each.fault_id for each in api.faults.all()] == [fault.fault_id]
    assert api.create() == 200
    with pytest.raises(FaultError, match="not set any more"):
        api.faults.find(fault)
    with api.faults.added("error", CREATE) as fault:
        api.faults.delete(fault)


def test_one_that_is_not_hit_in_time_says_so(api: Api) -> None:
    with pytest.raises(FaultError, match="was hit 0 times"):
        api.faults.wait_until_hit(api.faults.add("drop", CREATE), seconds=0.1)


def test_what_the_workspace_refuses_is_told(api: Api) -> None:
    with pytest.raises(FaultError, match=r"400: .*one of delay, error"):
        api.faults.add("flood", CREATE)


def test_a_statement_waits_for_a_stopped_warehouse(workspace: RunningWorkspace) -> None:
    client = WorkspaceClient(host=workspace.url, token=workspace.token())
    with workspace.faults.added("warehouse_stopped", contains="'cold start'") as fault:
        asked = client.statement_execution.execute_statement(
            "SELECT 'cold start'", workspace.warehouse_id, wait_timeout="5s"
        )
        assert asked.status and asked.status.state and asked.status.state.value == "PENDING"
        assert workspace.faults.find(fault).held == 1

    def state() -> str:
        found = client.statement_execution.get_statement(str(asked.statement_id))
        return str(found.status and found.status.state and found.status.state.value)

    eventually(lambda: state() == "SUCCEEDED")
