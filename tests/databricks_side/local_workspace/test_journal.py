"""The journal numbers each file once, whoever adds, and lists as Spark's own sources do."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from local_workspace.journal import Journal, SeenFile, hidden, list_files


def seen(*paths: str, modified: int = 1, size: int = 1) -> list[SeenFile]:
    return [SeenFile(path, modified, size) for path in paths]


def made(folder: Path, *ignored: str) -> Journal:
    journal = Journal(str(folder))
    journal.create(seen(*ignored))
    return journal


def content(journal: Journal, after: int = 0, up_to: int = 10**9) -> list[SeenFile]:
    return [file for batch in journal.batches(after, up_to, 2) for file in batch]


class TestAdd:
    def test_in_order_and_once(self, tmp_path: Path) -> None:
        journal = made(tmp_path)
        assert journal.add(seen("/a", "/b"), False) == 2
        assert journal.add(seen("/a", "/c"), False) == 3
        assert [file.path for file in content(journal)] == ["/a", "/b", "/c"]
        assert [file.path for file in content(journal, 1, 2)] == ["/b"]

    def test_a_changed_file_counts_only_where_overwrites_do(self, tmp_path: Path) -> None:
        journal = made(tmp_path)
        journal.add(seen("/a"), False)
        assert journal.add(seen("/a", modified=2), False) == 1
        assert journal.add(seen("/a", modified=2), True) == 2
        assert journal.add(seen("/a", modified=2), True) == 2
        assert journal.add(seen("/a", modified=2, size=3), True) == 3

    def test_ignored_files_are_never_delivered(self, tmp_path: Path) -> None:
        journal = made(tmp_path, "/old")
        assert journal.add(seen("/old", "/new"), False) == 1
        assert [file.path for file in content(journal)] == ["/new"]

    def test_another_process_s_files_are_known(self, tmp_path: Path) -> None:
        one = made(tmp_path, "/old")
        two = Journal(str(tmp_path), one.id)
        one.add(seen("/a"), False)
        assert two.add(seen("/old", "/a", "/b"), False) == 2
        assert one.add(seen("/b", "/c"), False) == 3
        assert [file.path for file in content(two)] == ["/a", "/b", "/c"]

    def test_many_at_once(self, tmp_path: Path) -> None:
        journal = made(tmp_path)
        paths = [f"/{number}" for number in range(200)]

        def add() -> None:
            own = Journal(str(tmp_path), journal.id)
            for start in range(0, 200, 10):
                own.add(seen(*paths[: start + 10]), False)
            own.close()

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(file.path for file in content(journal)) == sorted(paths)
        assert journal.top() == 200

    def test_a_failing_add_changes_nothing(self, tmp_path: Path) -> None:
        journal = made(tmp_path)
        with pytest.raises(UnicodeEncodeError):
            journal.add(seen("/a", "/\udcff"), False)
        assert journal.add(seen("/b"), False) == 1
        assert [file.path for file in content(journal)] == ["/b"]


def test_bytes_limit(tmp_path: Path) -> None:
    journal = made(tmp_path)
    journal.add([SeenFile(f"/{size}", 1, size) for size in (5, 5, 0, 20, 1)], False)
    assert journal.up_to_bytes(0, 5, 10) == 3
    assert journal.up_to_bytes(0, 2, 100) == 2
    assert journal.up_to_bytes(3, 5, 10) == 4  # one at least, or it would stay there for ever
    assert journal.up_to_bytes(4, 5, 10) == 5


class TestExistence:
    def test_a_lost_journal_does_not_come_back_empty(self, tmp_path: Path) -> None:
        lost = Journal(str(tmp_path))
        assert not lost.exists()
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            lost.top()
        assert not lost.exists()

    def test_creation_leaves_one_file(self, tmp_path: Path) -> None:
        journal = made(tmp_path / "new")
        assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{journal.id}.sqlite"]

    def test_an_id_is_no_path(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Not a journal"):
            Journal(str(tmp_path), "../x")


class TestListing:
    def test_hidden_names_as_spark_has_them(self) -> None:
        assert [name for name in ("a", "_a", ".a", "_a=1", "a._COPYING_", "a_", "_") if not hidden(name)] == [
            "a",
            "_a=1",
            "a_",
        ]

    def test_all_depths_oldest_first_and_empty_files_too(self, tmp_path: Path) -> None:
        for number, name in enumerate(["c", "a/b/c d", "a/x", "_no/x", "a/.no/x", "_p=1/x", "a/_x"]):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"" if number == 2 else b"x")
            os.utime(path, ns=(0, (100 - number) * 1_000_000))
        found = list_files(str(tmp_path))
        assert [file.path.removeprefix(f"{tmp_path}/") for file in found] == ["_p=1/x", "a/x", "a/b/c d", "c"]
        assert [(file.modified_ms, file.size) for file in found] == [(95, 1), (98, 0), (99, 1), (100, 1)]

    def test_a_pattern_is_for_the_name(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv.d").mkdir()
        for name in ("a.csv", "x.csv.d/b.csv", "x.csv.d/new\nline.csv", "c.json"):
            (tmp_path / name).touch()
        assert len(list_files(str(tmp_path), r".*\.csv")) == 3

    def test_links_and_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "nowhere").symlink_to(tmp_path / "none")
        os.mkfifo(tmp_path / "pipe")
        assert [Path(file.path).name for file in list_files(str(tmp_path))] == ["file", "link"]

    def test_a_name_that_is_not_utf8_is_named(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
        with pytest.raises(ValueError, match=r"not UTF-8.*udcff"):
            list_files(str(tmp_path))

    def test_a_missing_root_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            list_files(str(tmp_path / "none"))

    def test_folders_that_come_and_go_meanwhile(self, tmp_path: Path) -> None:
        (tmp_path / "stays").touch()
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                (tmp_path / "d" / "e").mkdir(parents=True)
                (tmp_path / "d" / "e" / "f").touch()
                (tmp_path / "d" / "e" / "f").unlink()
                (tmp_path / "d" / "e").rmdir()
                (tmp_path / "d").rmdir()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(300):
                assert any(file.path.endswith("stays") for file in list_files(str(tmp_path)))
        finally:
            stop.set()
            thread.join()


def test_ten_thousand_files_are_found_within_a_second(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"d{folder}").mkdir()
        for number in range(100):
            (tmp_path / f"d{folder}" / f"f{number}").touch()
    journal = made(tmp_path / "_journals")
    began = time.process_time()  # not the clock: other tests may keep the machine busy
    assert journal.add(list_files(str(tmp_path)), False) == 10_000
    assert time.process_time() - began < 1
