"""Who may call: principals and their access tokens, kept as hashes."""

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_workspace.state import State, now_ms

ADMIN = "admin"
_PREFIX = "dapi"
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of the workspace. An administrator may do everything, as on Databricks."""

    name: str
    id: int
    is_admin: bool


def hash_of(secret: str) -> bytes:
    """What is stored of a secret."""
    # The secret is 128 random bits: a slow hash would protect nothing that a fast one does not.
    return hashlib.sha256(secret.encode()).digest()


class Principals:
    """The principals of a state folder and the tokens that stand for them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def find(self, name: str) -> Principal | None:
        """The principal of that name, if there is one."""
        row = self._state.reading.execute("SELECT * FROM principals WHERE name = ?", (name,)).fetchone()
        return None if row is None else Principal(row["name"], row["id"], bool(row["is_admin"]))

    def add(self, name: str, is_admin: bool = False) -> None:
        """Make the principal if it is not there."""
        with self._state.writing() as db:
            db.execute(
                "INSERT INTO principals (name, id, is_admin) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                (name, secrets.randbelow(10**15) + 10**15, int(is_admin)),
            )

    def authenticate(self, token: str) -> Principal | None:
        """The principal that the token stands for, or None; in the same time for any wrong secret."""
        token_id, secret = token[len(_PREFIX) :][:_ID_LENGTH], token[len(_PREFIX) + _ID_LENGTH :]
        row = self._state.reading.execute(
            "SELECT t.secret_hash, p.* FROM tokens t JOIN principals p ON p.name = t.principal"
            " WHERE t.token_id = ? AND (t.expires_at IS NULL OR t.expires_at > ?)",
            (token_id, now_ms()),
        ).fetchone()
        expected = b"\0" * 32 if row is None else row["secret_hash"]
        matches = hmac.compare_digest(expected, hash_of(secret)) and token.startswith(_PREFIX)
        return Principal(row["name"], row["id"], bool(row["is_admin"])) if matches and row else None


def mint_token(
    db: sqlite3.Connection, principal: str, task_run_id: int | None = None, expires_at: int | None = None
) -> str:
    """A new token, for ever, as long as the task run lives, or until a time; only its hash is stored."""
    token_id, secret = secrets.token_hex(_ID_LENGTH // 2), secrets.token_hex(16)
    db.execute(
        "INSERT INTO tokens (token_id, secret_hash, principal, task_run_id, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (token_id, hash_of(secret), principal, task_run_id, now_ms(), expires_at),
    )
    return f"{_PREFIX}{token_id}{secret}"


def revoke_run_tokens(db: sqlite3.Connection, task_run_id: int) -> None:
    """The task run has ended: what it was given opens nothing any more."""
    db.execute("DELETE FROM tokens WHERE task_run_id = ?", (task_run_id,))


def tokens_file(folder: Path) -> Path:
    """Where the tokens of people stand in plain text, readable by the owner of the state folder only."""
    return folder / "tokens.json"


def read_tokens(folder: Path) -> dict[str, str]:
    """Principal to token, as written by `issue_tokens`; empty before the first start."""
    try:
        tokens: dict[str, str] = json.loads(tokens_file(folder).read_text())
    except FileNotFoundError:
        return {}
    return tokens


def issue_tokens(state: State, names: list[str]) -> dict[str, str]:
    """Make sure that the admin and each of `names` is a principal with a token; return all tokens.

    A token that works is kept. One lost with its file is replaced: its hash cannot give it back.
    """
    principals = Principals(state)
    tokens = read_tokens(state.folder)
    for name in dict.fromkeys([ADMIN, *names, *tokens]):
        principals.add(name, is_admin=name == ADMIN)
        owner = principals.authenticate(tokens.get(name, ""))
        if owner is None or owner.name != name:
            with state.writing() as db:
                db.execute(
                    "DELETE FROM tokens WHERE principal = ? AND task_run_id IS NULL AND expires_at IS NULL",
                    (name,),
                )
                tokens[name] = mint_token(db, name)
            write_private(tokens_file(state.folder), tokens)
    return tokens


def write_private(path: Path, value: Any) -> None:
    """Replace the file in one step by `value` as JSON for people; its owner's only."""
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(value, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
