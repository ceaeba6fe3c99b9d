"""Calls of the REST API written once, as generators, and driven by blocking or by asynchronous clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from databricks_file_arrivals.core.errors import FileArrivalsError

T = TypeVar("T")
Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `endpoint` is what follows `/api/` in the URL; `body` is the query of a GET, else JSON."""

    method: str
    endpoint: str
    body: Mapping[str, Any] | None = None


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
