"""Planner and ledger together, in every order of steps that chance finds: nothing is lost, nothing doubled.

The model is simple: each file that a won claim read has to be in exactly one executed run, or in one end that
says why there is none, for each rule that picked it when the claim was planned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from databricks_file_arrivals.core.errors import TableDiffers
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import Status, latest
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.ledger import Consumer
from tests.databricks_file_arrivals.core.planned import File
from tests.databricks_file_arrivals.workspace.in_memory import (
    EXPECTED_ERRORS,
    Fate,
    MemoryArrivalLog,
    MemoryJobs,
    MemoryLedger,
    Operator,
    PersonReplays,
    RunTask,
    WaitingTask,
    World,
    ended,
    finish,
    in_order,
    last_first,
    plan_and_run,
    recover,
)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Thousands of passes tell thousands of lines."""
    logger = logging.getLogger("databricks_file_arrivals")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


DIRECTORIES = ["/in/a", "/in/a/x", "/in/b"]
rules = st.lists(
    st.builds(
        lambda directory, workflow, active, **terms: {
            "directory": directory,
            "workflow_name": workflow,
            "active_ind": active,
            **terms,
        },
        st.sampled_from(["/in/a", "/in/a/x", "/in/*", "b"]),
        st.sampled_from(["load", "more", "missing", "refused"]),
        st.sampled_from("YYYN"),
        file_pattern=st.sampled_from([None, None, "*.csv"]),
        min_files=st.sampled_from([None, None, 3]),
        settle_seconds=st.sampled_from([None, None, 60]),
        min_interval_seconds=st.sampled_from([None, None, 90]),
        when_queued=st.sampled_from([None, "skip", "start"]),
    ),
    max_size=4,
)
ORDERS = [in_order, last_first]
BROKEN = [fate for fate in Fate if fate is not Fate.DONE]
fates = st.one_of(st.just(Fate.DONE), st.just(Fate.DONE), st.sampled_from(BROKEN))


class Protocol(RuleBasedStateMachine):
    """Streams that log, people who edit, operators of both forms that run three at a time and die, tasks that
    come late, twice or never, people who replay what has failed, a cluster that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.operators: list[Operator] = []
        self.batch = 0
        self.mapped = False
        """Which form is the one in use; who clears a task of the other is still there."""

    @rule(
        landed=st.lists(
            st.tuples(st.sampled_from(DIRECTORIES), st.sampled_from("ct")), min_size=1, max_size=3
        )
    )
    def files_land(self, landed: list[tuple[str, str]]) -> None:
        for i, (directory, kind) in enumerate(landed):
            name = f"{i}.{'csv' if kind == 'c' else 'txt'}"
            self.world.log.append(File("s1", self.batch, directory, name, logged_at=self.world.now))
        self.batch += 1

    @rule(rows=rules)
    def somebody_edits_the_mapping(self, rows: list[dict[str, Any]]) -> None:
        self.world.mapping = WorkflowMapping.read(rows)

    @precondition(lambda self: len(self.operators) < 3)
    @rule(last_try=st.booleans(), mapped=st.booleans(), at_once=st.sampled_from(ORDERS))
    def an_operator_starts(self, last_try: bool, mapped: bool, at_once: Any) -> None:
        self.mapped = mapped
        self._keep(Operator(self.world, last_try, 2 if mapped else 0, at_once))

    @precondition(lambda self: len(self.operators) < 3 and self.world.handed_out)
    @rule(which=st.integers(0, 9), last_try=st.booleans(), again=st.booleans())
    def a_task_starts(self, which: int, last_try: bool, again: bool) -> None:
        """Of whatever was handed out at any time: some twice, some never."""
        newest = self.world.handed_out[::-1]
        self._keep(RunTask(self.world, newest[which % len(newest)], last_try, again))

    @precondition(lambda self: len(self.operators) < 3)
    @rule(last_try=st.booleans(), again=st.booleans())
    def a_task_that_waits_starts(self, last_try: bool, again: bool) -> None:
        """The first try or a later one, whatever has become of the runs of those before."""
        self.mapped = False
        self._keep(WaitingTask(self.world, last_try, again))

    @rule(calls=st.integers(0, 40), fate=st.sampled_from([Fate.DONE, Fate.DIED_BEFORE, Fate.DIED_AFTER]))
    def somebody_replays_what_has_failed(self, calls: int, fate: Fate) -> None:
        """At once, beside whoever else is under way, to the end or until it is killed. What may happen while
        its swap is under way is left out: see the test of replays beside retries."""
        replay = PersonReplays(self.world, last_try=True)
        _go(replay, calls)
        while not replay.ended:
            replay.step(fate)
        self._keep(replay)

    def _keep(self, operator: Operator) -> None:
        if operator.ended:
            assert operator.error is None or isinstance(operator.error, EXPECTED_ERRORS), operator.error
        else:
            self.operators.append(operator)

    @precondition(lambda self: self.operators)
    @rule(steps=st.lists(st.tuples(st.integers(0, 2), fates), min_size=1, max_size=12))
    def operators_go_on(self, steps: list[tuple[int, Fate]]) -> None:
        for which, fate in steps:
            if not self.operators:
                return
            operator = self.operators.pop(which % len(self.operators))
            operator.step(fate)
            self._keep(operator)

    @precondition(lambda self: self.operators)
    @rule()
    def an_operator_comes_to_its_end(self) -> None:
        operator = self.operators.pop(0)
        while not operator.ended:
            operator.step(Fate.DONE)
        self._keep(operator)

    @rule(seconds=st.sampled_from([-30, 1, 61, 3600]))
    def the_clock_steps(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.world.late)
    @rule()
    def something_late_lands(self) -> None:
        self.world.late.pop(0)()

    @precondition(lambda self: any(not run.ended for run in self.world.runs.values()))
    @rule(
        state=st.sampled_from(
            [("RUNNING", ""), ("TERMINATED", "SUCCESS"), ("TERMINATED", "FAILED"), ("SKIPPED", "")]
        )
    )
    def a_run_moves_on(self, state: tuple[str, str]) -> None:
        token = next(token for token, run in self.world.runs.items() if not run.ended)
        run = self.world.runs[token]
        if not (run.executing and state[0] == "SKIPPED"):
            self.world.runs[token] = replace(run, state=state[0], result=state[1])

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        assert all(n == 1 for n in self.world.executed().values())

    def teardown(self) -> None:
        while self.operators:
            self.an_operator_comes_to_its_end()
        recover(self.world, self.mapped)
        done = self.world.executed() + self.world.ended()
        meant = self.world.meant()
        # Given up, and recorded so: what was refused, and what Databricks skipped again and again.
        given_up = (Status.ERROR, Status.NOT_RUN)
        refused = {r.rule_id for r in latest(self.world.rows).values() if r.status in given_up}
        assert {k: n for k, n in done.items() if k[0] not in refused} == {
            k: n for k, n in meant.items() if k[0] not in refused
        }
        assert not self.world.open_holds()
        read = {i for _, i in meant}
        assert read == set(range(len(self.world.log))), "a file was passed over"


Protocol.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestProtocol = Protocol.TestCase


def mapped(*rows: dict[str, Any]) -> World:
    world = World(mapping=WorkflowMapping.read(rows))
    world.log.append(File("s1", 0, "/in/a", "1.csv"))
    return world


def _go(operator: Operator, calls: int) -> bool:
    """Let an operator make so many calls; whether it has come to its end."""
    for _ in range(calls):
        if not operator.ended:
            operator.step(Fate.DONE)
    return operator.ended


def test_the_world_itself_works() -> None:
    world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y"})
    finish(world)
    assert [r.status for r in world.rows] == [Status.PLANNED, Status.TRIGGERED, Status.CLAIMED]
    assert world.executed() == world.meant() and len(world.executed()) == 1


def test_a_log_of_another_version_is_named_before_anything_is_read_of_it() -> None:
    class Newer(MemoryLedger):
        def consumer(self, consumer: str) -> Consumer | None:
            raise KeyError("a column that this version has")

        def check_version(self) -> None:
            raise TableDiffers(["the schema version is 99"], "upgrade")

    world = mapped()
    operator = Operator(world, last_try=True)
    options = Options("default", "main.ingest.file_log")
    with pytest.raises(TableDiffers, match="99"):
        Claimer(
            Newer(world, operator), MemoryArrivalLog(world, operator), MemoryJobs(world, operator), options
        ).run()


@pytest.mark.parametrize("at_once", ORDERS)
@pytest.mark.parametrize("fate", BROKEN)
def test_every_call_may_end_in_every_way(fate: Fate, at_once: Any) -> None:
    calls = 0
    while True:
        world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y"})
        operator = Operator(world, last_try=False, at_once=at_once)
        if _go(operator, calls):
            break
        operator.step(fate)
        while not operator.ended:
            operator.step(Fate.DONE)
        recover(world)
        assert world.executed() == world.meant() and len(world.executed()) == 1
        calls += 1
    assert calls > 12, "the operator was never stopped"


@pytest.mark.parametrize("at_once", ORDERS)
def test_two_operators_that_wait_for_each_other_anywhere_lose_no_hold(at_once: Any) -> None:
    """One stops after any of its calls, another after any of its own; then the first one ends, and the
    other."""
    first_over, first_calls = False, 0
    while not first_over:
        second_over, second_calls = False, 0
        while not second_over:
            world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y", "min_files": 3})
            first = Operator(world, last_try=True, at_once=at_once)
            first_over = _go(first, first_calls)
            world.log.append(File("s1", 1, "/in/a", "2.csv"))
            second = Operator(world, last_try=True, at_once=at_once)
            second_over = _go(second, second_calls)
            for operator in (first, second):
                if not operator.ended:
                    ended(operator)
            world.log.append(File("s1", 2, "/in/a", "3.csv"))
            recover(world)
            assert len(world.executed()) == 3 and world.executed() == world.meant()
            second_calls += 1
        first_calls += 1
    assert min(first_calls, second_calls) > 10


@pytest.mark.parametrize("fate", BROKEN)
@pytest.mark.parametrize("form", ["the plan", "the task", "the task's new attempt"])
@pytest.mark.parametrize("next_form", ["mapped", "one task"])
def test_every_call_of_the_mapped_form_may_end_in_every_way(fate: Fate, form: str, next_form: str) -> None:
    """And the other form may go on from there."""
    calls = 0
    while True:
        world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y"})
        operator = _begun(world, form)
        if _go(operator, calls):
            break
        operator.step(fate)
        while not operator.ended:
            operator.step(Fate.DONE)
        recover(world, next_form == "mapped")
        if form == "the task's new attempt":
            ended(RunTask(world, world.handed_out[0], again=True))
            recover(world, next_form == "mapped")
            assert [run.result for run in world.runs.values()] == ["FAILED", "SUCCESS"]
        assert world.executed() == world.meant() and len(world.executed()) == 1
        calls += 1
    assert calls > {"the plan": 8, "the task": 2, "the task's new attempt": 6}[form], "it was never stopped"


@pytest.mark.parametrize("fate", BROKEN)
def test_every_call_of_a_retry_after_a_failed_run_may_end_in_every_way(fate: Fate) -> None:
    calls = 0
    while True:
        world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y"})
        ended(WaitingTask(world, last_try=False))
        (first,) = world.runs
        world.runs[first] = replace(world.runs[first], state="TERMINATED", result="FAILED")
        retry = WaitingTask(world, last_try=False, again=True)
        if _go(retry, calls):
            break
        retry.step(fate)
        while not retry.ended:
            retry.step(Fate.DONE)
        for effect in world.late:
            effect()
        ended(WaitingTask(world, last_try=False, again=True))
        assert len(world.runs) == 2, "while the second attempt may run there is no third one"
        recover(world)
        ended(WaitingTask(world, last_try=True, again=True))
        assert [run.result for run in world.runs.values()] == ["FAILED", "SUCCESS"]
        assert [r.status for r in latest(world.rows).values()] == [Status.SUCCEEDED]
        calls += 1
    assert calls > 12, "the retry was never stopped"


RETRIES: dict[str, Callable[[World], Operator]] = {
    "the task": lambda world: RunTask(world, world.handed_out[0], again=True),
    "the task that waits": lambda world: WaitingTask(world, last_try=True, again=True),
}


@pytest.fixture
def failed() -> Callable[[str], World]:
    """Makes worlds in which the run of one request has failed and is known to, and its task is up for
    retry."""

    def make(form: str) -> World:
        world = mapped({"directory": "/in/a", "workflow_name": "load", "active_ind": "Y"})
        if form == "the task":
            plan_and_run(world)
        else:
            ended(WaitingTask(world, last_try=True))
        (token,) = world.runs
        world.runs[token] = replace(world.runs[token], state="TERMINATED", result="FAILED")
        world.now += timedelta(minutes=2)
        finish(world)
        assert [r.status for r in latest(world.rows).values()] == [Status.FAILED]
        return world

    return make


def _one_follows(world: World) -> None:
    recover(world)
    assert world.executed() == world.meant() and len(world.runs) == 2, [r.status for r in world.rows]


@pytest.mark.parametrize("form", RETRIES)
@pytest.mark.parametrize("fate", [Fate.DIED_BEFORE, Fate.DIED_AFTER])
def test_a_retry_after_a_replay_that_was_killed_anywhere_starts_no_run_beside_it(
    failed: Callable[[str], World], form: str, fate: Fate
) -> None:
    calls = 0
    while True:
        world = failed(form)
        replay = PersonReplays(world, last_try=True)
        if _go(replay, calls):
            break
        replay.step(fate)
        if any(r.replay_of for r in world.trusted()):
            ended(RETRIES[form](world))
            assert all(r.attempt in (1, None) for r in world.rows), "an attempt for nothing"
        else:
            ended(RETRIES[form](world))
        _one_follows(world)
        calls += 1
    assert calls > 8, "the replay was never stopped"


@pytest.mark.parametrize("form", RETRIES)
@pytest.mark.parametrize("stopped", ["the retry", "the replay"])
def test_a_replay_beside_a_retry_that_are_stopped_anywhere_start_one_run(
    failed: Callable[[str], World], form: str, stopped: str
) -> None:
    """But for a retry that plans, asks and starts all while the swap of the replay is under way."""
    calls = 0
    while True:
        world = failed(form)
        retry, replay = RETRIES[form](world), PersonReplays(world, last_try=True)
        slow, quick = (retry, replay) if stopped == "the retry" else (replay, retry)
        if _go(slow, calls):
            break
        planned = any(r.replay_of for r in world.rows)
        swapping = slow is replay and slow.writes and planned and len(world.won) == 1
        if not swapping:
            ended(quick)
        ended(slow)
        ended(quick)
        _one_follows(world)
        calls += 1
    assert calls > 4, "nobody was stopped"


@pytest.mark.parametrize("form", RETRIES)
@pytest.mark.parametrize("then", [*RETRIES, "an operator"])
def test_an_attempt_that_a_killed_retry_left_is_not_started_once_the_request_was_replayed(
    failed: Callable[[str], World], form: str, then: str
) -> None:
    world = failed(form)
    retry = RETRIES[form](world)
    while not retry.writes:
        retry.step(Fate.DONE)
    ended(PersonReplays(world, last_try=True))
    retry.step(Fate.DIED_AFTER)
    assert [r.status for r in world.rows if r.attempt == 2] == [Status.PLANNED]
    if then == "an operator":
        finish(world)
    elif then == form:
        ended(RETRIES[form](world))
    assert len(world.runs) == 2
    _one_follows(world)


def _begun(world: World, form: str) -> Operator:
    """An operator of the mapped form, before its first call."""
    if form == "the plan":
        return Operator(world, last_try=False, hand_out=2)
    ended(Operator(world, last_try=True, hand_out=2))
    (trigger_id,) = world.handed_out
    if form == "the task":
        return RunTask(world, trigger_id, last_try=False)
    ended(RunTask(world, trigger_id))
    world.runs[trigger_id] = replace(world.runs[trigger_id], state="TERMINATED", result="FAILED")
    return RunTask(world, trigger_id, last_try=False, again=True)
