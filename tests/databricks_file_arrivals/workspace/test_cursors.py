"""A consumer is made where a saved one stood, or moved there by a claim."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from databricks_file_arrivals.core.cursors import SavedCursor
from databricks_file_arrivals.core.errors import BadInput, ChangedSince
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.workspace.cursors import Cursors, Mover, shown_moves
from tests.airflow_side import Log


def test_a_consumer_made_again_repeats_no_epoch(log: Log) -> None:
    consumer, cursors = f"c-{uuid.uuid4().hex[:8]}", Cursors(log.hook, log.names)
    log.ledger.append([LogRow(status=Status.CLAIMED, consumer=consumer, claim_id="x", epoch=9)])
    cursors.make(SavedCursor(consumer, 4, {"s": 3}))
    cursors.make(SavedCursor(consumer, 99, {"s": 99}))  # it is there: nothing happens
    row = log.ledger.consumer(consumer)
    assert row is not None and (row.epoch, row.cursor, row.open_from) == (9, {"s": 3}, 0)
    assert cursors.saved(row) == SavedCursor(consumer, 9, {"s": 3})


def test_a_move_is_a_claim_and_its_epoch_only_goes_up(log: Log) -> None:
    consumer = f"c-{uuid.uuid4().hex[:8]}"
    mover = Mover(log.hook, log.names, consumer)
    mover.cursors.make(SavedCursor(consumer, 5, {"s": 3, "t": 1}))
    shown = mover.consumer()
    assert shown is not None
    with pytest.raises(ChangedSince, match="since it was shown"):
        mover.move(replace(shown, epoch=4), SavedCursor(consumer, 2, {}))
    mover.move(shown, SavedCursor(consumer, 2, {"s": 7}))
    moved = log.ledger.consumer(consumer)
    assert moved is not None and (moved.epoch, moved.cursor) == (6, {"s": 7, "t": -1})
    assert [status for _, status, _ in log.ledger.statuses({moved.claim_id or "": 6})] == [Status.CLAIMED]
    mover.move(moved, SavedCursor(consumer, 40, {"s": 7, "t": 2}))
    raised = log.ledger.consumer(consumer)
    assert raised is not None and (raised.epoch, raised.cursor) == (40, {"s": 7, "t": 2})
    with pytest.raises(BadInput, match="not of"):
        shown_moves(mover.cursors, raised, SavedCursor("other", 1, {}))
