"""Pointers: what is written is read, and what is torn is told from what is whole."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.errors import BadInput, SignalTorn
from databricks_file_arrivals.core.signals import ConsumerPointer, SignalVolume, StreamPointer

NAMES = st.text(min_size=1)
NUMBERS = st.integers(-1, 2**62)
MOMENTS = st.none() | st.datetimes(timezones=st.just(timezone.utc))
STREAMS = st.builds(StreamPointer, NAMES, NAMES, NUMBERS)
CONSUMERS = st.builds(ConsumerPointer, NAMES, NAMES, NUMBERS, st.dictionaries(NAMES, NUMBERS), MOMENTS)


@given(STREAMS, CONSUMERS)
def test_what_is_written_is_read(stream: StreamPointer, consumer: ConsumerPointer) -> None:
    assert StreamPointer.parse(stream.text().encode()) == stream
    assert ConsumerPointer.parse(consumer.text().encode()) == consumer


@given(STREAMS, CONSUMERS, st.data())
def test_half_of_it_is_torn(stream: StreamPointer, consumer: ConsumerPointer, data: st.DataObject) -> None:
    for parse, text in ((StreamPointer.parse, stream.text()), (ConsumerPointer.parse, consumer.text())):
        cut = data.draw(st.integers(0, len(text) - 1))
        with pytest.raises(SignalTorn):
            parse(text[:cut].encode())


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"log_table": "l", "consumer": "c", "epoch": true, "cursor": {}}',
        b'{"log_table": "l", "consumer": "c", "epoch": 1, "cursor": {"s": "1"}}',
        b'{"log_table": "l", "consumer": "c", "epoch": 1, "cursor": {}, "next_due": "2026-01-01T00:00:00"}',
        b'{"log_table": "l", "consumer": "c", "epoch": 1, "cursor": {}, "next_due": 5}',
    ],
)
def test_anything_else_is_torn(text: bytes) -> None:
    with pytest.raises(SignalTorn):
        ConsumerPointer.parse(text)


def test_files_of_consumers_are_apart_whatever_their_names() -> None:
    volume = SignalVolume.parse("/Volumes/main/ingest/signals/")
    assert volume.streams == "/Volumes/main/ingest/signals/streams"
    assert volume.consumer("default") == "/Volumes/main/ingest/signals/consumers/default.json"
    assert volume.consumer("a/../b c%") == "/Volumes/main/ingest/signals/consumers/a%2F..%2Fb%20c%25.json"
    pointer = ConsumerPointer("l", "c", 1, {}, datetime(2026, 5, 1, tzinfo=timezone.utc))
    assert "2026-05-01T00:00:00+00:00" in pointer.text()


@pytest.mark.parametrize("text", ["", "/Volumes/main/x", "/tmp/x", "/Volumes/a/b/c/../d", "/Volumes//b/c/d"])
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="/Volumes/catalog/schema/volume"):
        SignalVolume.parse(text)
