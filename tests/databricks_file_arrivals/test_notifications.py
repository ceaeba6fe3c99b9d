"""Each notifier gets a message of its own, once in a period, and can do no harm. A real task's are in
test_telling."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import DAG

from databricks_file_arrivals.core.errors import BadInput, StatementFailed
from databricks_file_arrivals.core.notices import Kind
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.notifications import Notifications, Pass
from tests.airflow_side import Log
from tests.airflow_versions import BaseNotifier

DAY = timedelta(days=1)
SAID: list[str] = []


class Says(BaseNotifier):
    """A notifier whose rendering changes it, as that of all of Airflow's does."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        SAID.append(self.text)


@pytest.fixture
def said() -> list[str]:
    SAID.clear()
    return SAID


def context(run: str, try_number: int = 1) -> Any:
    ti = SimpleNamespace(dag_id="dag", run_id=run, task_id="t", try_number=try_number)
    return {"ti": ti, "dag": DAG("dag", schedule=None)}


def row(consumer: str, status: Status = Status.UNMAPPED, directory: str = "/in/a", run: str = "1") -> LogRow:
    return LogRow(
        status=status,
        consumer=consumer,
        claim_id=f"{consumer}-{run}",
        epoch=1,
        attempt=1,
        directory=directory,
        trigger_id=f"{run}-{directory}-{status}",
        dag_id="dag",
        dag_run_id=run,
        task_id="t",
    )


def closed(consumer: str, run: str) -> LogRow:
    return LogRow(status=Status.CLAIMED, consumer=consumer, claim_id=f"{consumer}-{run}", epoch=1)


def found(consumer: str, *rows: LogRow) -> Pass:
    now = datetime.now(timezone.utc)
    return Pass(consumer, rows, (), now - timedelta(minutes=1), now)


def test_a_directory_is_told_of_once_in_a_period_and_again_by_a_retry(log: Log, said: list[str]) -> None:
    consumer = log.consumer()
    notifications = Notifications.of(
        {Kind.UNMAPPED: Says("{{ file_arrivals.total }} {{ file_arrivals.directories }}")}, DAY, DAY
    )

    def tell(run: str, *rows: LogRow, try_number: int = 1) -> None:
        log.ledger.append([*rows, closed(consumer, run)])
        notifications.tell(context(run, try_number), log.hook, log.names, found(consumer, *rows))

    tell("1", row(consumer, run="1"))
    assert said == ["1 ['/in/a']"]
    tell("2", row(consumer, run="2"), row(consumer, directory="/in/b", run="2"))
    assert said[1:] == ["1 ['/in/b']"], "the other was told of"
    tell("2", try_number=2)  # it was killed before it told, for all that is known, and finds nothing new
    assert said[2:] == ["1 ['/in/b']"]


def nothing(statement: str, parameters: object = None) -> list[Any]:
    """A ledger in which nobody has written."""
    return []


NOWHERE: Any = SimpleNamespace(query=nothing)
NAMES = Names.of("main.a.log")


def test_a_failing_notifier_stops_no_other(said: list[str], caplog: pytest.LogCaptureFixture) -> None:
    def fails(context: Any) -> None:
        raise RuntimeError("down")

    notifications = Notifications.of({Kind.ERROR: [fails, Says("{{ file_arrivals.kind }}")]}, DAY, DAY)
    own = context("1")
    with caplog.at_level(logging.ERROR, logger="databricks_file_arrivals"):
        (told,) = notifications.tell(own, NOWHERE, NAMES, found("c", row("c", Status.ERROR)))
    assert (told.kind, said) == (Kind.ERROR, ["error"])
    assert "a notifier of on_error failed" in caplog.text and "down" in caplog.text
    assert set(own) == {"ti", "dag"}, "the task's context stays as it was"


def test_a_ledger_that_does_not_answer_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    def query(statement: str, parameters: object = None) -> list[Any]:
        raise StatementFailed("FAILED", "", "no warehouse")

    broken: Any = SimpleNamespace(query=query)
    notifications = Notifications.of({Kind.UNMAPPED: print}, DAY, DAY)
    assert notifications.tell(context("1"), broken, NAMES, found("c", row("c"))) == []
    assert "nobody was notified" in caplog.text


def test_only_what_was_asked_for_is_told() -> None:
    heard: list[Any] = []
    hear: Callable[[Any], None] = heard.append
    notifications = Notifications.of({Kind.OVERDUE: hear, Kind.ERROR: None}, DAY, DAY)
    rows = [row("c", status) for status in Status if status is not Status.CLAIMED]
    notifications.tell(context("1"), NOWHERE, NAMES, found("c", *rows))
    assert [own["file_arrivals"]["kind"] for own in heard] == ["overdue"]
    assert Notifications().tell(context("1"), NOWHERE, NAMES, found("c", *rows)) == []


def test_what_cannot_be_used_is_refused_where_the_dag_is_written() -> None:
    no_notifier: Any = ["#channel"]
    with pytest.raises(BadInput, match="on_unmapped has '#channel'"):
        Notifications.of({Kind.UNMAPPED: no_notifier}, DAY, DAY)
    with pytest.raises(BadInput, match="notify_every"):
        Notifications.of({}, timedelta(), DAY)
