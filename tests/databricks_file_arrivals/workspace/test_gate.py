"""The gate is open exactly while something is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import BadInput, ConsumerDoubled, TableMissing
from databricks_file_arrivals.core.signals import ConsumerPointer, SignalVolume
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.exchange import Answer, Call, run
from databricks_file_arrivals.workspace.files import write_file
from databricks_file_arrivals.workspace.gate import ConsumerWatch, Gate, due
from databricks_file_arrivals.workspace.watch import Look
from tests.airflow_side import Log, Signals


def reason(log: Log, consumer: str, names: Names | None = None) -> str:
    return run(due(names or log.names, consumer, warehouse_id=log.hook.warehouse_id), log.hook.call)


def test_it_opens_for_an_unclaimed_batch_and_stays_open(log: Log) -> None:
    consumer = log.consumer()
    assert reason(log, consumer) == ""
    stream = log.land({"/in/a": 1})
    assert stream in reason(log, consumer)
    assert reason(log, consumer) != "", "asking changes nothing"
    row = log.ledger.consumer(consumer)
    assert row is not None
    log.ledger.swap(row, "claim", {**row.cursor, stream: 0})
    log.ledger.settle(consumer, row.epoch + 1, None, row.epoch + 1, row.now)
    assert reason(log, consumer) == ""
    log.land({"/in/a": 1}, stream)
    assert "batch 1" in reason(log, consumer)


def test_it_opens_when_something_is_to_be_looked_at_again(log: Log) -> None:
    consumer = log.consumer()
    row = log.ledger.consumer(consumer)
    assert row is not None
    log.ledger.swap(row, "claim", row.cursor)
    assert "looked at again" in reason(log, consumer), "a claim that was won and not settled"


def test_it_opens_for_a_consumer_without_a_row(log: Log) -> None:
    assert "no row yet" in reason(log, "nobody")


def test_a_doubled_row_and_a_missing_table_are_named(log: Log) -> None:
    log.hook.query(
        f"INSERT INTO {log.names.consumers.sql} (consumer, epoch) VALUES ('double', 1), ('double', 2)"
    )
    with pytest.raises(ConsumerDoubled, match="Delete all but the row with the highest epoch"):
        reason(log, "double")
    with pytest.raises(TableMissing, match="file-arrivals deploy"):
        reason(log, "default", Names.of("main.nowhere.file_log"))


class Asked:
    """A gate with pointers, which counts its statements."""

    def __init__(self, log: Log, signals: Signals, consumer: str) -> None:
        self.statements = 0
        self.log, self.consumer = log, consumer
        self.volume = SignalVolume.parse(signals.path)
        self.now = datetime.now(timezone.utc)
        self.gate = Gate(log.names, consumer, self.volume, lambda: self.now)

    def look(self, newest: dict[str, int], reconciled: int = 0) -> str:
        return run(self.gate.look(Look(newest, reconciled), self.log.hook.warehouse_id), self.call)

    def confirm(self, newest: dict[str, int]) -> str:
        return run(self.gate.confirm(Look(newest), self.log.hook.warehouse_id), self.call)

    def call(self, request: Call) -> Answer:
        self.statements += request.method == "POST"
        return self.log.hook.call(request)

    def point(self, **changes: Any) -> None:
        """What an operator does after a claim."""
        row = self.log.ledger.consumer(self.consumer)
        assert row is not None
        pointer = ConsumerPointer(str(self.log.names.log), self.consumer, row.epoch, row.cursor, row.next_due)
        text = replace(pointer, **changes).text().encode()
        run(write_file(self.volume.consumer(self.consumer), text), self.log.hook.call)


@pytest.fixture
def asked(log: Log, new_signals: Callable[[], Signals]) -> Asked:
    return Asked(log, new_signals(), log.consumer())


def test_while_pointers_agree_no_statement_is_made(asked: Asked) -> None:
    asked.point(cursor={"s": 4})
    assert asked.look({"s": 4}) == "" and asked.look({"s": 3}) == ""
    assert "batch 5" in asked.look({"s": 5}) and asked.look({"s": 5}) != "", "it stays so"
    asked.point(epoch=1, cursor={"s": 5})
    assert asked.look({"s": 5}) == "" and asked.statements == 0


def test_what_is_to_be_looked_at_again_is_due_by_its_pointer(asked: Asked) -> None:
    asked.point(next_due=asked.now + timedelta(minutes=1))
    assert asked.look({}) == ""
    asked.now += timedelta(minutes=1)
    assert "looked at again" in asked.look({}) and asked.statements == 0


def test_a_stale_pointer_costs_one_look_and_is_named_once(
    asked: Asked, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "databricks_file_arrivals.workspace.gate")
    stream = log.land({"/in/a": 1})
    asked.point()
    row = log.ledger.consumer(asked.consumer)
    assert row is not None
    log.ledger.swap(row, "claim", {**row.cursor, stream: 0})
    log.ledger.settle(asked.consumer, row.epoch + 1, None, row.epoch + 1, row.now)
    assert "batch 0" in asked.look({stream: 0}), "the pointer is old"
    assert asked.confirm({stream: 0}) == ""
    before = asked.statements
    assert asked.look({stream: 0}) == "" and asked.statements == before
    asked.point(epoch=0, cursor={})
    assert asked.look({stream: 0}) == "", "an older word does not undo what the tables said"
    for _ in range(2):
        assert "batch 1" in asked.look({stream: 1})
    (line,) = [r.getMessage() for r in caplog.records]
    assert "is old: it says epoch 0, and the tables 1" in line


@pytest.mark.parametrize("trouble", ["lost", "torn", "of another consumer", "of another log"])
def test_without_a_pointer_the_tables_are_asked_once(
    asked: Asked, log: Log, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    if trouble == "torn":
        run(write_file(asked.volume.consumer(asked.consumer), b"{"), log.hook.call)
    elif trouble == "of another consumer":
        asked.point(consumer="x")
    elif trouble == "of another log":
        asked.point(log_table="main.x.y")
    row = log.ledger.consumer(asked.consumer)
    assert row is not None
    assert asked.look(dict(row.cursor)) == "" and asked.statements == 2
    assert asked.look(dict(row.cursor)) == "" and asked.statements == 2
    assert "pointer" in caplog.text and asked.consumer in caplog.text


def test_a_pointer_beyond_the_log_is_no_reason_for_ever(asked: Asked, log: Log) -> None:
    stream = log.land({"/in/a": 1})
    consumer = Asked(log, Signals(asked.volume.path, Path(), ""), log.consumer())
    consumer.point()
    assert "batch 9" in consumer.look({stream: 9}) and consumer.confirm({stream: 9}) == ""
    assert consumer.look({stream: 9}) == ""
    log.land({"/in/a": 1}, stream)
    assert "batch 1" in consumer.look({stream: 9}, reconciled=1), (
        "what is hidden by it is found by the tables"
    )


def test_a_consumer_that_nobody_has_made_is_due(log: Log, new_signals: Callable[[], Signals]) -> None:
    made = Asked(log, new_signals(), "nobody yet")
    assert "no row yet" in made.look({}) and "no row yet" in made.look({})


def test_one_who_waits_asks_the_tables_before_it_says_so(
    log: Log, new_signals: Callable[[], Signals]
) -> None:
    signals, consumer = new_signals(), log.consumer()
    asked = Asked(log, signals, consumer)
    asked.point()
    watch = ConsumerWatch.of(str(log.names.log), consumer, signals.path, 3600.0)
    signals.point(log, "ghost", 7)
    assert run(watch.look(log.hook.warehouse_id), asked.call) == "" and asked.statements == 2
    assert run(watch.look(log.hook.warehouse_id), asked.call) == "" and asked.statements == 2
    stream = log.land({"/in/a": 1})
    signals.point(log, stream, 0)
    assert stream in run(watch.look(log.hook.warehouse_id), asked.call)
    with pytest.raises(BadInput, match="/Volumes/catalog/schema/volume"):
        ConsumerWatch.of(str(log.names.log), consumer, "/tmp/x", 3600.0)
