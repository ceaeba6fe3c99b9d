"""Tokens: kept, hashed, replaced when lost, revoked with their run."""

import json
import stat
from pathlib import Path

from local_workspace.api.principals import (
    ADMIN,
    Principals,
    issue_tokens,
    mint_token,
    read_tokens,
    revoke_run_tokens,
    tokens_file,
)
from local_workspace.state import State


def test_tokens_are_made_once_and_found_by_their_principal(tmp_path: Path) -> None:
    state = State(tmp_path)
    tokens = issue_tokens(state, ["alice"])
    assert issue_tokens(state, ["alice"]) == tokens == read_tokens(tmp_path)
    principals = Principals(state)
    found = {name: principals.authenticate(token) for name, token in tokens.items()}
    assert {name: (owner.name, owner.is_admin) for name, owner in found.items() if owner} == {
        ADMIN: (ADMIN, True),
        "alice": ("alice", False),
    }


def test_a_wrong_secret_of_a_right_token_opens_nothing(tmp_path: Path) -> None:
    state = State(tmp_path)
    token = issue_tokens(state, [])[ADMIN]
    principals = Principals(state)
    for wrong in (
        "",
        "dapi",
        token[:-1],
        token + "0",
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        "x" + token,
    ):
        assert principals.authenticate(wrong) is None, wrong


def test_the_state_file_holds_no_token(tmp_path: Path) -> None:
    state = State(tmp_path)
    token = issue_tokens(state, [])[ADMIN]
    state.reading.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert token[20:].encode() not in (tmp_path / "workspace.sqlite").read_bytes()
    assert stat.S_IMODE(tokens_file(tmp_path).stat().st_mode) == 0o600


def test_a_token_lost_with_its_file_is_replaced(tmp_path: Path) -> None:
    state = State(tmp_path)
    old = issue_tokens(state, ["alice"])
    tokens_file(tmp_path).write_text(json.dumps({ADMIN: old[ADMIN]}))
    new = issue_tokens(state, ["alice"])
    assert new[ADMIN] == old[ADMIN]
    principals = Principals(state)
    assert principals.authenticate(old["alice"]) is None
    assert principals.authenticate(new["alice"]) == principals.find("alice")


def test_tokens_survive_a_lost_state_file(tmp_path: Path) -> None:
    issue_tokens(State(tmp_path), ["alice"])
    for path in tmp_path.glob("workspace.sqlite*"):
        path.unlink()
    state = State(tmp_path)
    assert set(issue_tokens(state, [])) == {ADMIN, "alice"}


def test_a_runs_token_ends_with_the_run(tmp_path: Path) -> None:
    state = State(tmp_path)
    issue_tokens(state, ["alice"])
    with state.writing() as db:
        token = mint_token(db, "alice", task_run_id=7)
    principals = Principals(state)
    owner = principals.authenticate(token)
    assert owner is not None and owner.name == "alice"
    with state.writing() as db:
        revoke_run_tokens(db, 7)
    assert principals.authenticate(token) is None
