"""The trigger that waits for arrivals on the triggerer's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from databricks_file_arrivals.core.errors import FileArrivalsError
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import run_async
from databricks_file_arrivals.workspace.gate import due

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
