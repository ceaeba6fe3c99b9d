"""Pointers: small files on a volume that say how far the streams and the consumers are, so that who waits
need not wake a warehouse.

    <signal volume>/streams/<stream_id>.json     written by the stream after each commit
    <signal volume>/consumers/<consumer>.json    written by the operator after each claim

They are hints. The tables are the truth: a pointer that is lost, old or torn costs a look, never an arrival.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from databricks_file_arrivals.core.errors import BadInput, SignalTorn
from databricks_file_arrivals.core.tables import TableName

SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class SignalVolume:
    """Where the pointers of a log are: a volume, or a directory in one."""

    path: str

    @classmethod
    def parse(cls, text: str) -> SignalVolume:
        """Read `/Volumes/catalog/schema/volume`, with directories below it or none. Raises BadInput."""
        parts = text.rstrip("/").split("/")
        if parts[:2] != ["", "Volumes"] or len(parts) < 5 or not all(parts[2:]) or {".", ".."} & set(parts):
            raise BadInput(
                f"signal_volume {text!r} is not on a volume: write /Volumes/catalog/schema/volume, such as "
                "/Volumes/main/ingest/signals."
            )
        return cls("/".join(parts))

    @property
    def streams(self) -> str:
        """The directory of the streams' pointers."""
        return streams_in(self.path)

    def consumer(self, consumer: str) -> str:
        """The file of a consumer's pointer."""
        return f"{self.path}/consumers/{quote(consumer, safe='')}{SUFFIX}"


def streams_in(directory: str) -> str:
    """The directory of the streams' pointers, below that of all pointers."""
    return f"{directory.rstrip('/')}/streams"


@dataclass(frozen=True, slots=True)
class StreamPointer:
    """The newest batch that a stream has logged."""

    log_table: str
    stream_id: str
    batch_id: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.stream_id}{SUFFIX}"

    def is_of(self, log_table: TableName) -> bool:
        """Whether it is of this log: names of tables are the same in any case."""
        return self.log_table.lower() == str(log_table).lower()

    def text(self) -> str:
        """What is written."""
        return json.dumps(
            {"log_table": self.log_table, "stream_id": self.stream_id, "batch_id": self.batch_id}
        )

    @classmethod
    def parse(cls, text: bytes) -> StreamPointer:
        """Read what was written. Raises SignalTorn."""
        found = _object(text)
        return cls(_text(found, "log_table"), _text(found, "stream_id"), _whole(found, "batch_id"))


@dataclass(frozen=True, slots=True)
class ConsumerPointer:
    """How far a consumer has claimed, and when it is to look again though nothing arrives."""

    log_table: str
    consumer: str
    epoch: int
    cursor: Mapping[str, int]
    next_due: datetime | None = None

    def is_of(self, log_table: TableName, consumer: str) -> bool:
        """Whether it is of this consumer of this log."""
        return self.log_table.lower() == str(log_table).lower() and self.consumer == consumer

    def text(self) -> str:
        """What is written."""
        return json.dumps(
            {
                "log_table": self.log_table,
                "consumer": self.consumer,
                "epoch": self.epoch,
                "cursor": dict(sorted(self.cursor.items())),
                "next_due": self.next_due.isoformat() if self.next_due else None,
            }
        )

    @classmethod
    def parse(cls, text: bytes) -> ConsumerPointer:
        """Read what was written. Raises SignalTorn."""
        found = _object(text)
        cursor = found.get("cursor")
        if not isinstance(cursor, dict):
            raise SignalTorn("it has no cursor")
        return cls(
            _text(found, "log_table"),
            _text(found, "consumer"),
            _whole(found, "epoch"),
            {stream: _whole(cursor, stream) for stream in cursor},
            _moment(found.get("next_due")),
        )


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:  # of the bytes, too
        raise SignalTorn(f"it is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise SignalTorn("it is no JSON object")
    return found


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise SignalTorn(f"it has no {name}")
    return value


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if type(value) is not int:
        raise SignalTorn(f"its {name} is no whole number")
    return value


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise SignalTorn("its next_due is no time") from error
    if found.tzinfo is None:
        raise SignalTorn("its next_due has no time zone")
    return found
