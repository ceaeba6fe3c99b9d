"""The gate is open exactly while something is due."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.errors import ConsumerDoubled, TableMissing
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.exchange import run
from databricks_file_arrivals.workspace.gate import due
from tests.airflow_side import Log


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
    log.ledger.settle(consumer, row.epoch + 1, None, row.epoch + 1)
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
