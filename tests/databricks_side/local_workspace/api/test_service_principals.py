"""Service principals: secrets kept as hashes, tokens that end."""

import stat
from pathlib import Path

from local_workspace.api.principals import Principals, issue_tokens
from local_workspace.api.service_principals import (
    ServicePrincipal,
    ServicePrincipals,
    issue_service_principals,
    read_service_principals,
    service_principals_file,
)
from local_workspace.state import State


def test_a_secret_is_made_once_and_stands_in_a_file_of_its_owners_only(tmp_path: Path) -> None:
    state = State(tmp_path)
    made = issue_service_principals(state, ["robot"])
    assert issue_service_principals(state, []) == made == read_service_principals(tmp_path)
    assert ServicePrincipals(state).authenticate(made["robot"]) == "robot"
    assert stat.S_IMODE(service_principals_file(tmp_path).stat().st_mode) == 0o600
    state.reading.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert made["robot"].client_secret.encode() not in (tmp_path / "workspace.sqlite").read_bytes()


def test_a_wrong_secret_opens_nothing(tmp_path: Path) -> None:
    state = State(tmp_path)
    right = issue_service_principals(state, ["robot"])["robot"]
    for wrong in (
        ServicePrincipal(right.client_id, right.client_secret + "0"),
        ServicePrincipal("robot", right.client_secret),
        ServicePrincipal("", ""),
    ):
        assert ServicePrincipals(state).authenticate(wrong) is None


def test_a_secret_lost_with_its_file_is_replaced(tmp_path: Path) -> None:
    state = State(tmp_path)
    old = issue_service_principals(state, ["robot"])["robot"]
    service_principals_file(tmp_path).unlink()
    new = issue_service_principals(state, ["robot"])["robot"]
    clients = ServicePrincipals(state)
    assert clients.authenticate(old) is None and clients.authenticate(new) == "robot"


def test_a_token_ends_and_is_forgotten(tmp_path: Path) -> None:
    state = State(tmp_path)
    issue_service_principals(state, ["robot"])
    principals = Principals(state)
    lasting = ServicePrincipals(state).token("robot")
    ended = ServicePrincipals(state, token_seconds=0).token("robot")
    owner = principals.authenticate(lasting)
    assert owner is not None and (owner.name, owner.is_admin) == ("robot", False)
    assert principals.authenticate(ended) is None
    lasting_too = ServicePrincipals(state).token("robot")
    assert state.reading.execute("SELECT count(*) FROM tokens").fetchone()[0] == 2
    assert principals.authenticate(lasting_too) == owner


def test_tokens_of_people_are_issued_beside(tmp_path: Path) -> None:
    state = State(tmp_path)
    issue_service_principals(state, ["robot"])
    token = ServicePrincipals(state).token("robot")
    people = issue_tokens(state, ["robot"])
    principals = Principals(state)
    assert principals.authenticate(token) == principals.authenticate(people["robot"])
