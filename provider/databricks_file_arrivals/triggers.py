"""The triggers, which wait on the triggerer's event loop: for arrivals, and for runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from databricks_file_arrivals.compat import AirflowRuntimeError, BaseEventTrigger, task_state
from databricks_file_arrivals.core.errors import BadInput, FileArrivalsError
from databricks_file_arrivals.core.insistence import Insistence, Step
from databricks_file_arrivals.core.signals import SignalVolume
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.metrics import poll_time
from databricks_file_arrivals.workspace.awaiting import Awaited, listed
from databricks_file_arrivals.workspace.exchange import Exchange, run_async
from databricks_file_arrivals.workspace.gate import ConsumerWatch, Gate
from databricks_file_arrivals.workspace.jobs import cancel_run
from databricks_file_arrivals.workspace.watch import Look, StreamWatch

T = TypeVar("T")

FIRST_LOOK = 8.0
"""Seconds before a deferred task's trigger may fire: one that fires within about 3 s of its task's deferral
can find the task's "deferred" event still on its way, and the task is then marked failed."""

FAILURES = 5
"""So many failed looks in a row are waited out; then people are told."""

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_TOLD_AGAIN, _TOLD_AT_LAST = 300.0, 3600.0  # pauses between two words of the same trouble, in seconds


class Line:
    """Drives exchanges over a hook that is made anew after each failure: connections and tokens change while
    a trigger lives."""

    def __init__(self, databricks_conn_id: str, warehouse_id: str | None) -> None:
        self._made_of = (databricks_conn_id, warehouse_id)
        self._hook: FileArrivalsHook | None = None

    async def run(self, make: Callable[[str], Exchange[T]]) -> T:
        """Drive the exchange that `make` makes for the SQL warehouse. Raises FileArrivalsError."""
        try:
            if self._hook is None:
                self._hook = FileArrivalsHook(*self._made_of)
                await self._hook.__aenter__()  # type: ignore[no-untyped-call]  # stock
                await self._hook.prepare()
            return await run_async(make(self._hook.warehouse_id), self._hook.a_call)
        except FileArrivalsError:
            await self.close()
            raise

    async def close(self) -> None:
        """Let the connections go."""
        hook, self._hook = self._hook, None
        if hook is not None:
            await hook.__aexit__(None, None, None)  # type: ignore[no-untyped-call]  # stock


def seconds(span: timedelta | float) -> float:
    """A length of time as a trigger's argument."""
    return span.total_seconds() if isinstance(span, timedelta) else float(span)


def interval(name: str, value: float) -> float:
    """The seconds between two looks, as somebody gave them. Raises BadInput."""
    if value <= 0:
        raise BadInput(f"{name} is {value}: give the seconds between two looks, such as 30.")
    return value


def pause_after(failures: int, usual: float) -> float:
    """Seconds until the next look after so many failed ones in a row."""
    return max(usual, min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 10), _LONGEST_PAUSE))


def _event(state: str, message: str, **more: Any) -> TriggerEvent:
    payload = {"state": state, "message": message, **more}
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow has no annotation there


class FileArrivalTrigger(BaseTrigger):
    """Fires once: when something is due for the consumer, when the deadline has passed, or when polling
    fails.

    The event's payload is {"state": "due" | "idle" | "error", "message": text}.

    :param deadline: when an idle wait ends, as an ISO time; absolute, so that a restart of the triggerer does
        not extend it
    :param poke_interval: seconds between two looks
    :param signal_volume: where the pointers are; without it each look is a SQL statement or two
    :param reconcile_every: seconds between two looks at the tables, where pointers say what is new
    :param linger: seconds for which arrivals are collected before it fires
    :param first_look: seconds before the first look
    """

    def __init__(
        self,
        *,
        log_table: str,
        consumer: str,
        databricks_conn_id: str,
        warehouse_id: str | None,
        deadline: str,
        poke_interval: float,
        signal_volume: str | None = None,
        reconcile_every: float,
        linger: float = 0.0,
        first_look: float = FIRST_LOOK,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation there
        self.log_table = log_table
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.signal_volume = signal_volume
        self.reconcile_every = reconcile_every
        self.linger = linger
        self.first_look = first_look

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make this trigger again."""
        names = (
            *("log_table", "consumer", "databricks_conn_id", "warehouse_id", "deadline", "poke_interval"),
            *("signal_volume", "reconcile_every", "linger", "first_look"),
        )
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, wait, look again, until there is something to say."""
        line = Line(self.databricks_conn_id, self.warehouse_id)
        await asyncio.sleep(max(self.first_look, FIRST_LOOK))
        try:
            yield await self._first_event(line)
        finally:
            await line.close()

    async def _first_event(self, line: Line) -> TriggerEvent:
        try:
            watch = ConsumerWatch.of(self.log_table, self.consumer, self.signal_volume, self.reconcile_every)
        except BadInput as error:  # the sensor does not look before it defers after a failed run
            return _event("error", str(error))
        deadline = datetime.fromisoformat(self.deadline)
        failures = 0
        while True:
            pause = self.poke_interval
            over = datetime.now(timezone.utc) >= deadline
            try:
                # The last word of an idle wait has the tables, whatever pointers say.
                with poll_time(self.log_table):
                    reason = await line.run(watch.confirm if over else watch.look)
                failures = 0
            except FileArrivalsError as error:
                failures += 1
                if not error.retryable or failures >= FAILURES:
                    return _event("error", str(error))
                pause = pause_after(failures, pause)
                self.log.warning("look %d failed, the next is in %.0f s: %s", failures, pause, error)
                reason, over = "", False
            if reason:
                await asyncio.sleep(self.linger)
                return _event("due", reason)
            if over:
                return _event("idle", f"nothing arrived until {self.deadline}")
            await asyncio.sleep(pause)


@dataclass(frozen=True, slots=True)
class Failed:
    """A look that failed, and how many have in a row."""

    error: FileArrivalsError
    failures: int


class FileArrivalEventTrigger(BaseEventTrigger):
    """Fires whenever something is due for the consumer, and again with growing pauses while it stays due and
    nobody has claimed it: so nothing is lost when an event is. Of the asset of `file_arrival_asset`, never
    of a task.

    The event's payload is {"state": "due" | "error", "message": text, "log_table": …, "consumer": …}. Polls
    that keep failing fire too, rarely: the DAG runs, its operator meets the same trouble, and people see it.

    On Airflow 3.3 all triggers of one log share one poll of its streams. Parameters are those of
    `file_arrival_asset`; times in seconds.
    """

    def __init__(
        self,
        *,
        log_table: str,
        consumer: str,
        databricks_conn_id: str,
        warehouse_id: str | None,
        signal_volume: str | None,
        poll_interval: float,
        reconcile_every: float,
        linger: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation there
        self.log_table = log_table
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id
        self.signal_volume = signal_volume
        self.poll_interval = poll_interval
        self.reconcile_every = reconcile_every
        self.linger = linger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make this trigger again."""
        arguments = {**self._poll(), "consumer": self.consumer, "linger": self.linger}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    def _poll(self) -> dict[str, Any]:
        """What the poll of the streams depends on: those who agree in it share one."""
        names = ("log_table", "databricks_conn_id", "warehouse_id", "signal_volume", "poll_interval")
        return {name: getattr(self, name) for name in (*names, "reconcile_every")}

    def shared_stream_key(self) -> Hashable:
        """Which poll this trigger shares."""
        return tuple(self._poll().items())

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Look | Failed]:
        """Look at the streams for ever. A look that fails is told too, and the next one comes later."""
        line = Line(kwargs["databricks_conn_id"], kwargs["warehouse_id"])
        volume = SignalVolume.parse(kwargs["signal_volume"]) if kwargs["signal_volume"] else None
        # What pointers say beyond what this process knows may be old, and how long it had been nobody knows.
        names = Names.of(kwargs["log_table"])
        watch = StreamWatch(names, volume, kwargs["reconcile_every"], reconcile_first=True)
        failures = 0
        try:
            while True:
                pause = kwargs["poll_interval"]
                try:
                    with poll_time(kwargs["log_table"]):
                        look: Look | Failed = await line.run(watch.look)
                    failures = 0
                except FileArrivalsError as error:
                    failures += 1
                    pause = pause_after(failures, pause)
                    look = Failed(error, failures)
                yield look
                await asyncio.sleep(pause)
        finally:
            await line.close()

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Look | Failed]
    ) -> AsyncIterator[TriggerEvent]:
        """The events of this trigger's consumer."""
        speaker = _Speaker(self)
        try:
            async for look in shared_stream:
                state, message = await speaker.word(look)
                if message:
                    self.log.info("%s: %s", state, message)
                    yield _event(state, message, log_table=self.log_table, consumer=self.consumer)
        finally:
            await speaker.line.close()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same with a poll of its own, where Airflow shares none (before 3.3)."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event


class _Speaker:
    """What one consumer's trigger says to each look."""

    def __init__(self, trigger: FileArrivalEventTrigger) -> None:
        volume = SignalVolume.parse(trigger.signal_volume) if trigger.signal_volume else None
        self.line = Line(trigger.databricks_conn_id, trigger.warehouse_id)
        self._log = trigger.log
        self._gate = Gate(Names.of(trigger.log_table), trigger.consumer, volume)
        self._due = Insistence(trigger.linger)
        self._trouble = Insistence(first_pause=_TOLD_AGAIN, longest_pause=_TOLD_AT_LAST)
        self._failures = 0
        self._look_at = 0.0

    async def word(self, look: Look | Failed) -> tuple[str, str]:
        """The state and the message to say now; an empty message if nothing is to be said."""
        if isinstance(look, Failed):
            return "error", self._fail(look)
        if _seconds() < self._look_at:
            return "", ""
        try:
            reason = await self._reason(look)
        except FileArrivalsError as error:
            failed = Failed(error, self._failures + 1)
            self._look_at = _seconds() + pause_after(failed.failures, 0.0)
            return "error", self._fail(failed)
        self._failures = 0
        self._trouble.step(False, 0, _seconds())
        return "due", reason

    async def _reason(self, look: Look) -> str:
        reason = await self.line.run(lambda warehouse_id: self._gate.look(look, warehouse_id))
        step = self._due.step(bool(reason), self._gate.epoch, _seconds())
        if step is Step.WAIT:
            return ""
        if step is Step.AGAIN:
            reason = await self.line.run(lambda warehouse_id: self._gate.confirm(look, warehouse_id))
        if reason:
            self._due.said(self._gate.epoch, _seconds())
        return reason

    def _fail(self, failed: Failed) -> str:
        """The message, when people are to be told now: of what will not pass at once, else after a while."""
        self._failures = failed.failures
        self._log.warning("look %d failed: %s", failed.failures, failed.error)
        tell = not failed.error.retryable or failed.failures >= FAILURES
        if self._trouble.step(tell, 0, _seconds()) is Step.WAIT:
            return ""
        self._trouble.said(0, _seconds())
        return str(failed.error)


def _seconds() -> float:
    return asyncio.get_running_loop().time()


_FAILED_POLLS = 10
"""So many polls in a row may fail before waiting ends; with pauses that grow to five minutes that is longer
than half an hour."""
_BELIEVED = 2
"""So often in a row an error that will not pass has to be seen: the connection is read anew in between, and
while Airflow's own API is away a connection looks as if it were not defined."""
_LONGEST_POLL_PAUSE = 300.0
_CANCELS = 16
_KILL_SECONDS = 25.0  # Airflow gives on_kill 30
_KILLING: set[asyncio.Task[None]] = set()  # an event loop does not keep the tasks that it runs
_NOT_BY_A_PERSON = ("deferred", "skipped")


class RunsTrigger(BaseTrigger):
    """Fires once: when all of the runs have ended, when the deadline has passed, or when they cannot be
    looked at.

    The event's payload is {"state": "ended" | "timeout" | "error", "message": text, "retryable": whether
    waiting again may help, "deadline": its own}. What became of the runs it does not say: who waited looks at
    them.

    :param run_ids: the runs, however many: they are polled together
    :param databricks_conn_id: the connection, of type `databricks`
    :param since: when the first of them was started, as an ISO time: older runs are not looked through
    :param deadline: when waiting ends, as an ISO time; absolute, so that a restart of the triggerer does not
        extend it. None: never
    :param poll_interval: seconds between two polls
    :param cancel_on_kill: when a person ends the deferred task (marks or clears it), cancel the runs that
        have not ended; nothing else ever cancels them. Airflow 3.3 and later
    """

    def __init__(
        self,
        *,
        run_ids: Sequence[int],
        databricks_conn_id: str,
        since: str | None = None,
        deadline: str | None = None,
        poll_interval: float = 30.0,
        cancel_on_kill: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation there
        self.run_ids = list(run_ids)
        self.databricks_conn_id = databricks_conn_id
        self.since = since
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self._awaited = Awaited(self.run_ids, datetime.fromisoformat(since) if since else None)
        self._failures = 0  # in a row
        self._lasting = 0  # of them, in a row, those that will not pass

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "run_ids": self.run_ids,
                "databricks_conn_id": self.databricks_conn_id,
                "since": self.since,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, wait, look again, until there is something to say."""
        deadline = datetime.fromisoformat(self.deadline) if self.deadline else None
        pause = FIRST_LOOK
        hook: FileArrivalsHook | None = None
        while True:
            await asyncio.sleep(pause)
            hook = hook or FileArrivalsHook(self.databricks_conn_id)
            failed = await self._poll(hook)
            event = self._event(failed, deadline)
            if event is not None:
                yield event
                return
            pause = self.poll_interval
            if failed is not None:
                hook = None  # the next one reads the connection again
                pause = min(self.poll_interval * 2**self._failures, _LONGEST_POLL_PAUSE)
                self.log.warning("poll %d failed, the next is in %.0f s: %s", self._failures, pause, failed)
            if deadline is not None:
                pause = min(pause, max(0.0, (deadline - datetime.now(timezone.utc)).total_seconds()))

    async def _poll(self, hook: FileArrivalsHook) -> FileArrivalsError | None:
        """Look at the runs that are left: why that failed, if it did."""
        try:
            async with hook:
                await run_async(self._awaited.poll(), hook.a_call)
        except FileArrivalsError as error:
            self._failures += 1
            self._lasting = 0 if error.retryable else self._lasting + 1
            return error
        self._failures = self._lasting = 0
        return None

    def _event(self, failed: FileArrivalsError | None, deadline: datetime | None) -> TriggerEvent | None:
        """What is to be said after a poll, if anything."""
        left, gone = self._awaited.left, self._awaited.gone
        if not left:
            missing = f"; deleted, or not to be seen any more: {listed(gone)}" if gone else ""
            return self._said("ended", f"{len(self.run_ids)} runs are over{missing}")
        going = f"{len(left)} of {len(self.run_ids)} runs have not ended, as far as is known: {listed(left)}"
        lasting = self._lasting >= _BELIEVED
        if failed is not None and (lasting or self._failures >= _FAILED_POLLS):
            return self._said(
                "error",
                f"{failed}\n{going}. They go on by themselves. Once this is mended clear the task: it waits "
                "for them again and starts none of them anew.",
                retryable=not lasting,
            )
        if deadline is not None and datetime.now(timezone.utc) >= deadline:
            why = f" (the last poll failed: {failed})" if failed else ""
            return self._said("timeout", f"{going}, at {self.deadline}{why}")
        return None

    def _said(self, state: str, message: str, *, retryable: bool = True) -> TriggerEvent:
        said = {"state": state, "message": message, "retryable": retryable, "deadline": self.deadline}
        return TriggerEvent(said)  # type: ignore[no-untyped-call]  # Airflow has no annotation there

    async def on_kill(self) -> None:
        """Cancel the runs that have not ended, many at a time and within Airflow's time for it, if a person
        has ended the task.

        Airflow calls this whenever the trigger is not this triggerer's any more: also when another one has
        taken it over, whose task is deferred still, and when the DAG run's time is over, which skips the
        task. One that was cleared and is deferred again waits for the same runs. `cleanup` is called when a
        triggerer stops too, which is why it cancels nothing.
        """
        if self.cancel_on_kill:
            work = asyncio.create_task(self._kill())
            _KILLING.add(work)
            work.add_done_callback(_KILLING.discard)
            # Airflow 3.3 cancels this about every second until it has returned; what it waits for goes on.
            await asyncio.shield(work)

    async def _kill(self) -> None:
        if not await self._ended_by_a_person():
            return
        left = set(self._awaited.left)
        places = asyncio.Semaphore(_CANCELS)

        async def cancel(run_id: int) -> None:
            async with places:
                try:
                    await run_async(cancel_run(run_id), hook.a_call)
                    left.discard(run_id)
                except FileArrivalsError as error:
                    self.log.warning("run %d was not cancelled: %s", run_id, error)

        self.log.info("cancelling %d runs: %s", len(left), listed(left))
        async with FileArrivalsHook(self.databricks_conn_id, retry_limit=3, timeout_seconds=10) as hook:
            try:
                await asyncio.wait_for(asyncio.gather(*map(cancel, list(left))), _KILL_SECONDS)
            except asyncio.TimeoutError:
                self.log.warning("not all runs could be cancelled within %.0f s", _KILL_SECONDS)
        if left:
            self.log.warning("these runs may go on; cancel them in the workspace: %s", listed(left))

    async def _ended_by_a_person(self) -> bool:
        try:
            state = await task_state(self)
        except AirflowRuntimeError as error:
            self.log.warning("the runs go on: the state of their task cannot be told: %s", error)
            return False
        if state in _NOT_BY_A_PERSON:
            self.log.info("the runs go on: their task is %s", state)
        return state not in _NOT_BY_A_PERSON
