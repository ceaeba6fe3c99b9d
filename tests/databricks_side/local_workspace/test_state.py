"""The state file: transactions, restarts, foreign versions."""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from local_workspace.state import STEPS, State, StateError, now_ms


def _add_scope(state: State, name: str) -> None:
    with state.writing() as db:
        db.execute("INSERT INTO secret_scopes (scope, created_by) VALUES (?, 'x')", (name,))


def _scopes(state: State) -> list[str]:
    return [
        row["scope"] for row in state.reading.execute("SELECT scope FROM secret_scopes ORDER BY 1").fetchall()
    ]


def test_what_was_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    _add_scope(State(tmp_path), "a")
    assert _scopes(State(tmp_path)) == ["a"]


def test_a_block_that_raises_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(ZeroDivisionError), state.writing() as db:
        db.execute("INSERT INTO secret_scopes (scope, created_by) VALUES ('a', 'x')")
        1 / 0  # noqa: B018
    _add_scope(state, "b")
    assert _scopes(state) == ["b"]


def test_many_threads_write_without_a_busy_error(tmp_path: Path) -> None:
    state = State(tmp_path)
    threads = [threading.Thread(target=_add_scope, args=(state, f"s{number:02}")) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _scopes(state) == [f"s{number:02}" for number in range(40)]


def test_each_commit_is_on_disk_and_the_file_is_its_owners_only(tmp_path: Path) -> None:
    state = State(tmp_path / "new")
    assert state.reading.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert state.reading.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert stat.S_IMODE((tmp_path / "new" / "workspace.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_of_an_earlier_version_is_brought_to_this_one(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "workspace.sqlite") as db:
        db.executescript(STEPS[0] + "INSERT INTO secret_scopes VALUES ('old', 'x'); PRAGMA user_version=1")
    state = State(tmp_path)
    assert _scopes(state) == ["old"]
    assert state.reading.execute("SELECT count(*) FROM volumes").fetchone()[0] == 0
    assert state.reading.execute("PRAGMA user_version").fetchone()[0] == len(STEPS)


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    State(tmp_path)
    with sqlite3.connect(tmp_path / "workspace.sqlite") as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StateError, match="version 99"):
        State(tmp_path)


def test_now_is_milliseconds() -> None:
    assert 1_600_000_000_000 < now_ms() < 10_000_000_000_000
