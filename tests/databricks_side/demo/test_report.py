"""The reconciliation finds what is lost, doubled or garbled, and the last line says so."""

from __future__ import annotations

import hashlib
import io
import re
from datetime import datetime, timedelta, timezone

from demo.report import (
    Outcome,
    Read,
    disagreements,
    journey_table,
    last_line,
    outcome_table,
    reconcile,
    reconciliation_table,
    spread,
)
from demo.scenario import LandingFile, LeftOut
from rich.console import Console
from rich.table import Table

BOTH = frozenset({"load", "audit"})
FILES = (
    LandingFile("a/1", 1, b"one", frozenset({"load"})),
    LandingFile("a/2", 1, b"two", BOTH),
    LandingFile("b/1", 2, b"", frozenset({"load"})),
    LandingFile("x/1", 1, b"", left_out=LeftOut.UNMAPPED),
    LandingFile("y/1", 1, b"", left_out=LeftOut.REFUSED),
    LandingFile("a/_SUCCESS", 1, b"", left_out=LeftOut.HIDDEN),
)
OUTCOMES = (Outcome("TRIGGERED", 3, 4), Outcome("UNMAPPED", 1, 1), Outcome("ERROR", 1, 1))


def read(workflow: str, path: str, content: bytes) -> Read:
    return Read(workflow, path, hashlib.sha256(content).hexdigest())


GOOD = [
    read("load", "a/1", b"one"),
    read("load", "a/2", b"two"),
    read("audit", "a/2", b"two"),
    read("load", "b/1", b""),
]


def text(table: Table) -> str:
    screen = io.StringIO()
    Console(file=screen, width=120).print(table)
    return screen.getvalue()


def test_all_is_well() -> None:
    found = reconcile(FILES, GOOD)
    assert (found.landed, found.consumed, found.pairs) == (5, 3, 4)
    assert found.lost == () and found.doubled == ()
    assert found.left_out == {LeftOut.UNMAPPED: 1, LeftOut.REFUSED: 1, LeftOut.HIDDEN: 1}


def test_a_lost_file_is_found() -> None:
    found = reconcile(FILES, GOOD[:2] + GOOD[3:])
    assert found.lost == (("audit", "a/2"),) and found.doubled == ()
    assert found.consumed == 2


def test_a_doubled_file_is_found() -> None:
    found = reconcile(FILES, [*GOOD, GOOD[0], GOOD[0]])
    assert found.doubled == (("load", "a/1"), ("load", "a/1")) and found.lost == ()


def test_a_file_read_by_a_workflow_that_it_is_not_for_is_doubled() -> None:
    found = reconcile(FILES, [*GOOD, read("audit", "a/1", b"one"), read("load", "x/1", b"")])
    assert found.doubled == (("audit", "a/1"), ("load", "x/1"))


def test_a_file_read_with_other_content_is_lost() -> None:
    assert reconcile(FILES, [read("load", "a/1", b"two"), *GOOD[1:]]).lost == (("load", "a/1"),)


def test_nothing_read_is_all_lost() -> None:
    assert len(reconcile(FILES, []).lost) == 4


def test_the_log_agrees_or_the_difference_is_told() -> None:
    found = reconcile(FILES, GOOD)
    assert disagreements(found, OUTCOMES) == []
    started = next(o for o in OUTCOMES if o.status == "TRIGGERED")
    looked_at = [Outcome("SUCCEEDED", 1, 1), Outcome("TRIGGERED", started.requests, started.files - 1)]
    assert disagreements(found, [*looked_at, *(o for o in OUTCOMES if o is not started)]) == []
    wrong = disagreements(found, [*OUTCOMES[:2], Outcome("HELD", 1, 7)])
    assert wrong == [
        "ERROR: the log says 0 files, the scenario 1",
        "HELD: the log says 7 files, the scenario 0",
    ]


def test_the_last_line() -> None:
    line = last_line(reconcile(FILES, [*GOOD, GOOD[0]]), OUTCOMES, 3, 179.6)
    assert line == "demo: files=5 consumed=2 lost=0 duplicated=1 runs=3 unmapped=1 errors=1 seconds=180"


def test_the_tables_say_it() -> None:
    assert re.search(r"TRIGGERED\D+3\D+4", text(outcome_table(OUTCOMES)))
    shown = text(reconciliation_table(reconcile(FILES, GOOD)))
    assert re.search(r"landed where the stream looks\D+5\b", shown)
    assert re.search(rf"{LeftOut.UNMAPPED}\D+1\b", shown)


def test_the_way_of_a_file() -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
    steps = [("landed", noon), ("logged", noon + timedelta(seconds=2.5))]
    shown = text(journey_table("[x]/two\nlines", steps))
    assert "[x]/two\\nlines" in shown and "12:00:02.500" in shown and "2.5 s" in shown


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == "p50 2.0 s, max 3.0 s"
    assert spread([]) == "none"
