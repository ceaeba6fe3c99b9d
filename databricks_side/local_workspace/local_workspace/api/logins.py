"""Logins of people with a browser: a token, given once, becomes a cookie that scripts cannot read."""

import secrets
import time
from http.cookies import CookieError, SimpleCookie

from local_workspace.api.principals import Principal

COOKIE = "local_workspace"
LOGIN_SECONDS = 8 * 3600.0


class Logins:
    """The logins of this process; a restart ends them."""

    def __init__(self) -> None:
        self._logins: dict[str, tuple[Principal, float]] = {}

    def begin(self, principal: Principal) -> str:
        """A new login: the `Set-Cookie` header that keeps it."""
        now = time.monotonic()
        self._logins = {key: login for key, login in self._logins.items() if login[1] > now}
        key = secrets.token_urlsafe(32)
        self._logins[key] = (principal, now + LOGIN_SECONDS)
        return f"{COOKIE}={key}; HttpOnly; SameSite=Strict; Path=/; Max-Age={int(LOGIN_SECONDS)}"

    def find(self, cookies: str) -> Principal | None:
        """Whose login the request's `Cookie` header names, if any."""
        try:
            morsel = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return None
        principal, until = self._logins.get(morsel.value, (None, 0.0)) if morsel else (None, 0.0)
        return principal if time.monotonic() < until else None
