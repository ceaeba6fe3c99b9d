"""The stock Databricks hook, and what this package needs beyond it: rows of statements, and errors that say
more."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from airflow.providers.databricks.hooks.databricks import DatabricksHook
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRuntimeError,
    get_async_connection,
    proxies,
)
from databricks_file_arrivals.core.errors import (
    BadInput,
    FileArrivalsError,
    NotAuthenticated,
    Refused,
    WarehouseMissing,
    WorkspaceError,
    WorkspaceUnavailable,
)
from databricks_file_arrivals.workspace.exchange import Answer, Call, run
from databricks_file_arrivals.workspace.statements import Result, execute

DEFAULT_CONN_ID = "databricks_default"
TRIES = 5
PATIENCE = 120.0
"""Seconds after which no other try of a call begins."""
LONGEST_WAIT = 60.0
"""Seconds that a Retry-After is followed for at most; when it asks for more, the next try comes too early."""

_KEPT_CONNECTIONS = 64
_GRANTED_FOR = 60.0  # the stock hook renews tokens two minutes before they expire
_LOCKED = "COULD_NOT_ACQUIRE_LOCK"  # a 400 that passes: two calls met at one job


class _Busy(WorkspaceUnavailable):
    """Raised when the workspace says after how many seconds it can be asked again."""

    def __init__(self, message: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Credentials(AuthBase):
    """The headers that authenticate calls, `until` they are to be asked for again."""

    headers: Mapping[str, str] = field(repr=False)
    until: float = field(default_factory=lambda: time.monotonic() + _GRANTED_FOR)

    @property
    def stale(self) -> bool:
        """Whether they are to be asked for again."""
        return time.monotonic() > self.until

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request: without this, a .netrc that names the host would win over the headers."""
        request.headers.update(self.headers)
        return request


class FileArrivalsHook(DatabricksHook):
    """A Databricks connection with statement rows: the stock hook's connection and all its kinds of
    authentication.

    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param statement_timeout: after how many seconds a statement is cancelled
    :param retry_limit: how many times a call is tried at most, if it may be repeated; no try begins later
        than two minutes after the first
    :param timeout_seconds: how long one try waits for its answer
    """

    def __init__(
        self,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
        statement_timeout: float = 600.0,
        retry_limit: int = TRIES,
        timeout_seconds: int = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            databricks_conn_id,
            timeout_seconds=timeout_seconds,
            retry_limit=retry_limit,
            # The stock hook's calls for tokens follow them too.
            retry_args={"stop": stop_after_attempt(retry_limit) | stop_before_delay(PATIENCE), "wait": wait},
            caller=kwargs.pop("caller", "FileArrivals"),
            **kwargs,
        )
        self._warehouse_id = warehouse_id
        self._statement_timeout = statement_timeout
        self._granted: _Credentials | None = None
        self._granting = Lock()

    @cached_property
    def warehouse_id(self) -> str:
        """The SQL warehouse that statements run on. Raises WarehouseMissing."""
        if self._warehouse_id:
            return self._warehouse_id
        http_path = self._connection().extra_dejson.get("http_path") or ""
        if not http_path:
            raise WarehouseMissing(
                "No SQL warehouse: set warehouse_id, or http_path (/sql/1.0/warehouses/…) in the extra of "
                f"the connection {self.databricks_conn_id!r}."
            )
        return str(http_path).rstrip("/").rsplit("/", 1)[-1]

    def _connection(self) -> Any:
        with self._connection_errors():
            return self.databricks_conn

    @property
    def workspace_url(self) -> str:
        """Where people find the workspace's pages; "" when the connection names no host."""
        self._connection()
        return self._endpoint_url("").rstrip("/") if self.host else ""  # type: ignore[no-untyped-call]  # stock

    async def prepare(self) -> None:
        """Fetch the connection without blocking the event loop; `a_call` needs it.

        Raises BadInput or WorkspaceUnavailable."""
        if "databricks_conn" not in self.__dict__:
            with self._connection_errors():
                self.__dict__["databricks_conn"] = await get_async_connection(self, self.databricks_conn_id)

    @contextmanager
    def _connection_errors(self) -> Generator[None]:
        """Raise what goes wrong on the way to the connection as this package's errors."""
        conn_id = self.databricks_conn_id
        try:
            yield
        except AirflowNotFoundException as error:
            raise BadInput(
                f"The connection {conn_id!r} is not defined. Make it: airflow connections add "
                f"{conn_id} --conn-type databricks --conn-host https://… --conn-password TOKEN"
            ) from error
        # 3.0 says so; later versions take it for one that is not there. A secrets backend that refuses is one
        # of the others: it may be asked again.
        except (AirflowRuntimeError, PermissionError) as error:
            raise WorkspaceUnavailable(f"Airflow did not give the connection {conn_id!r}: {error}") from error

    def call(self, request: Call) -> Answer:
        """Make one call of the REST API, and again where that is safe and may help. Threads may share it.

        Raises WorkspaceUnavailable, NotAuthenticated, Refused, WorkspaceError or BadInput.
        """
        granted = self._credentials()
        answer: Answer = Retrying(**self._tries(request))(self._send, request, granted)
        return answer

    async def a_call(self, request: Call) -> Answer:
        """The same as `call`, on an event loop and within `async with hook`."""
        granted = await self._a_credentials()
        answer: Answer = await AsyncRetrying(**self._tries(request))(self._a_send, request, granted)
        return answer

    def _tries(self, request: Call) -> dict[str, Any]:
        def again(error: BaseException) -> bool:
            return request.may_repeat and isinstance(error, WorkspaceUnavailable)

        return {
            "stop": self.retry_args["stop"],
            "wait": self.retry_args["wait"],
            "retry": retry_if_exception(again),
            "before_sleep": lambda state: self.log.warning(
                "try %d failed, the next is in %.1f s: %s",
                state.attempt_number,
                state.upcoming_sleep,
                state.outcome.exception(),
            ),
            "reraise": True,
        }

    def _send(self, request: Call, granted: _Credentials) -> Answer:
        try:
            response = self._http.request(
                **self._parts(request),
                headers=None if request.content is None else {"Content-Type": "application/octet-stream"},
                auth=granted,
                timeout=self.timeout_seconds,
                proxies=dict(proxies(self)),
            )
        except requests.RequestException as error:
            raise WorkspaceUnavailable(f"{_describe(request)}: {error}") from error
        return _answer(request, response.status_code, response.content, response.headers)

    async def _a_send(self, request: Call, granted: _Credentials) -> Answer:
        parts = self._parts(request)
        try:
            async with self._session.request(
                **parts,
                headers=granted.headers,
                timeout=aiohttp.ClientTimeout(total=self.timeout_seconds),
                proxy=proxies(self).get(urlsplit(parts["url"]).scheme),
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise WorkspaceUnavailable(
                f"{_describe(request)}: {str(error) or type(error).__name__}"
            ) from error
        return _answer(request, response.status, content, response.headers)

    def _parts(self, request: Call) -> dict[str, Any]:
        body = dict(request.body or {})
        parts: dict[str, Any] = {
            "method": request.method,
            "url": self._endpoint_url(f"api/{request.endpoint}"),  # type: ignore[no-untyped-call]  # stock
        }
        if request.content is not None:
            return {**parts, "data": request.content}
        return {**parts, "params": body} if request.method == "GET" else {**parts, "json": body}

    @cached_property
    def _http(self) -> requests.Session:
        """Connections that are kept: the stock hook makes a new one for each call."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_KEPT_CONNECTIONS))
        return session

    def _credentials(self) -> _Credentials:
        """What authenticates a call: of every kind that the stock hook knows, asked of it now and then."""
        self._connection()
        with self._granting:
            if self._granted is None or self._granted.stale:
                with _token_errors():
                    proxies(self)  # unusable ones are told of here
                    headers = {**self.user_agent_header, **self._get_aad_headers()}
                    self._granted = self._grant(headers, self._get_token())
            return self._granted

    async def _a_credentials(self) -> _Credentials:
        await self.prepare()
        if self._granted is None or self._granted.stale:
            with _token_errors():
                proxies(self)  # as above
                headers = {**self.user_agent_header, **await self._a_get_aad_headers()}
                self._granted = self._grant(headers, await self._a_get_token())
        return self._granted

    def _grant(self, headers: Mapping[str, str], token: str | None) -> _Credentials:
        if token:
            return _Credentials({**headers, "Authorization": f"Bearer {token}"})
        login, password = self.databricks_conn.login, self.databricks_conn.password or ""
        if not login:
            raise BadInput(
                f"The connection {self.databricks_conn_id!r} cannot be used: it has neither a token, as its "
                "password, nor a login."
            )
        pair = b64encode(f"{login}:{password}".encode()).decode()
        return _Credentials({**headers, "Authorization": f"Basic {pair}"})

    def statement(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Result:
        """Run a SQL statement: its rows by column name, and how many rows a change affected.

        :param statement: the text; `:name` in it is bound
        :param parameters: the values: text, numbers, dates, times, or None
        """
        exchange = execute(
            statement, parameters, warehouse_id=self.warehouse_id, timeout=self._statement_timeout
        )
        return run(exchange, self.call)

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement, by column name. Raises StatementFailed."""
        return self.statement(statement, parameters).rows


def _describe(request: Call) -> str:
    return f"{request.method} /api/{request.endpoint}"


def _answer(request: Call, status: int, content: bytes, headers: Mapping[str, str]) -> Answer:
    """What was answered, or the error that it means."""
    if status >= 400:
        raise _refusal(status, content.decode("utf-8", "replace"), _describe(request), headers)
    if request.raw:
        return {"content": content}
    if status == 204:
        return {}
    try:
        answer: Answer = json.loads(content)
    except ValueError as error:
        raise _not_json(_describe(request)) from error
    return answer


def _not_json(what: str) -> WorkspaceError:
    return WorkspaceError(f"{what}: the answer is not JSON. Is the connection's host a workspace?")


def _refusal(status: int, text: str, what: str, headers: Mapping[str, str]) -> WorkspaceError:
    """What an HTTP error means."""
    code, message = "", text[:500]
    try:
        body = json.loads(text)
        code, message = str(body.get("error_code", "")), str(body.get("message", text))
    except (ValueError, AttributeError):
        pass
    if status == 401:
        return NotAuthenticated(
            f"{what}: the workspace does not accept the credentials of the connection (401). "
            "Check its token or secret."
        )
    if status == 429 or (status >= 500 and status != 501) or code == _LOCKED:
        said = f"{what}: {status} {code} {message}"
        seconds = retry_after(headers.get("Retry-After"), datetime.now(timezone.utc))
        return WorkspaceUnavailable(said) if seconds is None else _Busy(said, seconds)
    return Refused(status, code, message)


def retry_after(text: str | None, now: datetime) -> float | None:
    """How many seconds a Retry-After header asks to wait, as a number or as a date; None if it says
    nothing."""
    if not text:
        return None
    try:
        return max(0.0, float(int(text)))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or timezone.utc) - now).total_seconds())


_backoff = wait_random_exponential(multiplier=0.5, max=10.0)


def wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the workspace asked for, up to a limit, and on top of it a random part
    of a time that doubles, so that clients that failed together do not come back together."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, _Busy) else 0.0
    return min(asked, LONGEST_WAIT) + _backoff(state)


@contextmanager
def _token_errors() -> Generator[None]:
    """Raise what goes wrong on the way to a token as this package's errors."""
    what = "the token's endpoint"
    try:
        yield
    except (requests.JSONDecodeError, aiohttp.ContentTypeError) as error:
        raise _not_json(what) from error
    except (requests.RequestException, aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise _answered(error, what) or WorkspaceUnavailable(f"{what}: {error}") from error
    except (AirflowException, ValueError) as error:
        inner = error.__cause__ or error.__context__
        if isinstance(inner, RetryError):
            raise WorkspaceUnavailable(f"{what}: {error}") from error
        raise _answered(inner, what) or BadInput(f"The connection cannot be used: {error}") from error


def _answered(error: BaseException | None, what: str) -> WorkspaceError | None:
    """What an HTTP error of either client means; None if it is none."""
    if isinstance(error, requests.HTTPError):
        return _refusal(error.response.status_code, error.response.text, what, {})
    if isinstance(error, aiohttp.ClientResponseError):
        return _refusal(error.status, error.message, what, {})
    return None


@contextmanager
def airflow_errors(*, retry: bool = False) -> Generator[None]:
    """Raise this package's errors as Airflow's: those that will not pass fail the task at once.

    :param retry: let Airflow try again in any case, so that a task that is started again and again backs off
    """
    try:
        yield
    except FileArrivalsError as error:
        kind = AirflowException if retry or error.retryable else AirflowFailException
        raise kind(str(error)) from error
