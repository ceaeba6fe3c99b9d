"""SQL statements through the Statement Execution API: bound, typed parameters in, typed rows out.

https://docs.databricks.com/api/workspace/statementexecution
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

from databricks_file_arrivals.core.errors import Refused, StatementFailed, WarehouseMissing
from databricks_file_arrivals.workspace.exchange import Call, Exchange, Pause

ENDPOINT = "2.0/sql/statements"
_WAIT = "30s"  # the API allows 5 to 50; a longer one would outlast many proxies
_LONGEST_PAUSE = 5.0
_PENDING = ("PENDING", "RUNNING")
_TRANSIENT = (
    "TEMPORARILY_UNAVAILABLE",
    "WORKSPACE_TEMPORARILY_UNAVAILABLE",
    "SERVICE_UNDER_MAINTENANCE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "INTERNAL_ERROR",
)
_CONDITION = re.compile(r"^\s*\[([A-Z0-9_]+(?:\.[A-Z0-9_]+)*)\]")


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave: its rows by column name, and for a change how many rows it affected."""

    rows: Sequence[Mapping[str, Any]]
    affected: int | None = None


def execute(
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    warehouse_id: str,
    timeout: float = 600.0,
) -> Exchange[Result]:
    """Run one statement to its end.

    Each `:name` in it is bound to a parameter: str, int, float, bool, date, datetime, Decimal or None.
    `timeout` is in seconds; a statement that lasts longer is cancelled.

    Raises StatementFailed, WarehouseMissing, and what the client raises.
    """
    body: dict[str, Any] = {
        "statement": statement,
        "warehouse_id": warehouse_id,
        "wait_timeout": _WAIT,
        "on_wait_timeout": "CONTINUE",
        "disposition": "INLINE",
        "format": "JSON_ARRAY",
    }
    if parameters:
        body["parameters"] = [_bind(name, value) for name, value in parameters.items()]
    try:
        # Every statement of this package may be executed twice: what it changes, it changes by conditions, or
        # it appends rows of which two say no more than one.
        answer = yield Call("POST", ENDPOINT, body, repeatable=True)
    except Refused as error:
        if error.status == 404 or "warehouse" in str(error).lower():
            raise WarehouseMissing(f"SQL warehouse {warehouse_id!r}: {error}") from error
        raise
    answer = yield from _await_end(answer, timeout)
    _check(answer)
    return (yield from _collect(answer))


def _await_end(answer: Mapping[str, Any], timeout: float) -> Exchange[Mapping[str, Any]]:
    waited, pause = 0.0, 0.5
    while answer["status"]["state"] in _PENDING:
        if waited >= timeout:
            yield Call("POST", f"{ENDPOINT}/{answer['statement_id']}/cancel", repeatable=True)
            raise StatementFailed("CANCELED", "", f"it had not ended after {timeout:.0f} s", retryable=True)
        yield Pause(pause)
        waited, pause = waited + pause, min(pause * 1.5, _LONGEST_PAUSE)
        answer = yield Call("GET", f"{ENDPOINT}/{answer['statement_id']}")
    return answer


def _check(answer: Mapping[str, Any]) -> None:
    state = answer["status"]["state"]
    if state != "SUCCEEDED":
        error = answer["status"].get("error") or {}
        message, code = error.get("message", ""), error.get("error_code", "")
        found = _CONDITION.match(message)
        condition = found[1] if found else ""
        # Another writer was quicker; the same statement may succeed when it is repeated.
        retryable = code in _TRANSIENT or condition.startswith("DELTA_CONCURRENT_")
        raise StatementFailed(state, condition, message or code, retryable)
    if (answer.get("manifest") or {}).get("truncated"):
        raise StatementFailed(
            state, "", "its result was truncated: it is larger than an inline result may be"
        )


def _collect(answer: Mapping[str, Any]) -> Exchange[Result]:
    columns = ((answer.get("manifest") or {}).get("schema") or {}).get("columns") or []
    names = [column["name"] for column in columns]
    convert = [_converter(column["type_name"]) for column in columns]
    rows: list[Mapping[str, Any]] = []
    chunk = answer.get("result") or {}
    while True:
        for values in chunk.get("data_array") or ():
            rows.append(
                {
                    name: None if value is None else to(value)
                    for name, to, value in zip(names, convert, values, strict=True)
                }
            )
        link = chunk.get("next_chunk_internal_link")
        if not link:
            break
        chunk = yield Call("GET", link.removeprefix("/api/"))
    affected = rows[0]["num_affected_rows"] if len(rows) == 1 and "num_affected_rows" in rows[0] else None
    return Result(rows, affected)


def _bind(name: str, value: Any) -> dict[str, Any]:
    """A parameter of the API, with the type that the value has."""
    for kind, type_name in _TYPES:
        if isinstance(value, kind):
            text = value.isoformat() if isinstance(value, date) else str(value)
            return {"name": name, "value": text.lower() if kind is bool else text, "type": type_name}
    if value is None:
        return {"name": name, "type": "STRING"}
    raise TypeError(
        f"The parameter {name} is a {type(value).__name__}: bind text, numbers, dates, or JSON as text."
    )


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "BOOLEAN"),
    (str, "STRING"),
    (int, "BIGINT"),
    (float, "DOUBLE"),
    (Decimal, "DECIMAL(38,18)"),
    (datetime, "TIMESTAMP"),
    (date, "DATE"),
)


def _converter(type_name: str) -> Callable[[str], Any]:
    return _CONVERTERS.get(type_name.upper(), str)


def _timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "BYTE": int,
    "SHORT": int,
    "INT": int,
    "LONG": int,
    "FLOAT": float,
    "DOUBLE": float,
    "DECIMAL": Decimal,
    "BOOLEAN": lambda text: text.lower() == "true",
    "DATE": date.fromisoformat,
    "TIMESTAMP": _timestamp,
    "MAP": json.loads,
    "ARRAY": json.loads,
    "STRUCT": json.loads,
}
