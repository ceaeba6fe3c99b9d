"""What is wrong is told pair by pair."""

from __future__ import annotations

from demo.play import troubles
from demo.report import Reconciliation


def test_troubles() -> None:
    found = Reconciliation(3, 1, 3, (("load", "a\nb"),), (("audit", "c"),), {})
    assert troubles(found) == [
        "lost: load has not read a\\nb",
        "doubled: audit has read c once too often",
    ]
    assert troubles(Reconciliation(3, 3, 3, (), (), {})) == []


def test_many_troubles_are_cut_short() -> None:
    found = Reconciliation(99, 0, 99, tuple(("load", str(n)) for n in range(99)), (), {})
    assert len(troubles(found)) == 21 and troubles(found)[-1] == "and 79 more"
