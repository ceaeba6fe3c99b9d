"""The calls that set faults: an extension of this workspace, at `/api/local/faults`."""

from enum import StrEnum
from typing import Any, TypeVar

from local_workspace.api.arguments import Arguments
from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import DoesNotExist, InvalidParameter
from local_workspace.api.faults import (
    DEFAULT_MESSAGE,
    DEFAULT_STATUS,
    OF_STATEMENTS,
    PATH,
    STATEMENTS,
    Faults,
    Kind,
    Terms,
    When,
)

NOT_ALLOWED = (
    "This workspace has no faults: start it with `local-workspace start --faults`, "
    "in tests with running_workspace(…, faults=True)."
)
_KNOWN = (
    "calls", "kind", "when", "contains", "principal", "skip", "times", "seconds", "status", "retry_after",
    "error_code", "message",
)  # fmt: skip
E = TypeVar("E", bound=StrEnum)


def _faults(call: Call) -> Faults:
    call.require_admin("set faults")
    if not call.workspace.faults.allowed:
        raise DoesNotExist(NOT_ALLOWED)
    return call.workspace.faults


# They wait for nothing, and are coroutines all the same: faults belong to the event loop.


async def add(call: Call) -> Answer:
    """POST /api/local/faults"""
    faults = _faults(call)
    call.arguments.only(*_KNOWN)
    return faults.add(_terms(call.arguments)).as_dict()


async def list_all(call: Call) -> Answer:
    """GET /api/local/faults"""
    return {"faults": [fault.as_dict() for fault in _faults(call).all()]}


async def delete(call: Call) -> Answer:
    """DELETE /api/local/faults/{id}: the fault as it was"""
    faults = _faults(call)
    fault = faults.find(call.path["id"])
    answer = fault.as_dict()
    faults.delete(fault)
    await fault.ended()
    return answer


async def delete_all(call: Call) -> Answer:
    """DELETE /api/local/faults: all of them, as they were"""
    faults = _faults(call)
    found = faults.all()
    answer = {"faults": [fault.as_dict() for fault in found]}
    for fault in found:
        faults.delete(fault)
    for fault in found:
        await fault.ended()
    return answer


def _terms(given: Arguments) -> Terms:
    kind = _one_of(Kind, given.text("kind"), "kind")
    when = _one_of(When, given.optional_text("when") or When.BEFORE, "when")
    calls = _list(given, "calls") or ([f"POST {STATEMENTS}"] if kind in OF_STATEMENTS else [])
    if not calls:
        raise InvalidParameter("calls has to name calls, such as 'POST /api/2.*/jobs/run-now'.")
    if kind is Kind.WAREHOUSE_STOPPED and when is When.AFTER:
        raise InvalidParameter("A warehouse that is stopped has no effect that could come first.")
    return Terms(
        calls=tuple(calls),
        kind=kind,
        when=when,
        contains=tuple(_list(given, "contains")),
        principal=given.optional_text("principal"),
        skip=_count(given, "skip", 0),
        times=_count(given, "times", 1),
        seconds=_seconds(given.values.get("seconds")),
        status=_status(given),
        retry_after=given.optional_integer("retry_after"),
        error_code=given.optional_text("error_code"),
        message=given.optional_text("message") or DEFAULT_MESSAGE,
    )


def _one_of(values: type[E], text: str, name: str) -> E:
    try:
        return values(text)
    except ValueError as error:
        raise InvalidParameter(f"{name} has to be one of {', '.join(values)}, not {text!r}.") from error


def _list(given: Arguments, name: str) -> list[str]:
    """One text, or several."""
    value = given.values.get(name)
    texts: list[Any] = [value] if isinstance(value, str) else given.sequence(name)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidParameter(f"{name} has to be a string or an array of strings.")
    return texts


def _count(given: Arguments, name: str, default: int) -> int:
    value = given.optional_integer(name)
    if value is not None and value < 0:
        raise InvalidParameter(f"{name} has to be 0 or more, not {value}.")
    return default if value is None else value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidParameter(f"seconds has to be a number of seconds, not {value!r}.")
    return float(value)


def _status(given: Arguments) -> int:
    status = given.optional_integer("status") or DEFAULT_STATUS
    if not 400 <= status <= 599:
        raise InvalidParameter(f"status has to be between 400 and 599, not {status}.")
    return status


ROUTES = [
    Route("POST", PATH, add),
    Route("GET", PATH, list_all),
    Route("DELETE", f"{PATH}/{{id}}", delete),
    Route("DELETE", PATH, delete_all),
]
