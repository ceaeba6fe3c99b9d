"""A kill that missed the middle of the claim is no success."""

from __future__ import annotations

import pytest
from demo.kill import Kill, judged
from demo.processes import DemoError

KILL = Kill(pid=1, try_number=1, dag_run_id="r")


def row(
    planned: int = 5, planned_by_it: int = 5, recorded_by_it: int = 0, finished_by: int | None = 2
) -> dict[str, int | None]:
    return {
        "planned": planned,
        "planned_by_it": planned_by_it,
        "recorded_by_it": recorded_by_it,
        "finished_by": finished_by,
    }


def test_in_the_middle() -> None:
    assert "try 1 had won it with 5 requests" in judged(row(), KILL)
    assert "try 2 has finished it" in judged(row(), KILL)


@pytest.mark.parametrize(
    "missed",
    [
        row(finished_by=1),  # it had finished before it died
        row(finished_by=None),  # nobody has finished it
        row(recorded_by_it=3),  # it had recorded outcomes
        row(planned_by_it=0),  # another try made the plan
        row(planned=0, planned_by_it=0),  # there was no plan
    ],
)
def test_not_in_the_middle(missed: dict[str, int | None]) -> None:
    with pytest.raises(DemoError, match="not in the middle"):
        judged(missed, KILL)
