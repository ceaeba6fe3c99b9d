"""A log that reads well: a line for each outcome, one for all, and folds where there are many."""

from __future__ import annotations

from typing import Any

import pytest

from databricks_file_arrivals.core.lines import GROUPED, by_status, grouped, line, size, summary
from databricks_file_arrivals.core.outcomes import LogRow, Status


def row(status: Status, directory: str | None = "/in/a", **changes: Any) -> LogRow:
    return LogRow(status=status, consumer="default", claim_id="c", epoch=3, directory=directory, **changes)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            row(Status.TRIGGERED, workflow_name="load", started_run_id=7, file_count=2, total_bytes=2048),
            "TRIGGERED /in/a → load: run 7, 2 files, 2.0 KB",
        ),
        (
            row(Status.HELD, workflow_name="load", file_count=1, waits_for=("min_files", "settle_seconds")),
            "HELD /in/a → load: 1 file, waits for min_files and settle_seconds",
        ),
        (
            row(Status.ERROR, workflow_name="load", file_count=1500, attempt=2, error="403: no"),
            "ERROR /in/a → load: 1,500 files, attempt 2, 403: no",
        ),
        (row(Status.OVERDUE), "OVERDUE /in/a"),
    ],
)
def test_one_line_says_it_all(outcome: LogRow, said: str) -> None:
    assert line(outcome) == said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (5 * 2**40, "5.0 TB")]
)
def test_sizes_are_for_people(number: int, said: str) -> None:
    assert size(number) == said


def test_what_somebody_may_have_to_look_at_comes_last() -> None:
    rows = [
        row(Status.ERROR),
        row(Status.TRIGGERED, "/in/b"),
        row(Status.CLAIMED, None),
        row(Status.TRIGGERED),
    ]
    assert {s: [r.directory for r in found] for s, found in by_status(rows).items()} == {
        Status.TRIGGERED: ["/in/a", "/in/b"],
        Status.ERROR: ["/in/a"],
    }
    assert list(by_status(rows)) == [Status.TRIGGERED, Status.ERROR]


def test_the_summary() -> None:
    assert summary({"TRIGGERED": 1200, "ERROR": 1, "HELD": 0}, 5000, 12) == (
        "epoch 12, 5,000 files: 1 error, 1,200 triggered"
    )
    assert summary({}, 0, None) == "nothing was due"
    assert summary({"SUCCEEDED": 1}, 0, None) == "no new claim: 1 succeeded"


def test_many_lines_are_folded() -> None:
    few, many = ["x"] * (GROUPED - 1), ["x"] * GROUPED
    assert grouped("title", few) == few
    assert grouped("title", many) == ["::group::title", *many, "::endgroup::"]
