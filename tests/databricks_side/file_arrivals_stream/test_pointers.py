"""The stream's pointer: written in place, and never a reason for a batch to fail."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from databricks_file_arrivals.core.signals import StreamPointer
from file_arrivals_stream.pointers import make_directory, write_pointer


def test_the_newest_batch_takes_the_place_of_the_last(tmp_path: Path) -> None:
    make_directory(str(tmp_path / "signals"))
    make_directory(str(tmp_path / "signals"))
    for batch in (9, 10, 11):
        write_pointer(str(tmp_path / "signals"), StreamPointer("main.ingest.file_log", "s", batch))
    (file,) = (tmp_path / "signals" / "streams").iterdir()
    assert file.name == "s.json"
    assert StreamPointer.parse(file.read_bytes()) == StreamPointer("main.ingest.file_log", "s", 11)


def test_what_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    logging.getLogger("file_arrivals_stream").propagate = True
    with caplog.at_level(logging.WARNING):
        make_directory(str(tmp_path / "file"))
        write_pointer(str(tmp_path / "nowhere"), StreamPointer("l", "s", 1))
    assert len(caplog.records) == 2 and "WRITE VOLUME" in caplog.text and "nowhere" in caplog.text
