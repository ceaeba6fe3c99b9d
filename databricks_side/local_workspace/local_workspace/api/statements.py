"""The Statement Execution API."""

import asyncio
import re
from typing import Any

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import DoesNotExist, InvalidParameter, NotImplementedHere
from local_workspace.api.faults import Fault
from local_workspace.api.spark_sessions import CATALOGS
from local_workspace.api.sql_values import check_parameter
from local_workspace.api.statement_store import Result, Statement, StatementRequest
from local_workspace.api.workspace import check_warehouse

MAX_STATEMENT_BYTES = 16 * 1024 * 1024
_KNOWN = (
    "statement", "warehouse_id", "catalog", "schema", "parameters", "row_limit", "byte_limit", "disposition",
    "format", "wait_timeout", "on_wait_timeout", "query_tags",
)  # fmt: skip

_OF_VOLUMES = re.compile(r"\s*(CREATE|DROP|ALTER|SHOW|DESCRIBE)\s+(EXTERNAL\s+)?VOLUMES?\b", re.IGNORECASE)

_WAITING: set[asyncio.Task[None]] = set()


async def execute(call: Call) -> Answer:
    """POST sql/statements"""
    given = call.arguments
    given.only(*_KNOWN)
    check_warehouse(given.text("warehouse_id"))
    wait, cancel = _waiting(given.optional_text("wait_timeout"), given.optional_text("on_wait_timeout"))
    statement = call.workspace.statements.submit(
        call.caller, _request(call), held=call.stopped_by is not None
    )
    if call.stopped_by is not None:
        _begin_when_up(call, statement)
    await asyncio.wait([asyncio.wrap_future(statement.done)], timeout=wait)
    if cancel and statement.ended_at is None:
        await asyncio.to_thread(call.workspace.statements.cancel, statement)
    return _view(statement)


def _begin_when_up(call: Call, statement: Statement) -> None:
    """Let the statement begin when the fault that has stopped the warehouse ends; no call waits for that."""
    assert call.stopped_by is not None

    async def begin(stopped: Fault) -> None:
        await stopped.hold()
        call.workspace.statements.begin(statement)

    task = asyncio.create_task(begin(call.stopped_by))
    _WAITING.add(task)  # the event loop itself would forget it
    task.add_done_callback(_WAITING.discard)


def _waiting(timeout: str | None, then: str | None) -> tuple[float, bool]:
    """How many seconds the call waits for the statement, and whether it is cancelled after that."""
    if not re.fullmatch(r"\d{1,3}s", timeout or "10s"):
        raise InvalidParameter(f"wait_timeout has to be like '10s', not {timeout!r}.")
    seconds = int((timeout or "10s").rstrip("s"))
    if seconds != 0 and not 5 <= seconds <= 50:
        raise InvalidParameter("wait_timeout has to be 0s, or between 5s and 50s.")
    if then not in (None, "CONTINUE", "CANCEL"):
        raise InvalidParameter(f"on_wait_timeout has to be CONTINUE or CANCEL, not {then!r}.")
    if then == "CANCEL" and seconds == 0:
        raise InvalidParameter("on_wait_timeout has to be CONTINUE when wait_timeout is 0s.")
    return float(seconds), then == "CANCEL"


def _request(call: Call) -> StatementRequest:
    given = call.arguments
    if given.optional_text("disposition") not in (None, "INLINE"):
        raise NotImplementedHere(
            f"The local workspace does not implement disposition {given.text('disposition')!r}."
        )
    if given.optional_text("format") not in (None, "JSON_ARRAY"):
        raise NotImplementedHere(f"The local workspace does not implement format {given.text('format')!r}.")
    catalog = given.optional_text("catalog")
    if catalog is not None and catalog.lower() not in CATALOGS:
        raise InvalidParameter(f"Catalog {catalog!r} does not exist. The local workspace has 'main'.")
    statement = given.text("statement")
    if _OF_VOLUMES.match(statement):
        raise NotImplementedHere(
            "The local workspace has no SQL for volumes. Use POST /api/2.1/unity-catalog/volumes (in the SDK "
            "volumes.create) and the calls beside it."
        )
    if len(statement.encode()) > MAX_STATEMENT_BYTES:
        raise InvalidParameter(f"A statement has at most {MAX_STATEMENT_BYTES} bytes.")
    parameters = [check_parameter(each) for each in given.sequence("parameters")]
    names = [parameter["name"] for parameter in parameters]
    if len(set(names)) != len(names):
        raise InvalidParameter("Names of parameters have to be unique.")
    return StatementRequest(
        statement,
        parameters,
        given.optional_text("schema"),
        _positive(call, "row_limit"),
        _positive(call, "byte_limit"),
    )


def _positive(call: Call, name: str) -> int | None:
    value = call.arguments.optional_integer(name)
    if value is not None and value < 1:
        raise InvalidParameter(f"{name} has to be positive.")
    return value


def get(call: Call) -> Answer:
    """GET sql/statements/{id}"""
    return _view(call.workspace.statements.find(call.caller, call.path["id"]))


def cancel(call: Call) -> Answer:
    """POST sql/statements/{id}/cancel"""
    statements = call.workspace.statements
    statements.cancel(statements.find(call.caller, call.path["id"]))
    return {}


def get_chunk(call: Call) -> Answer:
    """GET sql/statements/{id}/result/chunks/{index}"""
    statement = call.workspace.statements.find(call.caller, call.path["id"])
    index = int(call.path["index"]) if call.path["index"].isdecimal() else -1
    if statement.result is None:
        raise DoesNotExist(
            f"The statement {statement.statement_id} is {statement.state} and has no result to fetch."
        )
    if not 0 <= index < len(statement.result.chunks):
        raise DoesNotExist(
            f"The result has {len(statement.result.chunks)} chunks, no chunk {call.path['index']}."
        )
    return _chunk(statement.statement_id, statement.result, index)


def _view(statement: Statement) -> dict[str, Any]:
    with statement.lock:
        status: dict[str, Any] = {"state": statement.state}
        if statement.error is not None:
            status["error"] = statement.error
            if statement.sql_state is not None:
                status["sql_state"] = statement.sql_state
        view: dict[str, Any] = {"statement_id": statement.statement_id, "status": status}
        result = statement.result
    if result is not None:
        view["manifest"] = _manifest(result)
        view["result"] = _chunk(statement.statement_id, result, 0) if result.chunks else {}
    return view


def _places(result: Result) -> list[dict[str, int]]:
    places, offset = [], 0
    for index, chunk in enumerate(result.chunks):
        places.append({"chunk_index": index, "row_offset": offset, "row_count": len(chunk)})
        offset += len(chunk)
    return places


def _manifest(result: Result) -> dict[str, Any]:
    places = _places(result)
    return {
        "format": "JSON_ARRAY",
        "schema": {"column_count": len(result.columns), "columns": result.columns},
        "total_chunk_count": len(places),
        "chunks": places,
        "total_row_count": sum(len(chunk) for chunk in result.chunks),
        "truncated": result.truncated,
    }


def _chunk(statement_id: str, result: Result, index: int) -> dict[str, Any]:
    chunk: dict[str, Any] = {**_places(result)[index], "data_array": result.chunks[index]}
    if index + 1 < len(result.chunks):
        chunk["next_chunk_index"] = index + 1
        chunk["next_chunk_internal_link"] = (
            f"/api/2.0/sql/statements/{statement_id}/result/chunks/{index + 1}"
        )
    return chunk


_V = ("2.0",)
ROUTES = [
    Route("POST", "sql/statements", execute, _V),
    Route("GET", "sql/statements/{id}", get, _V),
    Route("POST", "sql/statements/{id}/cancel", cancel, _V),
    Route("GET", "sql/statements/{id}/result/chunks/{index}", get_chunk, _V),
]
