"""The demo's handle on its workspace, over one that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo.processes import Processes
from demo.workspace import ADMIN, PRINCIPAL, Workspace

from local_workspace.testing import RunningWorkspace


@pytest.fixture
def handle(workspace: RunningWorkspace, tmp_path: Path) -> Workspace:
    """A handle on the tests' workspace, with what the demo's own writes in its state folder."""
    made = Workspace(tmp_path, Processes(tmp_path), Path("/nowhere"))
    made.port, made.url = workspace.port, workspace.url
    tokens = {ADMIN: workspace.token(), PRINCIPAL: workspace.token(PRINCIPAL)}
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    return made


def test_it_is_ready_when_it_says_so(handle: Workspace, tmp_path: Path) -> None:
    assert not handle.is_ready()
    (tmp_path / "start.log").write_text(f"Spark server: up\nWorkspace: {handle.url}\n")
    assert handle.is_ready()


def test_tokens_are_there_when_both_are(handle: Workspace, tmp_path: Path) -> None:
    assert set(handle.tokens() or {}) == {ADMIN, PRINCIPAL}
    (tmp_path / "tokens.json").write_text(json.dumps({ADMIN: "x"}))
    assert handle.tokens() is None
    (tmp_path / "tokens.json").unlink()
    assert handle.tokens() is None


def test_statements_and_counts_come_through_the_sdk(handle: Workspace) -> None:
    assert handle.sql("SELECT :x AS x", {"x": "it's"}) == [{"x": "it's"}]
    before = handle.calls(ADMIN)
    handle.sql("SELECT 1")
    assert handle.calls(ADMIN) > before
    assert handle.connection()["password"] == (handle.tokens() or {})[PRINCIPAL]
