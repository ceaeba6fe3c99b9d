"""Cursors saved and restored: a consumer made anew, or moved by a claim."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from databricks_file_arrivals.core.cursors import Move, SavedCursor, moves, target
from databricks_file_arrivals.core.errors import BadInput, ChangedSince
from databricks_file_arrivals.core.planning import Claim
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.claims import Claimer, Options, Planned
from databricks_file_arrivals.workspace.jobs import JobsApi
from databricks_file_arrivals.workspace.ledger import Consumer, Ledger
from databricks_file_arrivals.workspace.log_tables import LogTables
from databricks_file_arrivals.workspace.replays import Workspace


class Cursors(LogTables):
    """The consumers' cursors."""

    def saved(self, row: Consumer) -> SavedCursor:
        """What is saved of a consumer."""
        return SavedCursor(row.consumer, row.epoch, row.cursor)

    def files(self, moved: Move) -> int:
        """How many files the arrival log has in the batches of a move."""
        rows = self._query(
            f"SELECT count(*) AS files FROM {self.names.arrivals.sql} "
            "WHERE stream_id = :stream AND batch_id > :low AND batch_id <= :high",
            {"stream": moved.stream_id, "low": moved.low, "high": moved.high},
        )
        return int(rows[0]["files"])

    def unknown(self, cursor: Mapping[str, int]) -> list[str]:
        """Those streams of a cursor that have never logged anything here."""
        known = {r["stream_id"] for r in self._query(f"SELECT stream_id FROM {self.names.streams.sql}")}
        return sorted(set(cursor) - known)

    def make(self, saved: SavedCursor) -> None:
        """Make the consumer where the cursor was, unless it is there. Its epoch goes on from the saved one's
        and from the log's newest, whichever is higher, so that none is repeated."""
        self._query(
            f"""MERGE INTO {self.names.consumers.sql} c USING (
  SELECT :consumer AS consumer, greatest(:epoch, coalesce(max(epoch), 0)) AS epoch
  FROM {self.names.log.sql} WHERE consumer = :consumer
) n ON c.consumer = n.consumer
WHEN NOT MATCHED THEN INSERT (consumer, epoch, cursor, open_from, next_due, updated_at)
VALUES (n.consumer, n.epoch, from_json(:cursor, 'MAP<STRING,BIGINT>'), 0, current_timestamp(),
  current_timestamp())""",
            {
                "consumer": saved.consumer,
                "epoch": saved.epoch,
                "cursor": json.dumps(dict(saved.cursor)),
            },
        )

    def raise_epoch(self, consumer: str, epoch: int, to: int) -> None:
        """Let the epochs go on from a higher one, unless another claim was won since."""
        self._query(
            f"UPDATE {self.names.consumers.sql} SET epoch = :to "
            "WHERE consumer = :consumer AND epoch = :epoch AND :to > epoch",
            {"consumer": consumer, "epoch": epoch, "to": to},
        )


class Mover(Claimer):
    """Moves a consumer's cursor by a claim that starts nothing: what operators do at the same time is decided
    by the same compare-and-swap."""

    def __init__(self, workspace: Workspace, names: Names, consumer: str) -> None:
        options = Options(consumer, str(names.log))
        super().__init__(Ledger(workspace, names), ArrivalLog(workspace, names), JobsApi(workspace), options)
        self.cursors = Cursors(workspace, names)

    def consumer(self) -> Consumer | None:
        """The consumer's row, or None."""
        self._ledger.check_version()
        return self._ledger.consumer(self._options.consumer)

    def move(self, shown: Consumer, saved: SavedCursor) -> None:
        """Move the consumer from where it was shown to be. Raises ChangedSince when it is not there any
        more, or when its last claim is not finished."""
        row = self._consumer()
        if row.epoch != shown.epoch or row.cursor != shown.cursor:
            raise ChangedSince(
                f"The consumer {row.consumer!r} claimed something since it was shown. Nothing was changed."
            )
        starts = self._starts()
        self.finish_last(row, starts)
        claim = Claim(row.consumer, uuid.uuid4().hex, row.epoch + 1, self._options.log_table)
        if not self.claim(row, starts, Planned(claim, (), target(row.cursor, saved.cursor)), None):
            raise ChangedSince(
                f"Another operator took the epoch of the consumer {row.consumer!r}. Nothing was changed."
            )
        if saved.epoch > claim.epoch:
            self.cursors.raise_epoch(row.consumer, claim.epoch, saved.epoch)


def shown_moves(cursors: Cursors, row: Consumer, saved: SavedCursor) -> list[tuple[Move, int]]:
    """What moving would do in each stream, and to how many files. Raises BadInput for another consumer."""
    if row.consumer != saved.consumer:
        raise BadInput(f"The cursor is of the consumer {saved.consumer!r}, not of {row.consumer!r}.")
    return [(each, cursors.files(each)) for each in moves(row.cursor, saved.cursor)]
