"""What is written to the log's tables is what is read, on real Delta."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import datetime, timezone

import pytest

from databricks_file_arrivals.core.errors import (
    BadInput,
    ConsumerDoubled,
    LedgerError,
    TableDiffers,
    TableMissing,
)
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status, trigger_id
from databricks_file_arrivals.core.tables import TRIGGER_LOG, VERSION_PROPERTY, Names
from databricks_file_arrivals.workspace import ledger
from databricks_file_arrivals.workspace.ledger import Consumer, Ledger
from tests.airflow_side import Log

ODD = "/in/it's; DROP TABLE x;--\n\"`\\ %41 é 名 $'{a}"
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc)


def full_row(consumer: str, claim_id: str) -> LogRow:
    """A row with a value in every column."""
    row = LogRow(
        status=Status.ERROR,
        consumer=consumer,
        claim_id=claim_id,
        epoch=7,
        directory=ODD,
        table_name=ODD,
        workflow_name=ODD,
        run_id=2**40,
        job_trigger_time=WHEN,
        attempt=1,
        rule_id="r",
        stream_id="s",
        from_batch=3,
        to_batch=2**33,
        directories={ODD: Range(2, 2**33), "/in/b": Range(-1, 0)},
        file_pattern="*.csv",
        excluded_patterns=("a*", "b?"),
        file_count=3,
        total_bytes=2**50,
        first_arrival_at=WHEN,
        last_arrival_at=WHEN,
        job_id=2**50,
        job_parameters={"directory": ODD, "": "empty"},
        started_run_id=5,
        replay_of="x",
        waits_for=("min_files", ODD),
        completion_marker=ODD,
        error=ODD,
        dag_id="d",
        dag_run_id="dr",
        task_id="t",
        try_number=2,
    )
    return replace(row, trigger_id=trigger_id(row, 1))


def consumer_at(consumer: str, claim_id: str) -> Consumer:
    return Consumer(consumer, 7, claim_id, {}, 0, None, False, WHEN)


def test_the_fields_of_a_row_are_the_columns_of_the_table() -> None:
    assert {f.name for f in fields(LogRow)} == {c.name for c in TRIGGER_LOG.columns}


def test_a_row_comes_back_as_it_was_and_computes_the_same_token(log: Log) -> None:
    row = full_row("round trip", "claim-1")
    log.ledger.append([row])
    (back,) = log.ledger.open_rows(consumer_at("round trip", "claim-1"))
    assert replace(back, recorded_at=None) == row
    assert back.recorded_at is not None
    assert trigger_id(back, 1) == row.trigger_id


def test_open_rows_are_what_failed_what_was_accepted_and_a_claim_that_is_not_closed(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(full_row("open", f"claim-{i}"), epoch=i, trigger_id=f"{i}") for i in range(1, 7)]
    failed, accepted, over, again, current, waiting = rows
    over = replace(over, status=Status.TRIGGERED)
    planned = replace(current, status=Status.PLANNED, trigger_id="a")
    waiting = replace(waiting, epoch=4, status=Status.PLANNED)
    begun = replace(waiting, trigger_id="begun")
    accepted = replace(accepted, status=Status.TRIGGERED)
    again = replace(again, status=Status.PLANNED, attempt=2)
    current = LogRow(status=Status.CLAIMED, consumer="open", claim_id="claim-5", epoch=5)
    log.ledger.append([failed, replace(failed, status=Status.PLANNED), accepted, over, again, planned])
    log.ledger.append([replace(over, status=Status.SUCCEEDED)])
    log.ledger.append([waiting, begun, replace(begun, status=Status.SUCCEEDED)])
    void = [replace(waiting, claim_id="lost", trigger_id="void")]
    log.ledger.append([*void, replace(current, status=Status.CLAIMED, claim_id="claim-6", trigger_id=None)])
    monkeypatch.setattr(ledger, "_PAGE", 3)  # the rows are more than one page
    now = Consumer("open", 5, "claim-5", {}, 1, None, False, WHEN)
    left = {
        ("claim-1", Status.ERROR): 1,
        ("claim-1", Status.PLANNED): 1,
        ("claim-2", Status.TRIGGERED): 1,
        ("claim-4", Status.PLANNED): 1,
        ("claim-6", Status.PLANNED): 1,
    }
    found = log.ledger.open_rows(now)
    assert Counter((r.claim_id, r.status) for r in found) == {**left, ("claim-5", Status.PLANNED): 1}
    log.ledger.append([current])
    found = log.ledger.open_rows(now)
    left_over = {("claim-5", Status.PLANNED): 1, ("claim-5", Status.CLAIMED): 1}
    assert Counter((r.claim_id, r.status) for r in found) == {**left, **left_over}
    later = log.ledger.open_rows(replace(now, open_from=2))
    assert {r.claim_id for r in later} == {"claim-2", "claim-4", "claim-5", "claim-6"}


def test_a_request_is_all_of_its_attempts_and_the_end_of_its_claim(log: Log) -> None:
    first = full_row("requested", "claim-r")
    second = replace(first, attempt=2, status=Status.PLANNED)
    second = replace(second, trigger_id=trigger_id(second, 2))
    other = replace(first, from_batch=4)
    closed = LogRow(status=Status.CLAIMED, consumer="requested", claim_id="claim-r", epoch=7)
    log.ledger.append([first, second, replace(other, trigger_id=trigger_id(other, 1)), closed])
    for asked in (first, second):
        found = log.ledger.request(str(asked.trigger_id))
        assert found.now is not None
        assert Counter((r.trigger_id, r.status) for r in found.rows) == {
            (first.trigger_id, Status.ERROR): 1,
            (second.trigger_id, Status.PLANNED): 1,
            (None, Status.CLAIMED): 1,
        }
    assert log.ledger.request("0" * 64).rows == ()


def test_a_replay_counts_from_the_swap_on_for_all_later_attempts(log: Log) -> None:
    name = log.consumer()
    row = log.ledger.consumer(name)
    assert row is not None
    first = full_row(name, "replayed")
    second = replace(first, attempt=2, trigger_id=trigger_id(first, 2))
    other = replace(first, from_batch=4)
    other = replace(other, trigger_id=trigger_id(other, 1))
    replays = replace(first, epoch=8, claim_id="replays", status=Status.PLANNED, replay_of=first.trigger_id)
    log.ledger.append([replace(replays, trigger_id=trigger_id(replays, 1))])
    assert log.ledger.replayed(name, [first, second, other]) == set(), "planned, and not claimed"
    log.ledger.swap(row, "replays", {})
    assert log.ledger.replayed(name, [second, other]) == {second.trigger_id}, "its runs may be starting"
    now = log.ledger.consumer(name)
    assert now is not None
    log.ledger.append([LogRow(status=Status.CLAIMED, consumer=name, claim_id="replays", epoch=8)])
    log.ledger.swap(now, "the next", {})
    assert log.ledger.replayed(name, [first]) == {first.trigger_id}
    assert log.ledger.replayed(name, []) == set()


def test_a_large_plan_is_written_in_several_statements(log: Log) -> None:
    rows = [replace(full_row("large", "claim-1"), trigger_id=str(i), error="x" * 400_000) for i in range(4)]
    log.ledger.append(rows)
    there = Counter(log.ledger.statuses({"claim-1": 7}))
    assert there >= Counter(("claim-1", Status.ERROR, str(i)) for i in range(4))


def test_the_swap_takes_one_epoch_once(log: Log) -> None:
    name = log.consumer()
    row = log.ledger.consumer(name)
    assert row is not None
    assert log.ledger.swap(row, "mine", {"s": 4})
    assert not log.ledger.swap(row, "too late", {"s": 9})
    now = log.ledger.consumer(name)
    assert now is not None
    assert (now.epoch, now.claim_id, now.cursor, now.overdue) == (row.epoch + 1, "mine", {"s": 4}, True)
    log.ledger.settle(name, row.epoch, WHEN, 0, WHEN)
    after = log.ledger.consumer(name)
    assert after is not None and after.next_due == now.next_due, "who has not this epoch settles nothing"
    log.ledger.settle(name, now.epoch, None, now.epoch, WHEN)
    settled = log.ledger.consumer(name)
    assert settled is not None and settled.next_due is None and settled.open_from == now.epoch
    assert settled.updated_at == WHEN != now.updated_at


def test_a_consumer_is_made_once_and_one_that_was_deleted_is_not_made_again(log: Log) -> None:
    log.ledger.make_consumer("made again", {"s": 3})
    log.ledger.make_consumer("made again", "earliest")
    row = log.ledger.consumer("made again")
    assert row is not None and row.cursor == {"s": 3}
    log.ledger.append([full_row("made again", "claim-1")])
    log.hook.query(f"DELETE FROM {log.names.consumers.sql} WHERE consumer = 'made again'")
    with pytest.raises(LedgerError, match=r"was deleted .* RESTORE TABLE"):
        log.ledger.make_consumer("made again", "latest")
    with pytest.raises(BadInput, match="whole numbers"):
        log.ledger.make_consumer("another", {"s": "x"})  # type: ignore[dict-item]  # as a DAG may say it


def test_a_start_that_is_none_of_the_three_is_refused(log: Log) -> None:
    with pytest.raises(BadInput, match="'latest', 'earliest'"):
        log.ledger.make_consumer("x", "newest")


def test_a_doubled_consumer_is_an_error(log: Log) -> None:
    log.hook.query(f"INSERT INTO {log.names.consumers.sql} (consumer, epoch) VALUES ('two', 1), ('two', 2)")
    with pytest.raises(ConsumerDoubled, match="'two' has 2 rows"):
        log.ledger.consumer("two")


def test_a_missing_log_and_one_of_another_version_are_named(log: Log) -> None:
    missing = Ledger(log.hook, Names.of("main.nowhere.file_log"))
    with pytest.raises(TableMissing, match="file-arrivals deploy"):
        missing.check_version()
    no_mapping = Ledger(log.hook, replace(log.names, mapping=log.names.log.derive("_typo")))
    with pytest.raises(TableMissing, match="file_log_typo does not exist"):
        no_mapping.mapping()
    other = log.names.log.derive("_other")
    log.hook.query(
        f"CREATE TABLE {other.sql} (a INT) USING DELTA TBLPROPERTIES ('{VERSION_PROPERTY}' = '99')"
    )
    with pytest.raises(TableDiffers, match="99, not 1"):
        Ledger(log.hook, Names.of(str(other))).check_version()
