"""Patterns of file names and directories: `*` and `?` in a name, `**` for any number of directories."""

from __future__ import annotations

import re
from functools import lru_cache

WILDCARDS = "*?"
ANY_DEPTH = "**"
_MOST = 6  # the time of a comparison grows with the text's length to the power of their number
_CLASSES = "[]{}\\"
_PARTS = re.compile(r"([*?])")


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern, and not just itself."""
    return "*" in text or "?" in text


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of one name: `*` is any text, `?` any one character, everything else is itself.

    >>> bool(compiled("a*.csv").fullmatch("a_1.csv")), bool(compiled("[a].csv").fullmatch("a.csv"))
    (True, False)
    """
    text = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in _PARTS.split(pattern))
    return re.compile(text, re.DOTALL)


def matches(name: str, pattern: str) -> bool:
    """Whether a file's name is one that the pattern means: what `tables.like` is in SQL."""
    return compiled(pattern).fullmatch(name) is not None


def file_pattern_problem(pattern: str) -> str:
    """Why a text is no pattern of file names, or ""."""
    if "/" in pattern:
        return "holds a /: it is compared with file names, not with paths"
    if ANY_DEPTH in pattern:
        return "holds **: write * for any text in a file name"
    return _crowded(pattern) or _class_problem(pattern)


def directory_problem(directory: str, top: str) -> str:
    """Why a directory is no pattern of directories, or "". `top` is its scheme and bucket."""
    if has_wildcard(top):
        return "has a wildcard in its scheme or bucket: write a row for each bucket"
    if not has_wildcard(directory):
        return ""
    for segment in directory[len(top) :].split("/"):
        if ANY_DEPTH in segment and segment != ANY_DEPTH:
            return f"has ** inside the name {segment!r}: it stands for whole directories, as in /in/**/orders"
    names = directory[len(top) :].split("/")
    crowded = next((problem for name in names if (problem := _crowded(name))), "")
    return crowded or _class_problem(directory)


def _crowded(name: str) -> str:
    count = sum(name.count(wildcard) for wildcard in WILDCARDS)
    if count <= _MOST:
        return ""
    return f"has {count} wildcards in the name {name!r}: at most {_MOST} can be compared in useful time"


def _class_problem(pattern: str) -> str:
    """Other globs know more. Who writes them means them, and a literal bracket would never match."""
    found = next((c for c in _CLASSES if c in pattern), "") if has_wildcard(pattern) else ""
    return f"holds {found!r}: only * and ? are wildcards; write a row for each alternative" if found else ""


def name(path: str) -> str:
    """A file's name: what follows the last slash."""
    return path.rsplit("/", 1)[-1]
