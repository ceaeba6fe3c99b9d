"""Logins of people."""

from local_workspace.api import logins
from local_workspace.api.logins import COOKIE, Logins
from local_workspace.api.principals import Principal

ALICE = Principal("alice", 2, False)


def test_a_cookie_is_found_again_and_scripts_cannot_read_it() -> None:
    known = Logins()
    header = known.begin(ALICE)
    assert "HttpOnly" in header and "SameSite=Strict" in header
    assert known.find(f"other=1; {header.split(';')[0]}") == ALICE


def test_other_cookies_are_nobody() -> None:
    known = Logins()
    known.begin(ALICE)
    for cookies in ("", "nonsense", f"{COOKIE}=", f"{COOKIE}=guess", "\x00=\x01"):
        assert known.find(cookies) is None, cookies


def test_a_login_ends() -> None:
    known = Logins()
    cookie = known.begin(ALICE).split(";")[0]
    before = logins.LOGIN_SECONDS
    try:
        logins.LOGIN_SECONDS = -1.0
        late = known.begin(ALICE).split(";")[0]
    finally:
        logins.LOGIN_SECONDS = before
    assert known.find(late) is None and known.find(cookie) == ALICE
