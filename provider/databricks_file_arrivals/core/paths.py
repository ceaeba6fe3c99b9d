"""Directories in one canonical form, in which arrivals and rules are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(/.*)$", re.DOTALL)


def canonical(directory: str, root: str = "") -> str:
    """The one form of a directory: no `file:`, `dbfs:` or `/dbfs`, no trailing slash, scheme and bucket kept.

    A relative directory is under `root`. Text is never percent-decoded here: Auto Loader's `path` is decoded
    already, and a directory may well be named `100%25`.

    >>> canonical("dbfs:/mnt/in/"), canonical("orders", "s3://bucket/in"), canonical("abfss://c@a.dfs.core.windows.net/x/")
    ('/mnt/in', 's3://bucket/in/orders', 'abfss://c@a.dfs.core.windows.net/x')
    """
    if is_relative(directory):
        base = canonical(root) if root else ""
        return f"{base}/{directory.strip('/')}" if directory.strip("/") else base
    found = _SCHEME.match(directory)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", directory)
    if scheme in ("file", "dbfs", ""):
        scheme, rest = "", "/" + rest.lstrip("/")
        if rest == "/dbfs" or rest.startswith("/dbfs/"):
            rest = rest[len("/dbfs") :]
    rest = rest.rstrip("/")
    return f"{scheme}:{rest}" if scheme else rest or "/"


def is_relative(directory: str) -> bool:
    """Whether a directory is neither absolute nor a URI."""
    return not directory.startswith("/") and not _SCHEME.match(directory)


def ancestry(directory: str) -> Iterator[str]:
    """A canonical directory and all that contain it, the nearest first; a bucket is the last of a URI.

    >>> list(ancestry("s3://b/x/y"))
    ['s3://b/x/y', 's3://b/x', 's3://b']
    """
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*", directory)
    stop = found.end() if found else 0
    while True:
        yield directory or "/"
        cut = directory.rfind("/", stop)
        if cut < 0 or directory == "/":
            return
        directory = directory[:cut]


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
