"""The workspace for tests."""

import stat
from pathlib import Path

import pytest

from local_workspace.testing import RunningWorkspace, StartError, running_workspace


def test_it_says_where_it_is_and_how_to_get_in(workspace: RunningWorkspace) -> None:
    assert workspace.url == f"http://127.0.0.1:{workspace.port}"
    assert workspace.token("alice") != workspace.token() and workspace.warehouse_id == "local"
    assert workspace.remote.startswith("sc://127.0.0.1:")


def test_its_files_are_its_owners_only(workspace: RunningWorkspace) -> None:
    for name in ("workspace.sqlite", "tokens.json", "server/workspace.json", "server/api.log"):
        assert stat.S_IMODE((workspace.folder / name).stat().st_mode) & 0o077 == 0, name


def test_no_token_stands_in_a_log(workspace: RunningWorkspace) -> None:
    logs = [*(workspace.folder / "server").glob("*.log"), *(workspace.folder / "server").glob("*.out")]
    assert logs
    for log in logs:
        assert workspace.token().encode() not in log.read_bytes(), log


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match="unrecognized arguments"),
        running_workspace(tmp_path, options=["--nonsense"]),
    ):
        pass
