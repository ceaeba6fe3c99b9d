"""File patterns as Spark's `pathGlobFilter` understands them."""

from __future__ import annotations

import re


class GlobError(ValueError):
    """Raised when a pattern has an unclosed class, group or escape."""


def glob_pattern(glob: str) -> str:
    """The regular expression of a Hadoop glob: `*`, `?`, `[a-c]`, `[^a]`, `{csv,json}`, `\\x`."""
    out: list[str] = []
    depth = 0
    position = 0
    while position < len(glob):
        char = glob[position]
        position += 1
        if char == "\\":
            if position == len(glob):
                raise GlobError(f"The pattern ends with a lone backslash: {glob!r}")
            out.append(re.escape(glob[position]))
            position += 1
        elif char == "[":
            text, position = _class(glob, position)
            out.append(text)
        elif char == "{":
            depth += 1
            out.append("(?:")
        elif char in "},":
            out.append(_in_group(char, depth))
            depth -= char == "}" and depth > 0
        else:
            out.append({"*": ".*", "?": "."}.get(char, re.escape(char)))
    if depth:
        raise GlobError(f"The pattern has an unclosed {{ group: {glob!r}")
    return "".join(out)


def _in_group(char: str, depth: int) -> str:
    if depth == 0:
        return re.escape(char)
    return ")" if char == "}" else "|"


def _class(glob: str, position: int) -> tuple[str, int]:
    """The character class that begins after its `[`, and the position after its `]`."""
    negated = glob[position : position + 1] in ("^", "!")
    position += negated
    out: list[str] = []
    while position < len(glob):
        char = glob[position]
        position += 1
        if char == "]" and out:
            return f"[{'^' if negated else ''}{''.join(out)}]", position
        if char == "\\":
            char, position = glob[position : position + 1], position + 1
            out.append(re.escape(char))
        else:
            out.append(char if char == "-" else re.escape(char))
    raise GlobError(f"The pattern has an unclosed [ class: {glob!r}")
