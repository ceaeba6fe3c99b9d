"""Files written whole, and processes that are never mistaken."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from local_workspace.records import ProcessRecord, read_json, write_json


def test_a_reader_never_sees_half(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    values = [["a"] * 10_000, ["b"] * 20_000]
    write_json(path, values[0])
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for value in values:
                write_json(path, value)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(200):
            assert read_json(path) in values
    finally:
        stop.set()
        thread.join()
    assert [entry.name for entry in path.parent.iterdir()] == ["x.json"]


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, object())
    assert read_json(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600


def test_no_file_is_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none") is None
    assert ProcessRecord.read(tmp_path / "none") is None


class TestProcess:
    def test_this_one(self, tmp_path: Path) -> None:
        record = ProcessRecord.of(os.getpid())
        write_json(tmp_path / "p.json", record.as_dict() | {"more": 1})
        assert ProcessRecord.read(tmp_path / "p.json") == record
        process = record.process()
        assert process is not None and process.pid == os.getpid()

    def test_a_later_process_of_the_same_id_is_another(self) -> None:
        record = ProcessRecord.of(os.getpid())
        assert not ProcessRecord(record.pid, record.create_time - 60).alive()

    def test_a_zombie_has_ended(self) -> None:
        child = subprocess.Popen(["sleep", "600"])
        record = ProcessRecord.of(child.pid)
        assert record.alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not record.alive()
        child.wait()
        assert not record.alive()
        with pytest.raises(psutil.NoSuchProcess):
            ProcessRecord.of(child.pid)
