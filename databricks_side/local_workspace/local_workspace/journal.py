"""What a stream of `cloudFiles` has seen: an SQLite file per query, durable before an offset speaks of it."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = """
create table file(
    seq integer primary key, path text not null, modified_ms integer not null, size integer not null
)
"""
# Files that were there before a stream with includeExistingFiles=false: known, and never delivered.
IGNORED = "create table ignored(path text not null, modified_ms integer not null, size integer not null)"


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as it was when it was seen: its absolute path, its time in milliseconds, its size in bytes."""

    path: str
    modified_ms: int
    size: int


def hidden(name: str) -> bool:
    """Whether Spark's file sources skip this name: `_x` (but not a partition `_x=1`), `.x`, `x._COPYING_`."""
    return name.startswith(".") or name.endswith("._COPYING_") or (name.startswith("_") and "=" not in name)


def list_files(root: str, pattern: str | None = None) -> list[SeenFile]:
    """All files under the root, oldest first; names that Spark hides, and folders of that kind, are left out.

    The root must be there. What vanishes below it while it is listed is left out; a folder that cannot be
    read raises. A link to a file is a file; a link to a folder is not followed, because it may lead back.
    """
    matches = re.compile(pattern, re.DOTALL).fullmatch if pattern is not None else None
    found: list[SeenFile] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            if folder == root:
                raise
            continue
        with entries:
            for entry in entries:
                if hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif (matches is None or matches(entry.name)) and (file := _seen(entry)):
                    found.append(file)
    found.sort(key=lambda file: (file.modified_ms, file.path))
    return found


def _seen(entry: os.DirEntry[str]) -> SeenFile | None:
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None  # gone again, or a link to nothing
    if not stat.S_ISREG(status.st_mode):
        return None
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"A file's name is not UTF-8, which no cloud storage allows; rename it: {entry.path!r}"
        ) from None
    return SeenFile(entry.path, status.st_mtime_ns // 1_000_000, status.st_size)


class Journal:
    """Numbers files in the order they were seen. Several processes may add at once: a file has one number."""

    def __init__(self, folder: str, journal_id: str | None = None) -> None:
        self.id = journal_id or uuid.uuid4().hex
        if not re.fullmatch(r"[0-9a-f]{32}", self.id):
            raise ValueError(f"Not a journal of cloudFiles: {self.id!r}")
        self.path = Path(folder) / f"{self.id}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._known: dict[str, tuple[int, int]] = {}  # path -> (time, size) as last delivered or ignored
        self._read_to: int | None = None

    def exists(self) -> bool:
        return self.path.exists()

    def create(self, ignored: Iterable[SeenFile]) -> None:
        """Make it, with the files that are never to be delivered: it is there whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{uuid.uuid4().hex}.tmp")
        connection = sqlite3.connect(unfinished)
        try:
            connection.execute("pragma synchronous=full")
            with connection:
                connection.execute(TABLE)
                connection.execute(IGNORED)
                connection.executemany(
                    "insert into ignored values(?,?,?)", ((f.path, f.modified_ms, f.size) for f in ignored)
                )
        finally:
            connection.close()
        os.rename(unfinished, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the offset that names the journal must not outlive the journal's name
        finally:
            os.close(folder)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # rw, never rwc: a journal that is gone must not come back empty
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode=rw", uri=True, timeout=60, isolation_level=None
            )
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")
            self._connection = connection
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def top(self) -> int:
        """The number of the newest file, 0 when there is none."""
        (top,) = self._open().execute("select coalesce(max(seq), 0) from file").fetchone()
        return int(top)

    def add(self, files: Iterable[SeenFile], allow_overwrites: bool) -> int:
        """Number what is new (or changed, where overwrites count); returns the newest number, durable."""
        connection = self._open()
        connection.execute("begin immediate")
        try:
            top = self._refresh(connection)
            new = [file for file in files if self._is_new(file, allow_overwrites)]
            rows = [(top + n, f.path, f.modified_ms, f.size) for n, f in enumerate(new, start=1)]
            connection.executemany("insert into file values(?,?,?,?)", rows)
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        self._known.update((f.path, (f.modified_ms, f.size)) for f in new)
        self._read_to = top + len(new)
        return self._read_to

    def _is_new(self, file: SeenFile, allow_overwrites: bool) -> bool:
        known = self._known.get(file.path)
        return known is None or (allow_overwrites and known != (file.modified_ms, file.size))

    def _refresh(self, connection: sqlite3.Connection) -> int:
        """Learn what was numbered since the last look, by any process; returns the newest number."""
        if self._read_to is None:
            for path, modified, size in connection.execute("select path, modified_ms, size from ignored"):
                self._known[path] = (modified, size)
            self._read_to = 0
        rows = connection.execute(
            "select seq, path, modified_ms, size from file where seq > ? order by seq", (self._read_to,)
        )
        for seq, path, modified, size in rows:
            self._known[path] = (modified, size)
            self._read_to = seq
        return self._read_to

    def up_to_bytes(self, after: int, up_to: int, max_bytes: int) -> int:
        """The last file of a batch of at most `max_bytes`, but of one file at least."""
        total, last = 0, after + 1
        for seq, size in self._open().execute(
            "select seq, size from file where seq > ? and seq <= ? order by seq", (after, up_to)
        ):
            total += size
            if total > max_bytes:
                break
            last = seq
        return last

    def batches(self, after: int, up_to: int, size: int) -> Iterator[list[SeenFile]]:
        """The files numbered above `after`, up to and with `up_to`, in lists of at most `size`."""
        cursor = self._open().execute(
            "select path, modified_ms, size from file where seq > ? and seq <= ? order by seq", (after, up_to)
        )
        while rows := cursor.fetchmany(size):
            yield [SeenFile(*row) for row in rows]
