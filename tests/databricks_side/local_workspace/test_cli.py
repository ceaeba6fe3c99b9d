"""The command line: helpful everywhere, and truthful when nothing runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from local_workspace.api.principals import issue_tokens
from local_workspace.api.service_principals import issue_service_principals
from local_workspace.cli import parser
from local_workspace.state import State
from local_workspace.testing import RunningWorkspace

COMMANDS = ("setup", "start", "stop", "status", "token", "service-principal")


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local_workspace.cli", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert f"local-workspace {command}" in capsys.readouterr().out


def test_the_commands_are_listed() -> None:
    shown = _run("--help").stdout
    assert all(command in shown for command in COMMANDS)
    assert _run().returncode == 2


def test_an_empty_folder_is_told_how_to_begin(tmp_path: Path) -> None:
    for command, code in (("status", 1), ("stop", 0), ("token", 1)):
        done = _run(command, "--state", str(tmp_path))
        assert done.returncode == code
        assert "local-workspace start" in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_tokens_are_printed_all_or_one(tmp_path: Path) -> None:
    tokens = issue_tokens(State(tmp_path), ["alice"])
    assert _run("token", "--state", str(tmp_path), "alice").stdout == f"{tokens['alice']}\n"
    everyone = _run("token", "--state", str(tmp_path)).stdout
    assert all(name in everyone and token in everyone for name, token in tokens.items())
    done = _run("token", "--state", str(tmp_path), "carol")
    assert done.returncode == 1 and "--principal carol" in done.stderr


def test_a_service_principal_is_printed_as_variables(tmp_path: Path) -> None:
    made = issue_service_principals(State(tmp_path), ["robot"])["robot"]
    assert _run("service-principal", "--state", str(tmp_path), "robot").stdout == (
        f"DATABRICKS_CLIENT_ID={made.client_id}\nDATABRICKS_CLIENT_SECRET={made.client_secret}\n"
    )
    done = _run("service-principal", "--state", str(tmp_path), "carol")
    assert done.returncode == 1 and "--service-principal carol" in done.stderr


def test_the_status_of_a_running_workspace(workspace: RunningWorkspace) -> None:
    done = _run("status", "--state", str(workspace.folder))
    assert done.returncode == 0, done.stdout
    assert workspace.url in done.stdout and done.stdout.count("runs, pid") == 4


def test_what_start_says(workspace: RunningWorkspace) -> None:
    said = (workspace.folder / "start.log").read_text()
    assert workspace.url in said and "DATABRICKS_TOKEN" in said and "Ctrl-C" in said
    assert workspace.token() not in said


def test_a_second_start_is_refused(workspace: RunningWorkspace) -> None:
    done = _run("start", "--state", str(workspace.folder))
    assert done.returncode == 1 and "already" in done.stderr and workspace.url in done.stderr
    assert _run("status", "--state", str(workspace.folder)).returncode == 0
