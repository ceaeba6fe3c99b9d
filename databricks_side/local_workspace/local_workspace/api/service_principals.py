"""Service principals: each has a client id and a secret, for which it is given tokens that end."""

import hmac
import json
import secrets
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from local_workspace.api.principals import Principals, hash_of, mint_token, write_private
from local_workspace.state import State, now_ms

TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """What a service principal logs in with."""

    client_id: str
    client_secret: str


class ServicePrincipals:
    """The service principals of a state folder, and the tokens that they are given."""

    def __init__(self, state: State, token_seconds: int = TOKEN_SECONDS) -> None:
        self._state = state
        self.token_seconds = token_seconds

    def authenticate(self, client: ServicePrincipal) -> str | None:
        """The principal that logs in so, or None; in the same time for any wrong secret."""
        row = self._state.reading.execute(
            "SELECT principal, secret_hash FROM service_principals WHERE client_id = ?", (client.client_id,)
        ).fetchone()
        expected = b"\0" * 32 if row is None else row["secret_hash"]
        matches = hmac.compare_digest(expected, hash_of(client.client_secret))
        return str(row["principal"]) if matches and row else None

    def token(self, principal: str) -> str:
        """A new token of the principal. Those that have ended are forgotten."""
        now = now_ms()
        with self._state.writing() as db:
            db.execute("DELETE FROM tokens WHERE expires_at <= ?", (now,))
            return mint_token(db, principal, expires_at=now + self.token_seconds * 1000)


def service_principals_file(folder: Path) -> Path:
    """Where client ids and secrets stand in plain text, readable by the owner of the state folder only."""
    return folder / "service_principals.json"


def read_service_principals(folder: Path) -> dict[str, ServicePrincipal]:
    """Name to client id and secret, as written by `issue_service_principals`; empty before there is any."""
    try:
        written: dict[str, dict[str, str]] = json.loads(service_principals_file(folder).read_text())
    except FileNotFoundError:
        return {}
    return {name: ServicePrincipal(**each) for name, each in written.items()}


def issue_service_principals(state: State, names: list[str]) -> dict[str, ServicePrincipal]:
    """Make sure that each of `names` is a principal that can log in; return all service principals.

    A secret that works is kept. One lost with its file is replaced: its hash cannot give it back.
    """
    principals, known = Principals(state), read_service_principals(state.folder)
    for name in dict.fromkeys([*names, *known]):
        principals.add(name)
        if name in known and ServicePrincipals(state).authenticate(known[name]) == name:
            continue
        known[name] = ServicePrincipal(str(uuid.uuid4()), f"dose{secrets.token_hex(16)}")
        with state.writing() as db:
            db.execute("DELETE FROM service_principals WHERE principal = ?", (name,))
            db.execute(
                "INSERT INTO service_principals (client_id, secret_hash, principal) VALUES (?, ?, ?)",
                (known[name].client_id, hash_of(known[name].client_secret), name),
            )
        write_private(
            service_principals_file(state.folder), {key: asdict(each) for key, each in known.items()}
        )
    return known
