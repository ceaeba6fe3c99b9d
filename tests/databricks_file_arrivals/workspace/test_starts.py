"""What is started is looked after: pauses, attempts and what is left, over the world in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import Status, latest
from tests.databricks_file_arrivals.core.planned import NOON, File
from tests.databricks_file_arrivals.workspace.in_memory import Fate, Operator, World, finish


def started(**terms: Any) -> World:
    """A world in which one run was accepted."""
    rows = [{"directory": "/in/a", "workflow_name": "load", "active_ind": "Y", **terms}]
    world = World(mapping=WorkflowMapping.read(rows))
    world.log.append(File("s1", 0, "/in/a", "1.csv"))
    finish(world)
    assert [r.status for r in world.rows] == [Status.PLANNED, Status.TRIGGERED, Status.CLAIMED]
    return world


def becomes(world: World, state: str, result: str = "") -> None:
    (token,) = (token for token, run in world.runs.items() if not run.ended)
    world.runs[token] = replace(world.runs[token], state=state, result=result)


def test_an_accepted_run_is_looked_at_a_minute_later_and_then_ever_more_rarely() -> None:
    world = started()
    assert (world.consumer.next_due, world.consumer.open_from) == (NOON + timedelta(minutes=1), 1)
    for _ in range(4):
        world.now = world.consumer.next_due or world.now
        finish(world)
    assert world.consumer.next_due == NOON + timedelta(minutes=16), "looked at after 1, 2, 4 and 8 minutes"
    becomes(world, "RUNNING")
    finish(world)
    assert len(world.rows) == 3
    assert world.consumer.next_due is None, "executing: nothing is left to be looked at"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (("TERMINATED", "SUCCESS"), Status.SUCCEEDED),
        (("TERMINATED", "FAILED"), Status.FAILED),
        (("SOMETHING NEW", ""), None),
    ],
)
def test_what_has_ended_is_recorded_once_and_never_started_again(
    state: tuple[str, str], status: Status | None
) -> None:
    world = started()
    becomes(world, *state)
    for _ in range(3):
        world.now += timedelta(hours=2)
        finish(world)
    assert [r.status for r in world.rows[3:]] == ([status] if status else [])
    assert len(world.runs) == 1


def test_a_run_that_never_ran_gets_attempts_with_growing_pauses_and_is_given_up() -> None:
    world = started()
    pauses = [1, 2, 4, 8, 16, 32, None]  # minutes; the next would make more than two hours of all
    for attempt, pause in enumerate(pauses, start=1):
        becomes(world, "SKIPPED")
        world.now += timedelta(seconds=1)
        finish(world)
        assert world.rows[-1].status is Status.NOT_RUN and len(world.runs) == attempt
        due = world.consumer.next_due
        assert due == (world.now + timedelta(minutes=pause) if pause else None)
        world.now = due or world.now + timedelta(days=1)
        finish(world)
    assert len(world.runs) == len(pauses), "given up"
    (state,) = latest(world.rows).values()
    assert (state.status, state.attempt) == (Status.NOT_RUN, len(pauses))


def test_a_run_that_cannot_be_seen_for_now_is_looked_at_again() -> None:
    world = started()
    hidden = dict(world.runs)
    world.runs.clear()
    world.now += timedelta(minutes=1)
    finish(world)
    assert world.consumer.next_due == world.now + timedelta(minutes=1)
    world.runs |= hidden
    becomes(world, "TERMINATING")
    finish(world)
    assert world.consumer.next_due is not None
    becomes(world, "TERMINATED", "SKIPPED")
    finish(world)
    assert world.rows[-1].status is Status.NOT_RUN
    world.runs.clear()
    again = started()
    again.runs.clear()
    again.now += timedelta(hours=3)
    finish(again)
    assert again.consumer.next_due is None, "it was deleted: not for ever"


def test_an_attempt_whose_operator_died_is_started_by_the_next() -> None:
    world = started()
    becomes(world, "SKIPPED")
    finish(world)
    world.now += timedelta(minutes=1)
    operator = Operator(world, last_try=True)
    while not any(r.attempt == 2 for r in world.rows):
        operator.step(Fate.DONE)
    operator.step(Fate.DIED_AFTER)
    assert operator.ended and len(world.runs) == 1
    finish(world)
    assert len(world.runs) == 2
    assert next(iter(latest(world.rows).values())).status is Status.TRIGGERED
