"""Processes are watched, and ended with all that they started, also by the next demo."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import demo.processes
import psutil
import pytest
from demo.processes import DemoError, Processes, environment, free_port, tail, until

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.processes, "ORPHAN_SECONDS", 0.2)


def sleeper(processes: Processes, folder: Path) -> tuple[psutil.Process, psutil.Process]:
    """A process of ours, and the one that it has started."""
    child = processes.spawn(
        "sleeper", [sys.executable, "-c", PARENT], folder / "sleeper.log", environment(folder)
    )
    grandchild = until(
        lambda: child.log.read_text().strip(), "it has a child", processes, seconds=30, pause=0.05
    )
    return psutil.Process(child.process.pid), psutil.Process(int(grandchild))


def test_all_of_the_tree_is_known_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    both = sleeper(processes, tmp_path)
    assert set(processes.tree()) == set(both)
    processes.check()
    processes.end()
    assert not any(process.is_running() for process in both)
    assert processes.tree() == []


def test_what_a_killed_demo_left_is_ended_by_the_next(tmp_path: Path) -> None:
    left = Processes(tmp_path)
    both = sleeper(left, tmp_path)
    Processes(tmp_path).end_leftovers()
    left.end()  # reaps it, as init would
    assert not any(process.is_running() for process in both)
    Processes(tmp_path).end_leftovers()


def test_leftovers_are_never_mistaken(tmp_path: Path) -> None:
    """A process that has the id of one recorded, but is younger or older, is another one."""
    processes = Processes(tmp_path)
    both = sleeper(processes, tmp_path)
    record = tmp_path / "processes.json"
    record.write_text(record.read_text().replace('"created": ', '"created": 1'))
    Processes(tmp_path).end_leftovers()
    assert all(process.is_running() for process in both)
    processes.end()


def test_one_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    code = "import sys; print('out of luck'); sys.exit(3)"
    child = processes.spawn("unlucky", [sys.executable, "-c", code], tmp_path / "log", environment(tmp_path))
    with pytest.raises(DemoError, match=r"unlucky ended with 3(.|\n)*out of luck"):
        until(lambda: False, "never", processes, seconds=30, pause=0.05)
    assert "out of luck" in tail(child.log)
    processes.end()


@pytest.mark.parametrize(("code", "fails"), [("0", False), ("2", True)])
def test_one_that_is_to_end_may_end_well_only(tmp_path: Path, code: str, fails: bool) -> None:
    processes = Processes(tmp_path)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    child = processes.spawn("brief", command, tmp_path / "log", environment(tmp_path), ends=True)
    if fails:
        with pytest.raises(DemoError, match="brief ended with 2"):
            processes.finish(child)
    else:
        processes.finish(child)
    processes.end()


def test_until_gives_up(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(DemoError, match="in vain until it rains"):
        until(lambda: None, "it rains", Processes(tmp_path), seconds=0.2, pause=0.05)
    assert time.monotonic() - begun < 10


def test_the_environment_leaves_other_installations_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AIRFLOW__CORE__EXECUTOR", "DATABRICKS_HOST", "SPARK_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("NO_PROXY", "example.com")
    found = environment(tmp_path, AIRFLOW_HOME="ours")
    assert "theirs" not in found.values()
    assert found["AIRFLOW_HOME"] == "ours" and found["PATH"].startswith(f"{tmp_path}:")
    assert found["NO_PROXY"] == found["no_proxy"] == "example.com,127.0.0.1,localhost"


def test_free_ports_can_be_listened_on() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


@pytest.mark.parametrize("alone", [False, True])
def test_one_is_killed_with_its_tree_or_alone(tmp_path: Path, alone: bool) -> None:
    processes = Processes(tmp_path)
    parent, child = sleeper(processes, tmp_path)
    (found,) = processes.living
    processes.kill(found, alone=alone)
    assert not parent.is_running() and child.is_running() is alone
    processes.check()  # it was to end
    processes.kill_orphans()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    processes.end()
