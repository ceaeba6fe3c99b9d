"""The command, as a person calls it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from databricks_file_arrivals.cli import main

COMMANDS = (
    *(("deploy",), ("log",), ("explain",), ("replay",)),
    *(
        ("mapping", "check"),
        ("mapping", "plan"),
        ("mapping", "apply"),
        ("cursor", "export"),
        ("cursor", "import"),
    ),
)


def test_help_names_the_commands_and_needs_no_airflow() -> None:
    code = (
        "import sys; from databricks_file_arrivals.cli import main\n"
        "try: main(['--help'])\nfinally: assert 'airflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(command[0] in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_of_its_own(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert f"usage: file-arrivals {' '.join(command)} " in capsys.readouterr().out


def test_a_wrong_call_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mapping", "apply"])
    assert ended.value.code == 2 and "FILE" in capsys.readouterr().err


def test_an_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--log-table", "main.x.y.z"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("file-arrivals: 'main.x.y.z' does not name a table")
    assert said.out == ""
