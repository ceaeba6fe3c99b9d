"""The stock Databricks hook, and what this package needs beyond it: rows of statements, and errors that say
more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import aiohttp
import requests
from airflow.providers.databricks.exceptions import DatabricksApiError
from airflow.providers.databricks.hooks.databricks import DatabricksHook

from databricks_file_arrivals.compat import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    get_async_connection,
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


class FileArrivalsHook(DatabricksHook):
    """A Databricks connection with statement rows: the stock hook's connection and all its kinds of
    authentication.

    :param databricks_conn_id: the connection, of type `databricks`
    :param warehouse_id: the SQL warehouse; without it the one of the connection's extra `http_path`
    :param statement_timeout: after how many seconds a statement is cancelled
    """

    def __init__(
        self,
        databricks_conn_id: str = DEFAULT_CONN_ID,
        warehouse_id: str | None = None,
        statement_timeout: float = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(databricks_conn_id, caller=kwargs.pop("caller", "FileArrivals"), **kwargs)
        self._warehouse_id = warehouse_id
        self._statement_timeout = statement_timeout

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
        try:
            return self.databricks_conn
        except AirflowNotFoundException as error:
            raise self._undefined() from error

    async def prepare(self) -> None:
        """Fetch the connection without blocking the event loop; `a_call` needs it. Raises BadInput."""
        if "databricks_conn" not in self.__dict__:
            try:
                self.__dict__["databricks_conn"] = await get_async_connection(
                    self.databricks_conn_id, hook=self
                )
            except AirflowNotFoundException as error:
                raise self._undefined() from error

    def _undefined(self) -> BadInput:
        return BadInput(
            f"The connection {self.databricks_conn_id!r} is not defined. Make it: airflow connections add "
            f"{self.databricks_conn_id} --conn-type databricks --conn-host https://… --conn-password TOKEN"
        )

    def call(self, request: Call) -> Answer:
        """Make one call of the REST API, with the stock hook's retries.

        Raises WorkspaceUnavailable, NotAuthenticated, Refused, WorkspaceError or BadInput.
        """
        self._connection()
        try:
            answer: Answer = self._do_api_call(
                (request.method, request.endpoint), dict(request.body or {}), wrap_http_errors=False
            )
        except requests.HTTPError as error:
            raise _refusal(error.response.status_code, error.response.text, request) from error
        except (requests.JSONDecodeError, ValueError) as error:
            raise _not_json(request) from error
        except requests.RequestException as error:
            raise WorkspaceUnavailable(f"{_describe(request)}: {error}") from error
        except AirflowException as error:
            inner = error.__cause__ or error.__context__
            if isinstance(inner, requests.HTTPError):  # of the token's endpoint
                raise _refusal(inner.response.status_code, inner.response.text, request) from error
            raise WorkspaceUnavailable(f"{_describe(request)}: {error}") from error
        return answer

    async def a_call(self, request: Call) -> Answer:
        """The same as `call`, on an event loop and within `async with hook`."""
        try:
            answer: Answer = await self._a_do_api_call(
                (request.method, request.endpoint), dict(request.body or {})
            )
        except DatabricksApiError as error:
            if (error.http_status_code or 0) < 400:  # it was answered, with something else than JSON
                raise _not_json(request) from error
            raise _refusal(error.http_status_code or 0, str(error), request) from error
        except aiohttp.ClientResponseError as error:  # of the token's endpoint
            raise _refusal(error.status, error.message, request) from error
        except (aiohttp.ClientError, asyncio.TimeoutError, AirflowException) as error:
            raise WorkspaceUnavailable(f"{_describe(request)}: {error}") from error
        return answer

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


def _not_json(request: Call) -> WorkspaceError:
    return WorkspaceError(
        f"{_describe(request)}: the answer is not JSON. Is the connection's host a workspace?"
    )


def _refusal(status: int, text: str, request: Call) -> WorkspaceError:
    """What an HTTP error means."""
    code, message = "", text
    try:
        body = json.loads(text)
        code, message = str(body.get("error_code", "")), str(body.get("message", text))
    except (ValueError, AttributeError):
        message = text[:500]
    if status == 401:
        return NotAuthenticated(
            f"{_describe(request)}: the workspace does not accept the credentials of the connection (401). "
            "Check its token or secret."
        )
    if status == 429 or status >= 500:
        return WorkspaceUnavailable(f"{_describe(request)}: {status} {code} {message}")
    return Refused(status, code, message)


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
