"""The trigger that waits for arrivals on the triggerer's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from databricks_file_arrivals.core.errors import FileArrivalsError
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.awaiting import Awaited, listed
from databricks_file_arrivals.workspace.exchange import run_async
from databricks_file_arrivals.workspace.gate import due
from databricks_file_arrivals.workspace.jobs import cancel_run

FIRST_LOOK = 8.0
"""Seconds before the first look: a trigger that fires within about 3 s of its task's deferral can find the
task's
"deferred" event still on its way, and the task is then marked failed."""

_FAILURES = 5
_LONGEST_PAUSE = 300.0


class FileArrivalTrigger(BaseTrigger):
    """Fires once: when something is due for the consumer, when the deadline has passed, or when polling
    fails.

    The event's payload is {"state": "due" | "idle" | "error", "message": text}.

    :param deadline: when an idle wait ends, as an ISO time; absolute, so that a restart of the triggerer does
        not extend it
    :param poke_interval: seconds between two looks
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation there
        self.log_table = log_table
        self.consumer = consumer
        self.databricks_conn_id = databricks_conn_id
        self.warehouse_id = warehouse_id
        self.deadline = deadline
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "log_table": self.log_table,
                "consumer": self.consumer,
                "databricks_conn_id": self.databricks_conn_id,
                "warehouse_id": self.warehouse_id,
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, wait, look again, until there is something to say."""
        hook = FileArrivalsHook(self.databricks_conn_id, self.warehouse_id)
        names = Names.of(self.log_table)
        deadline = datetime.fromisoformat(self.deadline)
        failures = 0
        await asyncio.sleep(max(FIRST_LOOK, self.poke_interval))
        async with hook:
            while True:
                pause = self.poke_interval
                try:
                    reason = await self._look(hook, names)
                    failures = 0
                except FileArrivalsError as error:
                    failures += 1
                    if not error.retryable or failures >= _FAILURES:
                        yield _event("error", str(error))
                        return
                    pause = min(self.poke_interval * 2**failures, _LONGEST_PAUSE)
                    self.log.warning("look %d failed, the next is in %.0f s: %s", failures, pause, error)
                    reason = ""
                if reason:
                    yield _event("due", reason)
                    return
                if datetime.now(timezone.utc) >= deadline:
                    yield _event("idle", f"nothing arrived until {self.deadline}")
                    return
                await asyncio.sleep(pause)

    async def _look(self, hook: FileArrivalsHook, names: Names) -> str:
        await hook.prepare()
        return await run_async(due(names, self.consumer, warehouse_id=hook.warehouse_id), hook.a_call)


def _event(state: str, message: str) -> TriggerEvent:
    return TriggerEvent({"state": state, "message": message})  # type: ignore[no-untyped-call]  # as above


_FAILED_POLLS = 10
"""So many polls in a row may fail before waiting ends; with pauses that grow to five minutes that is longer
than half an hour."""
_BELIEVED = 2
"""So often in a row an error that will not pass has to be seen: the connection is read anew in between, and
while Airflow's own API is away a connection looks as if it were not defined."""
_LONGEST_POLL_PAUSE = 300.0
_CANCELS = 16
_KILL_SECONDS = 25.0  # Airflow gives on_kill 30


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
        self._failures = 0

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
            return error
        self._failures = 0
        return None

    def _event(self, failed: FileArrivalsError | None, deadline: datetime | None) -> TriggerEvent | None:
        """What is to be said after a poll, if anything."""
        left, gone = self._awaited.left, self._awaited.gone
        if not left:
            missing = f"; deleted, or not to be seen any more: {listed(gone)}" if gone else ""
            return self._said("ended", f"{len(self.run_ids)} runs are over{missing}")
        going = f"{len(left)} of {len(self.run_ids)} runs have not ended, as far as is known: {listed(left)}"
        if failed is not None and self._failures >= (_FAILED_POLLS if failed.retryable else _BELIEVED):
            return self._said(
                "error",
                f"{failed}\n{going}. They go on by themselves. Once this is mended clear the task: it waits "
                "for them again and starts none of them anew.",
                retryable=failed.retryable,
            )
        if deadline is not None and datetime.now(timezone.utc) >= deadline:
            why = f" (the last poll failed: {failed})" if failed else ""
            return self._said("timeout", f"{going}, at {self.deadline}{why}")
        return None

    def _said(self, state: str, message: str, *, retryable: bool = True) -> TriggerEvent:
        said = {"state": state, "message": message, "retryable": retryable, "deadline": self.deadline}
        return TriggerEvent(said)  # type: ignore[no-untyped-call]  # Airflow has no annotation there

    async def on_kill(self) -> None:
        """Cancel the runs that have not ended, many at a time and within Airflow's time for it.

        Airflow calls this when a person ends the task, never when a triggerer stops. `cleanup` is called
        then too, which is why it cancels nothing.
        """
        if not self.cancel_on_kill:
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
