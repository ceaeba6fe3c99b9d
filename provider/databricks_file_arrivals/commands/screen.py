"""What commands print, and what they ask."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from databricks_file_arrivals.core.errors import BadInput


def plain(text: object) -> str:
    """A text on one line: names of directories may hold line breaks and what moves a cursor."""
    shown = "" if text is None else str(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def wrapped(text: str, indent: int) -> str:
    """A text in as many lines as the screen's width needs, all of them indented."""
    width = max(40, shutil.get_terminal_size().columns)
    margin = " " * indent
    lines = textwrap.wrap(
        plain(text), width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    return "\n".join(lines)


def when(moment: datetime | None) -> str:
    """A time, to the second, UTC as all of the log's."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


def counted(number: int, one: str, several: str = "") -> str:
    """A number and what it counts.

    >>> counted(1, "file"), counted(0, "file"), counted(2, "directory", "directories")
    ('1 file', '0 files', '2 directories')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def json_text(value: Any) -> str:
    """A value for programs."""
    return json.dumps(as_json(value), indent=2, ensure_ascii=False)


def as_json(value: Any) -> Any:
    """A value made of JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(v) for v in value]
    return value


def confirm(question: str, arguments: Any) -> None:
    """Ask, unless --yes was given. Raises BadInput when the answer is not yes."""
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("Nothing was done: there is nobody to ask. Look at the above, and add --yes.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise BadInput("Nothing was done.")
