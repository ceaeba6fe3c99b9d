"""Nothing is waiting when nothing is."""

from __future__ import annotations

import pytest
from crash.settle import Waiting


def test_nothing_is_waiting() -> None:
    assert Waiting(0, 0, False, 0, 0).nothing


@pytest.mark.parametrize(
    "waiting",
    [
        Waiting(1, 0, False, 0, 0),
        Waiting(0, 1, False, 0, 0),
        Waiting(0, 0, True, 0, 0),
        Waiting(0, 0, False, 1, 0),
        Waiting(0, 0, False, 0, 1),
    ],
)
def test_anything_left_is_waiting(waiting: Waiting) -> None:
    assert not waiting.nothing and "1" in f"{waiting} {waiting.unfinished:d}"
