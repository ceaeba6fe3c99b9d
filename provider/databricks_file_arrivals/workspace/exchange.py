"""Calls of the REST API written once, as generators, and driven by blocking or by asynchronous clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeAlias, TypeVar

from databricks_file_arrivals.core.errors import FileArrivalsError

T = TypeVar("T")
Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `endpoint` is what follows `/api/` in the URL; `body` is the query of a GET, else JSON.

    `repeatable`: it may be sent again when nobody knows whether it had its effect. What only reads always is;
    what changes something says so, where a second time changes nothing more.

    `content` are bytes to send instead of JSON. With `raw` the answer is {"content": bytes}, whatever they
    are.
    """

    method: str
    endpoint: str
    body: Mapping[str, Any] | None = None
    repeatable: bool = False
    content: bytes | None = None
    raw: bool = False

    @property
    def may_repeat(self) -> bool:
        """Whether to send it again is safe, whatever became of the first time."""
        return self.repeatable or self.method == "GET"


@dataclass(frozen=True, slots=True)
class Pause:
    """A wish to wait, in seconds."""

    seconds: float


Exchange: TypeAlias = Generator["Call | Pause", Any, T]
"""Yields calls and pauses, is sent the answers, returns what came of it. A failing call is thrown into it."""


def run(
    exchange: Exchange[T], call: Callable[[Call], Answer], sleep: Callable[[float], None] = time.sleep
) -> T:
    """Drive an exchange with a blocking client."""
    resume: Callable[[], Call | Pause] = partial(exchange.send, None)
    while True:
        try:
            step = resume()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # a generator's return value is untyped here
        try:
            if isinstance(step, Pause):
                sleep(step.seconds)
                resume = partial(exchange.send, None)
            else:
                resume = partial(exchange.send, call(step))
        except FileArrivalsError as error:
            resume = partial(exchange.throw, error)


async def run_async(exchange: Exchange[T], call: Callable[[Call], Awaitable[Answer]]) -> T:
    """Drive an exchange on an event loop."""
    resume: Callable[[], Call | Pause] = partial(exchange.send, None)
    while True:
        try:
            step = resume()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # a generator's return value is untyped here
        try:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                resume = partial(exchange.send, None)
            else:
                resume = partial(exchange.send, await call(step))
        except FileArrivalsError as error:
            resume = partial(exchange.throw, error)


class Pace:
    """Turns at even distances, so many a second at most, for all threads together; None or 0: at once."""

    def __init__(
        self,
        per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = Lock()

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        if not self._gap:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


def run_all(
    exchanges: Sequence[Exchange[T]], call: Callable[[Call], Answer], connections: int
) -> list[T | FileArrivalsError]:
    """Drive exchanges side by side with a blocking client that threads may share: what came of each, or why
    it failed, in their order."""

    def one(exchange: Exchange[T]) -> T | FileArrivalsError:
        try:
            return run(exchange, call)
        except FileArrivalsError as error:
            return error

    if len(exchanges) < 2:
        return [one(exchange) for exchange in exchanges]
    with ThreadPoolExecutor(max_workers=min(connections, len(exchanges))) as pool:
        return list(pool.map(one, exchanges))
