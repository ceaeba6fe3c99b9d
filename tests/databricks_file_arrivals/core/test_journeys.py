"""Which rows of the mapping have to do with a file, and which rows of the log cover it."""

from __future__ import annotations

from typing import Any

import pytest

from databricks_file_arrivals.core.journeys import Arrived, Verdict, candidates, covers, spellings
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status


def row(directory: str, workflow: str = "w", active: str = "Y", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": active, **more}


def judged(path: str, *rows: dict[str, Any], root: str = "/in") -> list[tuple[str, Verdict]]:
    return [(c.row, c.verdict) for c in candidates(rows, path, root)]


def test_the_row_that_takes_a_file_comes_first_and_the_others_say_why_not() -> None:
    assert judged(
        "/in/a/b/f.csv",
        row("/in/a", "far"),
        row("a/b", "takes"),
        row("/in/a/b", "json", file_pattern="*.json"),
        row("/in/*/b", "glob"),
        row("/in/a/b", "off", active="N"),
        row("/in/other", "unrelated"),
    ) == [
        ("a/b → takes", Verdict.TAKES),
        ("/in/a/b *.json → json", Verdict.NAME),
        ("/in/*/b → glob", Verdict.LESS_SPECIFIC),
        ("/in/a/b → off", Verdict.INACTIVE),
        ("/in/a → far", Verdict.FARTHER),
    ]


def test_bad_rows_that_name_the_directory_are_told() -> None:
    (found,) = candidates([row("/in/a/", min_files=-2), row("/in/b", min_files=-2)], "/in/a/b/f", "/in")
    assert found.verdict is Verdict.BAD and "min_files is -2" in found.note


def test_relative_rows_need_a_root() -> None:
    assert judged("/in/a/f", row("a"), root="") == []
    assert judged("/in/a/f", row("/in/a"), root="") == [("/in/a → w", Verdict.TAKES)]


def test_an_inactive_row_does_not_keep_a_farther_one_from_taking() -> None:
    assert judged("/in/a/f", row("/in/a", active="N"), row("/in", "up")) == [
        ("/in → up", Verdict.TAKES),
        ("/in/a → w", Verdict.INACTIVE),
    ]


def test_a_file_at_the_top() -> None:
    assert judged("/f.csv", row("/"), root="/") == [("/ → w", Verdict.TAKES)]
    assert judged("s3://b/f.csv", row("s3://b"), root="s3://b") == [("s3://b → w", Verdict.TAKES)]


def test_spellings() -> None:
    assert set(spellings("dbfs:/in/a b.csv")) == {
        "/in/a b.csv",
        "file:/in/a b.csv",
        "file:///in/a b.csv",
        "dbfs:/in/a b.csv",
        "/dbfs/in/a b.csv",
    }
    assert spellings("s3://b/a.csv") == ("s3://b/a.csv",)


ARRIVED = Arrived("s", 5, "/in", "/in/a", "/in/a/f.csv", 10, None)


@pytest.mark.parametrize(
    ("change", "does"),
    [
        ({}, True),
        ({"stream_id": "t"}, False),
        ({"directories": {"/in/b": Range(4, 5)}}, False),
        ({"directories": {"/in/a": Range(5, 9)}}, False),
        ({"directories": {"/in/a": Range(0, 4)}}, False),
        ({"file_pattern": "*.csv"}, True),
        ({"file_pattern": "*.json"}, False),
        ({"excluded_patterns": ("x*", "f*")}, False),
        ({"excluded_patterns": ("x*",)}, True),
    ],
)
def test_a_row_covers_the_files_that_it_means(change: dict[str, Any], does: bool) -> None:
    ranges = {"directories": {"/in/a": Range(4, 5)}}
    values: dict[str, Any] = {"stream_id": "s", **ranges, **change}
    assert covers(LogRow(status=Status.HELD, consumer="c", claim_id="c", epoch=1, **values), ARRIVED) is does
