"""Rows of the trigger log as texts of bounded size, whole and in order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.errors import LedgerError
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status
from databricks_file_arrivals.workspace.log_rows import WRITTEN, chunks, read_log_row, write_log_row


@given(st.lists(st.integers(1, 600_000), max_size=8))
def test_chunks_hold_all_rows_in_order_and_only_a_large_row_makes_a_large_chunk(sizes: list[int]) -> None:
    rows = [json.dumps("x" * size) for size in sizes]
    made = list(chunks(rows))
    assert [json.dumps(row) for chunk in made for row in json.loads(chunk)] == rows
    assert all(len(chunk) <= 1_000_100 or len(json.loads(chunk)) == 1 for chunk in made)


def test_a_row_is_written_without_its_nulls_and_read_back_as_it_was() -> None:
    row = LogRow(
        status=Status.HELD,
        consumer="c",
        claim_id="x",
        epoch=1,
        directories={"/in/'\n": Range(-1, 4)},
        excluded_patterns=("a*",),
        waits_for=("min_files",),
    )
    values = json.loads(write_log_row(row))
    assert set(values) < {c.name for c in WRITTEN} and None not in values.values()
    assert read_log_row(values) == row


def test_a_row_that_was_edited_is_named() -> None:
    identity = {"consumer": "c", "claim_id": "x", "epoch": 1}
    values = {**identity, "status": "HELD", "trigger_id": "abc", "directories": {"/in/a": None}}
    with pytest.raises(LedgerError, match="abc has a directory without its batches"):
        read_log_row(values)


def test_columns_of_others_are_left_alone() -> None:
    values = {"status": "CLAIMED", "consumer": "c", "claim_id": "x", "epoch": 1, "theirs": 5}
    assert read_log_row(values) == LogRow(status=Status.CLAIMED, consumer="c", claim_id="x", epoch=1)
