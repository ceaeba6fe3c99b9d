"""One exchange, driven by a blocking and by an asynchronous client, gives the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.workspace.exchange import Answer, Call, Exchange, Pause, run, run_async


def conversation() -> Exchange[list[Any]]:
    """Asks, waits, asks again, and survives one refusal."""
    first = yield Call("GET", "a", {"x": 1})
    yield Pause(0.001)
    try:
        yield Call("GET", "refused")
    except Refused as error:
        second = error.code
    return [first, second]


def answer(call: Call) -> Answer:
    if call.endpoint == "refused":
        raise Refused(403, "PERMISSION_DENIED", "no")
    return {"asked": call.endpoint, **(call.body or {})}


async def answer_async(call: Call) -> Answer:
    await asyncio.sleep(0)
    return answer(call)


def drive_async(
    exchange: Exchange[list[Any]], call: Callable[[Call], Awaitable[Answer]] = answer_async
) -> list[Any]:
    return asyncio.run(run_async(exchange, call))


@pytest.mark.parametrize("drive", [lambda e: run(e, answer), drive_async], ids=["blocking", "asynchronous"])
def test_answers_are_sent_in_and_errors_thrown_in(drive: Callable[[Exchange[list[Any]]], list[Any]]) -> None:
    assert drive(conversation()) == [{"asked": "a", "x": 1}, "PERMISSION_DENIED"]


def test_pauses_are_slept() -> None:
    slept: list[float] = []
    run(conversation(), answer, slept.append)
    assert slept == [0.001]


@pytest.mark.parametrize("drive", [lambda e: run(e, answer), drive_async], ids=["blocking", "asynchronous"])
def test_an_error_that_nobody_catches_is_the_exchanges(
    drive: Callable[[Exchange[list[Any]]], list[Any]],
) -> None:
    def careless() -> Exchange[list[Any]]:
        yield Call("GET", "refused")
        return []

    with pytest.raises(Refused):
        drive(careless())
