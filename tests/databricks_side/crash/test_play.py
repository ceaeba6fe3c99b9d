"""The last line says it all."""

from __future__ import annotations

from crash.play import last_line
from crash.verdict import Verdict


def test_the_last_line() -> None:
    verdict = Verdict((("load", "/in/a"),), {("load", "/in/b"): (1, 2)}, (), 3)
    numbers = {"kills": 100, "faults": 7, "arrivals": 10_000, "runs": 3}
    line = "crash: kills=100 faults=7 arrivals=10000 runs=3 lost=1 duplicated=1 seconds=12"
    assert last_line(numbers, verdict, 12.3) == line
