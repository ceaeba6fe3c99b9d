"""Which calls a fault takes, and how often; what it does to them is shown by the client's tests."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from local_workspace.api.faults import Called, Fault, Faults, Kind, Terms, When, cut_nothing
from local_workspace.api.principals import Principal

RUN_NOW = "POST /api/2.2/jobs/run-now"


def call(name: str = RUN_NOW, principal: str = "alice", **body: Any) -> Called:
    method, _, path = name.partition(" ")
    caller = Principal(principal, 1, False)
    scope = {"method": method, "path": path, "query_string": b"limit=25", "state": {"caller": caller}}
    return Called.of(scope, json.dumps(body).encode())


def terms(*calls: str, kind: Kind = Kind.ERROR, **more: Any) -> Terms:
    return Terms(calls or ("*",), kind, **more)


@pytest.mark.parametrize(
    ("globs", "takes"),
    [
        ([RUN_NOW], True),
        (["POST /api/2.*/jobs/run-now"], True),
        (["* /api/2.?/jobs/*"], True),
        (["GET *", "POST *"], True),
        (["GET *"], False),
        (["POST /api/2.2/jobs"], False),
    ],
)
def test_calls_are_globs_of_method_and_path(globs: list[str], takes: bool) -> None:
    assert terms(*globs).match(call()) is takes


def test_contains_means_each_text_in_some_argument_as_it_was_before_json() -> None:
    made = call(statement='UPDATE t SET a = "ä"', parameters=[{"name": "epoch", "value": 'x "CLAIMED"'}], n=7)
    assert terms(contains=('SET a = "ä"', '"CLAIMED"')).match(made)
    assert terms(contains=("7",)).match(made) and terms(contains=("25",)).match(made)
    assert not terms(contains=("UPDATE", "PLANNED")).match(made)
    assert not terms(contains=("statement",)).match(made), "the names of arguments do not count"


def test_a_body_that_is_no_json_is_a_text() -> None:
    scope = {
        "method": "POST",
        "path": "/x",
        "query_string": b"",
        "state": {"caller": Principal("a", 1, True)},
    }
    assert Called.of(scope, b"{half").texts == ("{half",)


def test_the_principal_counts() -> None:
    assert terms(principal="alice").match(call()) and not terms(principal="bob").match(call())


@pytest.mark.parametrize(
    ("skip", "times", "hits"),
    [(0, 1, [1, 0, 0, 0]), (2, 1, [0, 0, 1, 0]), (1, 2, [0, 1, 1, 0]), (0, 0, [1, 1, 1, 1])],
)
def test_it_skips_and_hits_so_often(skip: int, times: int, hits: list[int]) -> None:
    faults = Faults()
    fault = faults.add(terms(RUN_NOW, skip=skip, times=times))
    found = []
    for _ in hits:
        found.append(len(faults.take(call())))
        assert faults.take(call("GET /api/2.2/jobs/get")) == []
    assert found == hits and fault.hits == sum(hits)


def test_faults_act_in_order_up_to_the_first_that_answers() -> None:
    faults = Faults()
    kinds = [Kind.DELAY, Kind.DROP, Kind.ERROR]
    first, second, third = [faults.add(terms(kind=kind, times=0)) for kind in kinds]
    assert faults.take(call()) == [first, second]
    faults.delete(second)
    assert faults.take(call()) == [first, third]
    faults.delete(third)
    late, later = [faults.add(terms(kind=Kind.DROP, when=When.AFTER)) for _ in range(2)]
    assert faults.take(call()) == [first, late]
    assert faults.take(call()) == [first, later], "each has a call of its own"


def test_a_delay_ends_in_time_or_when_it_is_released() -> None:
    async def both() -> None:
        short, long = (Fault(n, terms(kind=Kind.DELAY, seconds=s)) for n, s in ((1, 0.01), (2, None)))
        await short.hold()
        held = asyncio.create_task(long.hold())
        await asyncio.sleep(0.01)
        assert (short.held, long.held) == (0, 1)
        long.released.set()
        await held
        assert long.held == 0

    asyncio.run(asyncio.wait_for(both(), 10))


def test_without_a_server_there_is_nothing_to_cut() -> None:
    with pytest.raises(ConnectionAbortedError, match="no connection"):
        cut_nothing(("127.0.0.1", 1))
