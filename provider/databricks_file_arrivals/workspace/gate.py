"""Whether there is something to plan for a consumer: the one question of sensors and triggers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone

from databricks_file_arrivals.core.errors import Refused, SignalTorn
from databricks_file_arrivals.core.signals import ConsumerPointer, SignalVolume
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import newer_than
from databricks_file_arrivals.workspace.exchange import Exchange
from databricks_file_arrivals.workspace.files import read_file
from databricks_file_arrivals.workspace.ledger import Consumer, ask_consumer, read_consumer
from databricks_file_arrivals.workspace.watch import Look, StreamWatch, select

log = logging.getLogger(__name__)

_NO_ROW = -1  # the epoch of a consumer that nobody has made yet


def due(names: Names, consumer: str, *, warehouse_id: str) -> Exchange[str]:
    """Why an operator should run now, by the tables, in words for the log; "" when there is no reason.

    Level-triggered: it stays so until an operator has claimed, whoever asks and however often. Raises
    TableMissing, ConsumerDoubled, and what the client raises.
    """
    _, reason = yield from _examine(names, consumer, warehouse_id)
    return reason


def _examine(names: Names, consumer: str, warehouse_id: str) -> Exchange[tuple[Consumer | None, str]]:
    """The consumer's row, and the reason."""
    row = yield from _row(names, consumer, warehouse_id)
    if row is None:
        return None, _no_row(consumer)
    if row.overdue:
        return row, f"something was to be looked at again at {row.next_due}"
    newer, bound = newer_than(row.cursor)
    found = yield from select(
        names,
        warehouse_id,
        f"SELECT stream_id, batch_id FROM {names.arrivals.sql} WHERE {newer} LIMIT 1",
        bound,
    )
    return row, _not_claimed(found[0]["stream_id"], found[0]["batch_id"]) if found else ""


def _row(names: Names, consumer: str, warehouse_id: str) -> Exchange[Consumer | None]:
    rows = yield from select(names, warehouse_id, *ask_consumer(names, consumer))
    return read_consumer(rows, names, consumer)


def _no_row(consumer: str) -> str:
    return f"the consumer {consumer!r} has no row yet"


def _not_claimed(stream: str, batch: int) -> str:
    return f"batch {batch} of stream {stream} is not claimed"


class Gate:
    """The same question, asked again and again by who watches the streams too.

    With a signal volume the answer rests on pointers, until `confirm` asks the tables, and costs nothing
    while the streams are where the consumer is. Without one the look has read the tables.
    """

    def __init__(
        self,
        names: Names,
        consumer: str,
        volume: SignalVolume | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._names = names
        self._consumer = consumer
        self._volume = volume
        self._clock = clock
        self._known: ConsumerPointer | None = None
        self._ahead = timedelta()  # of the warehouse's clock
        self._void: Mapping[str, int] = {}
        self._reconciled = 0
        self._trouble = ""

    @property
    def epoch(self) -> int:
        """The newest claim of the consumer that is known here."""
        return self._known.epoch if self._known else _NO_ROW

    def look(self, look: Look, warehouse_id: str) -> Exchange[str]:
        """Why an operator should run, given what the streams look like; "" when there is no reason.

        Raises what `due` raises.
        """
        if look.consumers is not None:
            rows = look.consumers.get(self._consumer, ())
            self._take(read_consumer(rows, self._names, self._consumer))
            return self._reason(look)
        if self._volume is None or look.reconciled != self._reconciled:
            self._reconciled = look.reconciled
            return (yield from self.confirm(look, warehouse_id))
        file = self._volume.consumer(self._consumer)
        if self._known is None and not (yield from self._learn(file)):
            return (yield from self.confirm(look, warehouse_id))
        reason = self._reason(look)
        if reason and (yield from self._learn(file)):
            reason = self._reason(look)
        return reason

    def confirm(self, look: Look, warehouse_id: str) -> Exchange[str]:
        """The same by the tables, whatever pointers say. Raises what `due` raises."""
        row, reason = yield from _examine(self._names, self._consumer, warehouse_id)
        self._take(row)
        if not reason:
            self._void = dict(look.newest)  # what pointers say beyond the tables is no reason
        return reason

    def _take(self, row: Consumer | None) -> None:
        if row is None:
            self._known = self._pointer(_NO_ROW, {})
        else:
            self._ahead = row.now - self._clock()
            self._known = self._pointer(row.epoch, row.cursor, row.next_due)

    def _pointer(
        self, epoch: int, cursor: Mapping[str, int], next_due: datetime | None = None
    ) -> ConsumerPointer:
        return ConsumerPointer(str(self._names.log), self._consumer, epoch, cursor, next_due)

    def _learn(self, file: str) -> Exchange[bool]:
        """Take up how far the consumer is by now. False: there is no pointer to learn it from, which is named
        once."""
        try:
            found = ConsumerPointer.parse((yield from read_file(file)))
            if not found.is_of(self._names.log, self._consumer):
                raise SignalTorn(f"it is of the consumer {found.consumer!r} of {found.log_table}")
        except (SignalTorn, Refused) as error:
            if str(error) != self._trouble:
                log.warning("the tables are asked, because the pointer %s is not used: %s", file, error)
            self._trouble = str(error)
            return False
        old = f"it says epoch {found.epoch}, and the tables {self.epoch}" if found.epoch < self.epoch else ""
        if old and old != self._trouble:
            log.info("the pointer %s is old: %s. Is an operator at work, or can it not write it?", file, old)
        self._trouble = old
        if not old:
            self._known = found
        return True

    def _reason(self, look: Look) -> str:
        known = self._known
        if known is None or known.epoch == _NO_ROW:
            return _no_row(self._consumer)
        for stream, batch in sorted(look.newest.items()):
            if batch > max(known.cursor.get(stream, -1), self._void.get(stream, -1)):
                return _not_claimed(stream, batch)
        if known.next_due is not None and known.next_due <= self._clock() + self._ahead:
            return f"something was to be looked at again at {known.next_due}"
        return ""


class ConsumerWatch:
    """The streams and the gate of one consumer, for who waits for one thing to become due, once."""

    def __init__(
        self, names: Names, consumer: str, volume: SignalVolume | None, reconcile_every: float
    ) -> None:
        self._names = names
        self._consumer = consumer
        self._streams = StreamWatch(names, volume, reconcile_every) if volume else None
        self._gate = Gate(names, consumer, volume)

    @classmethod
    def of(
        cls, log_table: str, consumer: str, signal_volume: str | None, reconcile_every: float
    ) -> ConsumerWatch:
        """Read what a user gives. Raises BadInput."""
        volume = SignalVolume.parse(signal_volume) if signal_volume else None
        return cls(Names.of(log_table), consumer, volume, reconcile_every)

    def look(self, warehouse_id: str) -> Exchange[str]:
        """Why an operator should run now, by the tables; "" when there is no reason. The tables are asked
        only where pointers say that there is one, or cannot tell. Raises what `due` raises."""
        if self._streams is None:
            return (yield from self.confirm(warehouse_id))
        look = yield from self._streams.look(warehouse_id)
        if not (yield from self._gate.look(look, warehouse_id)):
            return ""
        return (yield from self._gate.confirm(look, warehouse_id))

    def confirm(self, warehouse_id: str) -> Exchange[str]:
        """The same by the tables, whatever pointers say."""
        return (yield from due(self._names, self._consumer, warehouse_id=warehouse_id))
