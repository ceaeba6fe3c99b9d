"""One exchange, driven by a blocking and by an asynchronous client, gives the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.workspace.exchange import (
    Answer,
    Call,
    Exchange,
    Pace,
    Pause,
    run,
    run_all,
    run_async,
)


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


def asking(endpoint: str) -> Exchange[str]:
    answered = yield Call("GET", endpoint)
    return str(answered["asked"])


@pytest.mark.parametrize("count", [0, 1, 7])
def test_exchanges_side_by_side_keep_their_order_and_their_errors(count: int) -> None:
    names = [*(f"a{i}" for i in range(count)), "refused", "last"]
    results = run_all([asking(name) for name in names], answer, 3)
    assert [r for r in results if isinstance(r, str)] == [name for name in names if name != "refused"]
    assert isinstance(results[count], Refused)


def test_as_many_calls_are_under_way_as_there_are_connections() -> None:
    together = threading.Barrier(4)

    def meeting(call: Call) -> Answer:
        together.wait(10)  # breaks unless four are here at once
        return answer(call)

    assert len(run_all([asking(str(i)) for i in range(8)], meeting, 4)) == 8


@pytest.mark.parametrize(
    ("call", "may"),
    [
        (Call("GET", "a"), True),
        (Call("POST", "a"), False),
        (Call("POST", "a", repeatable=True), True),
    ],
)
def test_what_changes_something_is_repeated_only_where_it_says_so(call: Call, may: bool) -> None:
    assert call.may_repeat is may


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def turns(per_second: float | None, idle: float = 0.0) -> list[float]:
    clock = Clock()
    pace = Pace(per_second, lambda: clock.now, clock.sleep)
    times = []
    for _ in range(4):
        pace.wait()
        times.append(round(clock.now - 100, 3))
        clock.now += idle
    return times


def test_turns_come_at_even_distances_and_are_not_saved_up() -> None:
    assert turns(10) == [0, 0.1, 0.2, 0.3]
    assert turns(10, idle=5) == [0, 5, 10, 15]
    assert turns(None) == turns(0) == [0, 0, 0, 0]


def test_threads_share_the_turns() -> None:
    clock = Clock()
    slept: list[float] = []
    pace = Pace(10, lambda: clock.now, slept.append)
    threads = [threading.Thread(target=pace.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(s, 3) for s in slept) == [0.1, 0.2, 0.3, 0.4]
