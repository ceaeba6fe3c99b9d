"""Directories in one canonical form, in which arrivals and rules are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/.*)", re.DOTALL)
_BUCKET = re.compile(r"//[^/]+")
_TOP = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:(?://[^/]+|/)")
_LOCAL = ("", "file", "dbfs")


def canonical(directory: str, root: str = "") -> str:
    """The one form of a directory: no `file:`, `dbfs:` or `/dbfs`, no trailing or doubled slash, scheme and
    bucket kept.

    A relative directory is under `root`, and stays relative without one. Text is never percent-decoded here:
    Auto Loader's `path` is decoded already, and a directory may well be named `100%25`.

    >>> canonical("dbfs:/mnt/in/"), canonical("orders", "s3://bucket/in"), canonical("abfss://c@a.dfs.core.windows.net/x/")
    ('/mnt/in', 's3://bucket/in/orders', 'abfss://c@a.dfs.core.windows.net/x')
    """
    if is_relative(directory):
        inside = re.sub("/+", "/", directory).rstrip("/")
        return canonical(f"{root.rstrip('/')}/{inside}") if root else inside
    found = _SCHEME.fullmatch(directory)
    scheme, path = (found[1].lower(), found[2]) if found else ("", directory)
    bucket = _BUCKET.match(path) if scheme not in _LOCAL else None
    top = bucket[0] if bucket else ""
    path = re.sub("/+", "/", path[len(top) :]).rstrip("/")
    if scheme in _LOCAL:
        # Again and again, so that no form is left that a second look would change.
        while path == "/dbfs" or path.startswith("/dbfs/"):
            path = path[len("/dbfs") :]
        return path or "/"
    return f"{scheme}:{top}{path}" if top or path else f"{scheme}:/"


def is_relative(directory: str) -> bool:
    """Whether a directory is neither absolute nor a URI."""
    return not directory.startswith("/") and not _SCHEME.fullmatch(directory)


def ancestry(directory: str) -> Iterator[str]:
    """A canonical directory and all that contain it, the nearest first; a bucket is the last of a URI.

    >>> list(ancestry("s3://b/x/y"))
    ['s3://b/x/y', 's3://b/x', 's3://b']
    """
    first = top(directory)
    while len(directory) > len(first):
        yield directory
        directory = directory[: max(directory.rfind("/"), len(first))]
    if first:
        yield first


def last_segment(directory: str) -> str:
    """The directory's own name: what the seed calls the table name."""
    return directory.rstrip("/").rsplit("/", 1)[-1]


def below(root: str, directory: str) -> str:
    """The immediate subdirectory of `root` that holds `directory`, or `root` for its own files (both
    canonical).

    >>> below("/in", "/in/orders/eu/2026"), below("/in", "/in"), below("/in", "/elsewhere")
    ('/in/orders', '/in', '/elsewhere')
    """
    prefix = root.rstrip("/") + "/"
    if not directory.startswith(prefix):
        return directory
    return prefix + directory[len(prefix) :].split("/", 1)[0]


def top(directory: str) -> str:
    """What a canonical directory cannot be shortened beyond: its scheme and bucket, `/`, or "" of a relative
    one.

    >>> top("s3://b/x"), top("/x/y"), top("x/y")
    ('s3://b', '/', '')
    """
    found = _TOP.match(directory)
    return found[0] if found else ""


def segments(top: str, directory: str) -> list[str]:
    """The names of the directories below `top`, outermost first."""
    return [segment for segment in directory[len(top) :].split("/") if segment]


def joined(top: str, names: Sequence[str]) -> str:
    """The canonical directory of these names below `top`: the opposite of `segments`."""
    inside = "/".join(names)
    if not inside:
        return top
    return f"{top}{inside}" if top.endswith("/") or not top else f"{top}/{inside}"
