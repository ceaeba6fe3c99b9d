"""The Files API: files and directories of volumes."""

import asyncio
import base64
import binascii
import os
import re
import sys
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from starlette.responses import Response, StreamingResponse

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import DoesNotExist, FileChanged, InvalidParameter, NoSuchFile, NoSuchRange
from local_workspace.api.volume_files import Entry, VolumeFiles, VolumePath
from local_workspace.api.volume_store import READ, WRITE, Volume

PAGE = 1000
_BLOCK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_BYTES = {"content-type": "application/octet-stream", "accept-ranges": "bytes"}


def _find(call: Call, privilege: str) -> tuple[Volume, VolumeFiles, tuple[str, ...]]:
    """The volume that the call's path names, its files, and the path below it."""
    volumes, path = call.workspace.volumes, VolumePath.parse(call.path["path"])
    try:
        volume = volumes.find(path.volume)
    except DoesNotExist as error:
        raise NoSuchFile(error.message) from error
    volumes.require(call.caller, volume, privilege)
    return volume, VolumeFiles(Path(volume.storage_location)), path.below


def get_file(call: Call) -> Answer:
    """GET fs/files/{path}"""
    _, files, below = _find(call, READ)
    file = files.open(below)
    try:
        status, headers, start, size = _part(call, file)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_blocks(file, start, size), status, headers)


def head_file(call: Call) -> Answer:
    """HEAD fs/files/{path}"""
    _, files, below = _find(call, READ)
    with files.open(below) as file:
        status, headers, _, _ = _part(call, file)
    return Response(None, status, headers)


async def put_file(call: Call) -> Answer:
    """PUT fs/files/{path}: the body is the file"""
    call.arguments.only("overwrite")
    given = call.arguments.values.get("overwrite")
    overwrite = True if given in (None, "") else call.arguments.boolean("overwrite")
    _, files, below = await asyncio.to_thread(_find, call, WRITE)
    if not below:
        raise InvalidParameter("A volume itself is no file: name one in it.")
    with files.draft(below) as draft:
        async for block in call.content:
            await asyncio.to_thread(draft.file.write, block)
        await asyncio.to_thread(draft.keep, overwrite)
    return _nothing()


def delete_file(call: Call) -> Answer:
    """DELETE fs/files/{path}"""
    _, files, below = _find(call, WRITE)
    files.delete(below)
    return _nothing()


def list_directory(call: Call) -> Answer:
    """GET fs/directories/{path}"""
    call.arguments.only("page_size", "page_token")
    most = min(call.arguments.limit("page_size", PAGE, sys.maxsize), PAGE)
    after = _after(call.arguments.optional_text("page_token"))
    volume, files, below = _find(call, READ)
    entries, more = files.entries(below, after, most)
    parent = "/".join((volume.path, *below))
    answer: dict[str, Any] = {"contents": [_entry(parent, each) for each in entries]}
    if more:
        name = os.fsencode(entries[-1].name)
        answer["next_page_token"] = base64.urlsafe_b64encode(name).decode()
    return answer


def head_directory(call: Call) -> Answer:
    """HEAD fs/directories/{path}"""
    _, files, below = _find(call, READ)
    files.require_directory(below)
    return Response(None, 200)


def put_directory(call: Call) -> Answer:
    """PUT fs/directories/{path}"""
    _, files, below = _find(call, WRITE)
    files.make_directory(below)
    return _nothing()


def delete_directory(call: Call) -> Answer:
    """DELETE fs/directories/{path}"""
    _, files, below = _find(call, WRITE)
    files.delete_directory(below)
    return _nothing()


def _nothing() -> Response:
    return Response(None, 204)


def _entry(parent: str, entry: Entry) -> dict[str, Any]:
    # A name that is not UTF-8 cannot be told, nor asked for: it is shown as well as it can be.
    name = os.fsencode(entry.name).decode(errors="replace")
    view = {"path": f"{parent}/{name}", "name": name, "is_directory": entry.is_directory}
    size = {} if entry.is_directory else {"file_size": entry.size}
    return {**view, **size, "last_modified": entry.modified_ms}


def _after(token: str | None) -> str:
    """The name that the last page ended with."""
    try:
        return os.fsdecode(base64.b64decode(token or "", altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise InvalidParameter(f"page_token {token!r} is none that this workspace gave.") from error


def _part(call: Call, file: BinaryIO) -> tuple[int, dict[str, str], int, int]:
    """Status and headers of an answer with the file, or the part of it that is asked for; its place."""
    status = os.fstat(file.fileno())
    modified = int(status.st_mtime)
    _check_unmodified(call.headers.get("if-unmodified-since"), modified)
    headers = {**_BYTES, "last-modified": formatdate(modified, usegmt=True)}
    part = byte_range(call.headers.get("range"), status.st_size)
    if part is None:
        return 200, {**headers, "content-length": str(status.st_size)}, 0, status.st_size
    start, size = part
    headers["content-range"] = f"bytes {start}-{start + size - 1}/{status.st_size}"
    return 206, {**headers, "content-length": str(size)}, start, size


def _check_unmodified(limit: str | None, modified: int) -> None:
    try:
        newest = None if limit is None else parsedate_to_datetime(limit).timestamp()
    except ValueError:
        newest = None  # as HTTP says of a date that is none
    if newest is not None and modified > newest:
        raise FileChanged(f"The file was modified after {limit}.")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of the part that a Range header names; None for all of it, as for what is no range."""
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size:
        raise NoSuchRange(f"The file has {size} bytes, none of them in {header}.")
    return None if end < start else (start, end - start + 1)


def _blocks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            size -= len(block)
            yield block


_V = ("2.0",)
ROUTES = [
    Route("GET", "fs/files/{path}", get_file, _V),
    Route("HEAD", "fs/files/{path}", head_file, _V),
    Route("PUT", "fs/files/{path}", put_file, _V, sends_file=True),
    Route("DELETE", "fs/files/{path}", delete_file, _V),
    Route("GET", "fs/directories/{path}", list_directory, _V),
    Route("HEAD", "fs/directories/{path}", head_directory, _V),
    Route("PUT", "fs/directories/{path}", put_directory, _V),
    Route("DELETE", "fs/directories/{path}", delete_directory, _V),
]
