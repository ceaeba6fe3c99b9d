"""A consumer's cursor as a document, which outlives its table, and what moving to one would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.tables import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class SavedCursor:
    """How far a consumer had claimed. The version is that of the tables that it was taken from."""

    consumer: str
    epoch: int
    cursor: Mapping[str, int]
    schema_version: int = SCHEMA_VERSION

    def document(self) -> dict[str, Any]:
        """What is saved."""
        return {
            "consumer": self.consumer,
            "epoch": self.epoch,
            "cursor": dict(sorted(self.cursor.items())),
            "schema_version": self.schema_version,
        }

    @classmethod
    def parse(cls, text: str) -> SavedCursor:
        """Read what was saved. Raises BadInput, which says what is wrong with it."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise BadInput(f"This is no saved cursor, because it is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise BadInput("This is no saved cursor: write what `cursor export` wrote.")
        cursor = found.get("cursor")
        if not isinstance(cursor, dict) or not all(_is_number(batch, -1) for batch in cursor.values()):
            raise BadInput("The field cursor has to be {stream_id: batch_id}.")
        if not isinstance(found.get("consumer"), str) or not found["consumer"]:
            raise BadInput("The field consumer has to be a name.")
        if not _is_number(found.get("epoch"), 0):
            raise BadInput("The field epoch has to be a number of at least 0.")
        if found.get("schema_version") != SCHEMA_VERSION:
            raise BadInput(
                f"The cursor is of schema version {found.get('schema_version')}, and the tables of this "
                f"version have {SCHEMA_VERSION}: import it with the version that exported it."
            )
        return cls(found["consumer"], found["epoch"], cursor)


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True, slots=True)
class Move:
    """What moving a cursor does in one stream: the batches `low` < batch_id <= `high` are skipped, or seen
    again."""

    stream_id: str
    low: int
    high: int
    again: bool


def moves(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Move, ...]:
    """What moving from one cursor to another does, by stream. A stream that a cursor does not name is at its
    beginning.

    >>> moves({"a": 5, "b": 1}, {"a": 3, "b": 4})[0]
    Move(stream_id='a', low=3, high=5, again=True)
    """
    found = []
    for stream in sorted({*before, *after}):
        old, new = before.get(stream, -1), after.get(stream, -1)
        if old != new:
            found.append(Move(stream, min(old, new), max(old, new), new < old))
    return tuple(found)


def target(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The cursor to claim, so that a consumer at one stands at another: streams that it does not name begin
    anew."""
    return {stream: after.get(stream, -1) for stream in {*before, *after}}
