"""The Files API: small files on volumes. https://docs.databricks.com/api/workspace/files"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.workspace.exchange import Call, Exchange

FILES = "2.0/fs/files"
DIRECTORIES = "2.0/fs/directories"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a directory. Its version is another one whenever it may have been written since."""

    path: str
    version: tuple[int, int]


def list_files(directory: str) -> Exchange[list[Entry]]:
    """The files of a directory, not those below its subdirectories. One call, more for very many files.

    Raises Refused where the directory is missing (404) or may not be read (403), and what the client raises.
    """
    found: list[Entry] = []
    token: str | None = ""
    while token is not None:
        query = {"page_token": token} if token else None
        answer = yield Call("GET", DIRECTORIES + quote(directory), query)
        entries: list[Mapping[str, Any]] = answer.get("contents") or []
        found += [
            Entry(str(e["path"]), (int(e.get("last_modified") or 0), int(e.get("file_size") or 0)))
            for e in entries
            if not e.get("is_directory")
        ]
        token = answer.get("next_page_token") or None
    return found


def read_file(path: str) -> Exchange[bytes]:
    """The content of a file. Raises Refused where it is missing (404) or may not be read (403)."""
    answer = yield Call("GET", FILES + quote(path), raw=True)
    content: bytes = answer["content"]
    return content


def write_file(path: str, content: bytes) -> Exchange[None]:
    """Write a file, in place of the one that is there. Raises Refused where that is not allowed (403)."""
    put = Call("PUT", f"{FILES}{quote(path)}?overwrite=true", repeatable=True, content=content, raw=True)
    try:
        yield put
    except Refused as error:
        if error.status != 404:
            raise
        directory = path.rpartition("/")[0]
        yield Call("PUT", DIRECTORIES + quote(directory), repeatable=True, raw=True)
        yield put
