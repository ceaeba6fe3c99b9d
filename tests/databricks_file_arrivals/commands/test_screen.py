"""What is printed stays readable, whatever names hold, and what is asked is answered by people."""

from __future__ import annotations

import io
import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime, timezone

import pytest

from databricks_file_arrivals.commands.screen import confirm, json_text, plain, when, wrapped
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import Status


@dataclass
class Value:
    status: Status
    at: datetime
    ids: tuple[int, ...]


AT = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_names_cannot_break_lines_or_move_the_cursor() -> None:
    assert plain("a\nb\x1b[31m ü") == "a\\nb\\x1b[31m ü"
    assert plain(None) == "" and plain(7) == "7"


def test_long_texts_are_wrapped_to_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = wrapped("word " * 30, 4).splitlines()
    assert len(lines) > 2 and all(len(line) <= 50 and line.startswith("    w") for line in lines)


def test_json_has_its_own_types_only() -> None:
    value = {"value": Value(Status.HELD, AT, (1, 2)), "none": None}
    expected = {"value": {"status": "HELD", "at": "2026-05-01T12:00:00+00:00", "ids": [1, 2]}, "none": None}
    assert json.loads(json_text(value)) == expected


def test_when() -> None:
    assert when(AT) == "2026-05-01 12:00:00" and when(None) == ""


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("YES\n", True), ("\n", False), ("no\n", False)])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, goes: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Screen(answer))
    if goes:
        confirm("Go?", Namespace(yes=False))
    else:
        with pytest.raises(BadInput, match="Nothing was done"):
            confirm("Go?", Namespace(yes=False))


def test_a_program_has_to_say_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(BadInput, match="--yes"):
        confirm("Go?", Namespace(yes=False))
    confirm("Go?", Namespace(yes=True))
