"""What a check of the mapping finds, and what it leaves in peace."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core import patterns
from databricks_file_arrivals.core.mapping_check import (
    CheckedJob,
    Finding,
    Kind,
    Severity,
    check,
    checked_workflows,
    overlap,
)

GOOD = CheckedJob(1, frozenset({"trigger_id"}), queue=True, may_run=True)


def row(directory: str | None, workflow: str = "w", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


def found(
    *rows: dict[str, Any],
    roots: tuple[str, ...] = ("/in",),
    jobs: dict[str, list[CheckedJob]] | None = None,
) -> list[Finding]:
    known = {name: [GOOD] for name in checked_workflows(rows)} if jobs is None else jobs
    return list(check(rows, roots, known, "alice"))


def kinds(*rows: dict[str, Any], **more: Any) -> list[tuple[Severity, Kind]]:
    return [(f.severity, f.kind) for f in found(*rows, **more)]


ERROR, WARNING = Severity.ERROR, Severity.WARNING


def test_a_good_mapping_has_no_findings() -> None:
    assert (
        found(
            row("/in/a"),
            row("/in/a", "other"),
            row("b", file_pattern="*.csv"),
            row("b", file_pattern="*.json"),
            row("/in/**/deep", "w2"),
            row("/in/*/x", "w2"),
            row("/elsewhere", active_ind="N"),
        )
        == []
    )


def test_bad_rows_are_errors_with_their_reason() -> None:
    (finding,) = found(row("/in/a", settle_seconds=-1))
    assert (finding.severity, finding.kind) == (ERROR, Kind.BAD_ROW)
    assert "settle_seconds is -1" in finding.message and "/in/a" in finding.subject


def test_a_row_that_stands_twice_is_a_warning() -> None:
    assert kinds(row("/in/a"), row("file:/in/a/", min_files=2)) == [(WARNING, Kind.TWICE)]


def test_two_spellings_of_one_directory_under_a_root_are_one() -> None:
    assert kinds(row("/in/a"), row("a")) == [(WARNING, Kind.TWICE)]
    assert kinds(row("/in/a"), row("a"), roots=("/other", "/in/a")) == []


def test_patterns_that_overlap_start_a_workflow_twice() -> None:
    rows = (row("/in/a", file_pattern="*.csv"), row("/in/a", file_pattern="orders*"))
    (finding,) = found(*rows)
    assert (finding.severity, finding.kind, finding.subject) == (ERROR, Kind.CONFLICT, "w")
    assert "/in/a" in finding.message and "*.csv" in finding.message and "orders*" in finding.message
    assert kinds(row("/in/a"), row("a", file_pattern="*.csv")) == [(ERROR, Kind.CONFLICT)]
    assert kinds(row("/in/a"), row("a", "other", file_pattern="*.csv")) == []


TEXTS = st.text("ab*?", max_size=6)


@given(TEXTS, TEXTS)
def test_patterns_overlap_when_there_is_a_common_name(one: str, other: str) -> None:
    # No shortest common name is longer than both patterns together.
    longest = min(len(one) + len(other), 6)
    names = ("".join(name) for n in range(longest + 1) for name in product("ab", repeat=n))
    common = any(patterns.matches(name, one) and patterns.matches(name, other) for name in names)
    assert overlap(one, other) is overlap(other, one)
    assert overlap(one, other) or not common
    if len(one) + len(other) <= 6:
        assert overlap(one, other) is common


@pytest.mark.parametrize(
    ("lost", "wins"), [("/in/a?", "/in/a*"), ("/in/*/**", "/in/**"), ("/in/?*", "/in/*")]
)
def test_a_pattern_that_another_covers_and_beats_is_shadowed(lost: str, wins: str) -> None:
    findings = found(row(lost, "v"), row(wins, "w"))
    assert [f.subject for f in findings if "takes no file" in f.message] == [f"{lost} → v"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("/in/*/x", "/in/**/x"), ("/in/a*", "/in/*b"), ("/in/a?", "/in/a")],
)
def test_patterns_that_win_somewhere_are_not_shadowed(one: str, other: str) -> None:
    findings = found(row(one, "v"), row(other, "w"))
    assert [f.subject for f in findings if "takes no file" in f.message] == []


def test_a_directory_without_wildcards_is_never_shadowed_and_says_what_it_loses() -> None:
    (finding,) = found(row("/in/orders"), row("/in/**", "all"))
    assert (finding.severity, finding.kind) == (WARNING, Kind.SHADOWED)
    assert finding.subject == "/in/orders → w"
    assert "only the files directly in it" in finding.message and "/in/**" in finding.message
    assert found(row("/in/orders"), row("/in/**", "all", active_ind="N")) == []


def test_directories_outside_of_every_root_are_told() -> None:
    assert kinds(row("/elsewhere/a")) == [(WARNING, Kind.OUTSIDE)]
    assert kinds(row("s3://b/in")) == [(WARNING, Kind.OUTSIDE)]
    inside = [row(d, f"w{i}") for i, d in enumerate(["/", "/in", "/i*", "/**/x", "dbfs:/in/b/", "rel"])]
    assert Kind.OUTSIDE not in {kind for _, kind in kinds(*inside)}
    assert kinds(row("/in/a"), row("/x"), roots=()) == [(WARNING, Kind.OUTSIDE)]
    assert found(row("relative"), roots=()) == []


@pytest.mark.parametrize("name", ["_SUCCESS", ".done"])
def test_names_that_auto_loader_never_lists_are_errors(name: str) -> None:
    assert kinds(row("/in/a", completion_marker=name)) == [(ERROR, Kind.HIDDEN)]
    assert kinds(row("/in/a", file_pattern=f"{name}*")) == [(ERROR, Kind.HIDDEN)]
    assert kinds(row("/in/a", completion_marker="DONE_")) == []


@pytest.mark.parametrize(
    ("jobs", "severity", "words"),
    [
        ([], ERROR, "not visible to alice"),
        ([GOOD, CheckedJob(2, frozenset(), True, None)], ERROR, "2 jobs have this name (1, 2)"),
        ([CheckedJob(7, GOOD.parameters, True, False)], ERROR, "alice may not start job 7"),
        ([CheckedJob(7, GOOD.parameters, False, True)], WARNING, "no queue"),
        ([CheckedJob(7, frozenset({"x"}), True, True)], WARNING, "does not declare the parameter trigger_id"),
        ([CheckedJob(7, GOOD.parameters, True, None)], WARNING, "cannot be told"),
    ],
)
def test_workflows_are_found_startable_and_as_they_should_be(
    jobs: list[CheckedJob], severity: Severity, words: str
) -> None:
    rows = (row("/in/a"), row("/in/b"), row("/in/c", "off", active_ind="N"))
    (finding,) = found(*rows, jobs={"w": jobs})
    assert finding.severity is severity and words in finding.message


def test_errors_come_first() -> None:
    findings = found(row("/elsewhere"), row(None), row("/in/x", completion_marker="_X"))
    assert [f.severity for f in findings] == [ERROR, ERROR, WARNING]
