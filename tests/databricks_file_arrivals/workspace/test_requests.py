"""A task starts one request from its rows, whatever has become of it meanwhile, over the world in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from databricks_file_arrivals.core.errors import FileArrivalsError
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, latest
from tests.databricks_file_arrivals.core.planned import NOON, File
from tests.databricks_file_arrivals.workspace.in_memory import (
    Fate,
    Operator,
    RunTask,
    World,
    ended,
    finish,
    plan_and_run,
)


def planned(*directories: str, workflow: str = "load", most: int = 9) -> World:
    """A world in which requests for these directories were handed out, `most` of them."""
    rows = [{"directory": "/in/*", "workflow_name": workflow, "active_ind": "Y"}]
    world = World(mapping=WorkflowMapping.read(rows))
    world.log += [File("s1", 0, d, "1.csv") for d in directories or ["/in/a"]]
    ended(Operator(world, last_try=True, hand_out=most))
    return world


def states(world: World) -> list[tuple[Status, int | None]]:
    return [(r.status, r.attempt) for r in latest(world.rows).values()]


def becomes(world: World, state: str, result: str = "") -> None:
    token = list(world.runs)[-1]
    world.runs[token] = replace(world.runs[token], state=state, result=result)


def run(world: World, again: bool = False) -> None:
    ended(RunTask(world, world.handed_out[0], again=again))


def test_what_is_handed_out_is_left_over_until_a_task_starts_it_once() -> None:
    world = planned()
    assert [r.status for r in world.rows] == [Status.PLANNED, Status.CLAIMED] and not world.runs
    assert (world.consumer.next_due, world.consumer.open_from) == (NOON + timedelta(minutes=1), 1)
    for again in (False, False, True):
        run(world, again)
    assert states(world) == [(Status.TRIGGERED, 1)] and len(world.runs) == 1


def test_more_than_there_are_tasks_for_comes_next_and_nothing_new_is_claimed_before_it() -> None:
    world = planned("/in/a", "/in/b", "/in/c", most=2)
    assert len(world.handed_out) == 2 and world.consumer.next_due == world.now
    world.log.append(File("s1", 1, "/in/d", "1.csv"))
    ended(Operator(world, last_try=True, hand_out=2))
    assert world.handed_out[:2] == world.handed_out[2:], "no task has come: they are handed out again"
    assert world.consumer.cursor == {"s1": 0}, "there is no task for what has arrived"
    for trigger_id in world.handed_out[:2]:
        ended(RunTask(world, trigger_id))
    plan_and_run(world)
    assert world.consumer.cursor == {"s1": 1} and len(world.runs) == 4
    assert world.executed() == world.meant()


def test_either_form_goes_on_from_the_other() -> None:
    world = planned("/in/a", "/in/b")
    run(world)
    finish(world)
    assert len(world.runs) == 2 and states(world) == [(Status.TRIGGERED, 1)] * 2
    world.log.append(File("s1", 1, "/in/c", "1.csv"))
    killed = Operator(world, last_try=True)
    while len(world.runs) < 3:
        killed.step(Fate.DONE)
    killed.step(Fate.DIED_BEFORE)
    assert killed.ended
    plan_and_run(world)
    assert len(world.runs) == 3 and world.executed() == world.meant()


def test_a_failed_run_is_followed_by_another_only_when_the_task_is_tried_again() -> None:
    world = planned()
    run(world)
    becomes(world, "TERMINATED", "FAILED")
    run(world)
    assert len(world.runs) == 1
    run(world, again=True)
    assert states(world) == [(Status.TRIGGERED, 2)] and len(world.runs) == 2
    becomes(world, "TERMINATED", "SUCCESS")
    run(world, again=True)
    run(world, again=True)
    assert states(world) == [(Status.SUCCEEDED, 2)] and len(world.runs) == 2


def test_a_failed_run_that_is_being_repaired_or_was_is_not_started_again() -> None:
    world = planned()
    run(world)
    becomes(world, "TERMINATED", "FAILED")
    world.now += timedelta(minutes=2)
    finish(world)
    assert states(world) == [(Status.FAILED, 1)]
    becomes(world, "RUNNING")
    run(world, again=True)
    becomes(world, "TERMINATED", "SUCCESS")
    run(world, again=True)
    assert states(world) == [(Status.SUCCEEDED, 1)] and len(world.runs) == 1


def test_a_run_that_cannot_be_seen_is_never_started_a_second_time() -> None:
    world = planned()
    run(world)
    world.runs.clear()
    run(world, again=True)
    assert states(world) == [(Status.TRIGGERED, 1)] and not world.runs


def test_a_run_that_never_ran_is_handed_out_as_a_new_attempt() -> None:
    world = planned()
    run(world)
    becomes(world, "SKIPPED")
    world.now += timedelta(minutes=1)
    ended(Operator(world, last_try=True, hand_out=9))
    assert states(world) == [(Status.NOT_RUN, 1)], "its pause is not over"
    world.now += timedelta(minutes=1)
    plan_and_run(world)
    assert len(set(world.handed_out)) == 2
    assert states(world) == [(Status.TRIGGERED, 2)] and len(world.runs) == 2


def test_a_refusal_is_an_outcome_and_is_handed_out_again_after_its_pause() -> None:
    world = planned(workflow="refused")
    run(world)
    assert states(world) == [(Status.ERROR, 1)]
    world.now += timedelta(minutes=2)
    ended(Operator(world, last_try=True, hand_out=9))
    assert world.handed_out == world.handed_out[:1] * 2


def test_a_failure_that_may_pass_is_left_to_the_next_try_and_recorded_by_the_last() -> None:
    for last_try, found in ((False, Status.PLANNED), (True, Status.ERROR)):
        world = planned()
        task = RunTask(world, world.handed_out[0], last_try=last_try)
        task.step(Fate.DONE)
        task.step(Fate.REFUSED)
        while not task.ended:
            task.step(Fate.DONE)
        assert states(world) == [(found, 1)]
        run(world)
        assert states(world) == [(Status.TRIGGERED, 1)] and len(world.runs) == 1


def changed(world: World, **changes: object) -> None:
    world.rows = [replace(r, **changes) for r in world.rows]  # type: ignore[arg-type]  # any column


def without(rows: Iterable[LogRow], status: Status) -> list[LogRow]:
    return [r for r in rows if r.status is not status]


def test_what_is_none_of_ours_to_start_is_named() -> None:
    unmapped = planned()
    changed(unmapped, status=Status.UNMAPPED)
    unmapped.rows.append(replace(unmapped.rows[0], status=Status.CLAIMED, trigger_id=None))
    other, gone, void = planned(), planned(), planned()
    changed(other, consumer="another")
    gone.rows = without(gone.rows, Status.PLANNED)
    void.rows = without(void.rows, Status.CLAIMED)
    for world, words in (
        (unmapped, "is UNMAPPED: there is nothing to start"),
        (other, "is of the consumer 'another', not of 'default'"),
        (gone, "has no row of the request"),
        (void, "of a claim that was not won or is not finished"),
    ):
        with pytest.raises(FileArrivalsError, match=words):
            run(world)
        assert not world.runs
    with pytest.raises(FileArrivalsError, match="'x' is not a trigger_id"):
        ended(RunTask(planned(), "x"))
