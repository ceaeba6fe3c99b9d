"""How far the streams are: from their pointers on the signal volume, or from the arrival log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from databricks_file_arrivals.core.errors import Refused, SignalTorn, StatementFailed
from databricks_file_arrivals.core.signals import SUFFIX, SignalVolume, StreamPointer
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import newer_than
from databricks_file_arrivals.workspace.exchange import Exchange
from databricks_file_arrivals.workspace.files import Entry, list_files, read_file
from databricks_file_arrivals.workspace.ledger import ask_consumers
from databricks_file_arrivals.workspace.log_tables import table_missing
from databricks_file_arrivals.workspace.statements import execute

log = logging.getLogger(__name__)

RECONCILE_EVERY = 3600.0
"""Seconds between two looks at the tables where a signal volume says what is new."""

_SAME_TIME = 1.0  # seconds: storages tell the time of a file no finer, so what was just written is read twice


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the newest batch of each stream.

    `reconciled`: how often the tables were asked so far because it was time to, or because pointers could not
    be used. `consumers`: without pointers, the rows of all consumers, by name.
    """

    newest: Mapping[str, int]
    reconciled: int = 0
    consumers: Mapping[str, Sequence[Mapping[str, Any]]] | None = None


@dataclass(slots=True)
class _Seen:
    """A pointer's file as it was when its version was first seen."""

    version: tuple[int, int]
    at: float
    again: bool = False
    """Whether it was read again, a while later."""


class StreamWatch:
    """The newest batch of each stream, look by look: with a signal volume for one call, and one or two for
    each pointer that was written since; else for two statements, which tell of all consumers too.

    A pointer that is missing, torn or forbidden is named in the log, and the tables are asked: at once, and
    then every `reconcile_every` seconds, as they are anyway. With `reconcile_first` the first look asks them.
    """

    def __init__(
        self,
        names: Names,
        volume: SignalVolume | None = None,
        reconcile_every: float = RECONCILE_EVERY,
        clock: Callable[[], float] = time.monotonic,
        *,
        reconcile_first: bool = False,
    ) -> None:
        self._names = names
        self._volume = volume
        self._every = reconcile_every
        self._clock = clock
        self._newest: dict[str, int] = {}
        self._told: dict[str, int] = {}  # by pointers alone
        self._files: dict[str, _Seen] = {}
        self._reconcile_at = clock() + (0.0 if reconcile_first else reconcile_every)
        self._reconciled = 0
        self._trouble = ""

    def look(self, warehouse_id: str) -> Exchange[Look]:
        """Look once. Raises TableMissing, and what the client raises."""
        if self._volume is None:
            yield from self._ask(warehouse_id)
            return Look(dict(self._newest), consumers=(yield from self._consumers(warehouse_id)))
        yield from self._read_pointers(self._volume)
        if self._clock() >= self._reconcile_at:
            if self._trouble:
                log.warning(
                    "the tables are asked, now and every %.0f s, because %s", self._every, self._trouble
                )
            found = yield from self._ask(warehouse_id)
            if found and not self._trouble:
                yield from self._read_pointers(self._volume)  # a pointer is written after its batch
                self._name_untold(found, self._volume)
            self._reconcile_at = self._clock() + self._every
            self._reconciled += 1
        return Look(dict(self._newest), self._reconciled)

    def _ask(self, warehouse_id: str) -> Exchange[dict[str, int]]:
        """Ask the arrival log for batches that are newer than those that are known: of each stream the
        newest."""
        newer, bound = newer_than(self._newest)
        statement = (
            f"SELECT stream_id, max(batch_id) AS batch_id FROM {self._names.arrivals.sql} "
            f"WHERE {newer} GROUP BY stream_id"
        )
        rows = yield from select(self._names, warehouse_id, statement, bound)
        found = {r["stream_id"]: r["batch_id"] for r in rows}
        self._newest |= found
        return found

    def _name_untold(self, logged: Mapping[str, int], volume: SignalVolume) -> None:
        """Name the batches that no pointer tells of. A stream without any may be one that has ended."""
        for stream, batch in logged.items():
            told = self._told.get(stream)
            if told is None or told < batch:
                log.log(
                    logging.INFO if told is None else logging.WARNING,
                    "batch %d of stream %s is logged, and its pointer %s: can the stream job write to %s?",
                    *(batch, stream, "is not there" if told is None else f"says {told}", volume.streams),
                )

    def _consumers(self, warehouse_id: str) -> Exchange[dict[str, list[Mapping[str, Any]]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in (yield from select(self._names, warehouse_id, *ask_consumers(self._names))):
            found.setdefault(row["consumer"], []).append(row)
        return found

    def _read_pointers(self, volume: SignalVolume) -> Exchange[None]:
        now = self._clock()
        try:
            entries = yield from list_files(volume.streams)
        except Refused as error:
            self._say(
                f"{volume.streams} cannot be read: {error}. Give the stream job signal_volume, and this "
                "principal READ VOLUME"
            )
            return
        troubles = []
        for entry in entries:
            if entry.path.endswith(SUFFIX) and self._is_new(entry):
                trouble = yield from self._read_pointer(entry)
                self._note(entry, now)
                troubles += [f"{entry.path} {trouble}"] if trouble else []
        if troubles or entries:
            self._say("; ".join(troubles))
        else:
            self._say(f"{volume.streams} holds no pointer: does the stream job have this signal_volume?")

    def _is_new(self, entry: Entry) -> bool:
        """Whether the file may have been written since it was read."""
        seen = self._files.get(entry.path)
        return seen is None or seen.version != entry.version or not seen.again

    def _note(self, entry: Entry, now: float) -> None:
        """Remember that the file, as it was listed at `now`, has been read."""
        seen = self._files.get(entry.path)
        if seen is None or seen.version != entry.version:
            self._files[entry.path] = _Seen(entry.version, now)
        else:
            seen.again = now >= seen.at + _SAME_TIME

    def _read_pointer(self, entry: Entry) -> Exchange[str]:
        """Take up a stream's pointer; say what is wrong with it."""
        try:
            found = StreamPointer.parse((yield from read_file(entry.path)))
        except SignalTorn as error:
            return f"is torn: {error}"
        except Refused as error:
            return f"cannot be read: {error}"
        if not found.is_of(self._names.log):
            return f"is of another log, {found.log_table}: give each log a signal_volume of its own"
        self._told[found.stream_id] = found.batch_id
        self._newest[found.stream_id] = max(found.batch_id, self._newest.get(found.stream_id, -1))
        return ""

    def _say(self, trouble: str) -> None:
        """Name what is wrong, once, and let the tables be asked because of it."""
        if trouble and trouble != self._trouble:
            self._reconcile_at = self._clock()
        self._trouble = trouble


def select(
    names: Names, warehouse_id: str, statement: str, parameters: Mapping[str, Any]
) -> Exchange[list[Mapping[str, Any]]]:
    """The rows of a statement about the log's tables. Raises TableMissing, and what the client raises."""
    try:
        result = yield from execute(statement, parameters, warehouse_id=warehouse_id)
    except StatementFailed as error:
        raise table_missing(error, names) from error
    return list(result.rows)
