"""A saved cursor comes back as it was, and what moving to it does is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.cursors import Move, SavedCursor, moves, target
from databricks_file_arrivals.core.errors import BadInput

CURSORS = st.dictionaries(st.sampled_from("abc"), st.integers(-1, 9))


@given(st.text(min_size=1), st.integers(0), CURSORS)
def test_a_cursor_comes_back(consumer: str, epoch: int, cursor: dict[str, int]) -> None:
    saved = SavedCursor(consumer, epoch, cursor)
    assert SavedCursor.parse(json.dumps(saved.document())) == saved


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"consumer": ""}, "consumer"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"cursor": {"s": "5"}}, "cursor"),
        ({"cursor": None}, "cursor"),
        ({"schema_version": 99}, "schema version 99"),
    ],
)
def test_what_is_no_cursor_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        SavedCursor.parse(json.dumps({**SavedCursor("c", 1, {"s": 2}).document(), **change}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no saved cursor"):
        SavedCursor.parse(text)


def test_moves_say_what_is_skipped_and_what_is_seen_again() -> None:
    assert moves({"back": 5, "same": 2, "gone": 0}, {"back": 3, "same": 2, "new": 4}) == (
        Move("back", 3, 5, again=True),
        Move("gone", -1, 0, again=True),
        Move("new", -1, 4, again=False),
    )


@given(CURSORS, CURSORS)
def test_the_target_is_where_the_saved_cursor_stood(before: dict[str, int], after: dict[str, int]) -> None:
    claimed = {**before, **target(before, after)}
    assert moves(claimed, after) == ()
