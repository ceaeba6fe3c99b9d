"""Rows of the mapping table become rules, whatever else stands in the table."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.mapping import MappingRule, WhenQueued, WorkflowMapping
from databricks_file_arrivals.core.tables import MAPPING

MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)
TUESDAY = datetime(2026, 1, 6, tzinfo=timezone.utc)
INJECTIONS = ["x'; DROP TABLE main.ingest.file_log;--", "`main`.`x`", "a' OR '1'='1", 'x");--', "${secrets}"]


def row(directory: object = "orders", workflow_name: object = "load", **more: Any) -> dict[str, Any]:
    """A row as the mapping table gives it: all of its columns."""
    empty = dict.fromkeys((column.name for column in MAPPING.columns), None)
    return {**empty, "directory": directory, "workflow_name": workflow_name, "active_ind": "Y", **more}


def names(mapping: WorkflowMapping) -> list[tuple[str, str]]:
    return [(rule.directory, rule.workflow_name) for rule in mapping.rules]


def test_a_row_becomes_a_rule() -> None:
    mapping = WorkflowMapping.read([row(" dbfs:/in/orders/\n", " load ", parameters={"env": "prod"})])
    assert mapping.rules == (MappingRule("dbfs:/in/orders/", "load", True, None, {"env": "prod"}),)
    assert mapping.problems == ()


def test_a_table_of_the_five_first_columns_is_enough() -> None:
    first = {"directory": "a", "workflow_name": "w", "active_ind": "Y", "last_change_user": "me"}
    assert names(WorkflowMapping.read([first, {**first, "directory": "b", "unknown": 7}])) == [
        ("a", "w"),
        ("b", "w"),
    ]


@pytest.mark.parametrize(
    ("text", "active"), [("Y", True), (" Y ", True), ("y", False), ("N", False), ("YES", False), ("1", False)]
)
def test_only_y_counts(text: str, active: bool) -> None:
    assert [rule.active for rule in WorkflowMapping.read([row(active_ind=text)]).rules] == [active]


@pytest.mark.parametrize("column", ["directory", "workflow_name", "active_ind"])
@pytest.mark.parametrize(("cell", "reason"), [(None, "null"), ("", "empty"), (" \t\n", "empty"), (7, "null")])
def test_a_bad_cell_is_reported_and_the_rest_work(column: str, cell: object, reason: str) -> None:
    mapping = WorkflowMapping.read([row("a"), row("b") | {column: cell}, row("c")])
    assert names(mapping) == [("a", "load"), ("c", "load")]
    (problem,) = mapping.problems
    assert problem.reason == f"{column} is {reason}"
    assert repr(cell if column == "directory" else "b") in str(problem)


def test_a_row_without_its_columns_is_reported() -> None:
    mapping = WorkflowMapping.read([{}, row("a")])
    assert names(mapping) == [("a", "load")]
    assert [problem.reason for problem in mapping.problems] == ["directory is null"]


def test_all_columns_become_a_rule() -> None:
    cells = {
        "file_pattern": " *.csv ",
        "parameters": {"source": "{directory}/{file_count}"},
        "settle_seconds": 5,
        "min_files": 2,
        "max_wait_seconds": 60,
        "completion_marker": "DONE",
        "min_interval_seconds": 7,
        "when_queued": "Skip",
        "expect_every_seconds": 9,
    }
    assert WorkflowMapping.read([row("/in/*/a", **cells)]).rules == (
        MappingRule(
            "/in/*/a",
            "load",
            True,
            "*.csv",
            {"source": "{directory}/{file_count}"},
            5,
            2,
            60,
            "DONE",
            7,
            WhenQueued.SKIP,
            9,
        ),
    )


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("file_pattern", "a/*.csv", "compared with file names"),
        ("file_pattern", "**.csv", "write * for any text"),
        ("file_pattern", "*.{csv,txt}", "a row for each alternative"),
        ("file_pattern", "[ab]*", "a row for each alternative"),
        ("directory", "/in/a**", "whole directories"),
        ("directory", "/in/*/[ab]", "a row for each alternative"),
        ("directory", "s3://*/in", "scheme or bucket"),
        ("settle_seconds", -1, "at least 0"),
        ("min_files", -3, "at least 0"),
        ("max_wait_seconds", -1, "at least 0"),
        ("min_interval_seconds", -1, "at least 0"),
        ("expect_every_seconds", -1, "at least 0"),
        ("completion_marker", "*.done", "name of one file"),
        ("completion_marker", "x/done", "name of one file"),
        ("when_queued", "drop", "hold, skip, start or null"),
        ("max_wait_seconds", 10**12, "at most"),
        ("settle_seconds", "5", "write a number"),
        ("last_updated_ts", "2026-01-05", "no datetime"),
        ("parameters", "env=prod", "no Mapping"),
        ("file_pattern", "*a*b*c*d*e*f*g", "wildcards in the name"),
        ("directory", "/in/*a*b*c*d*e*f*g/x", "wildcards in the name"),
        ("parameters", {"env": None}, "env is null"),
        ("parameters", {"env": "{nothing}"}, "unknown placeholder {nothing}"),
        ("parameters", {"trigger_id": "1"}, "set by this package"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_work(column: str, cell: object, reason: str) -> None:
    mapping = WorkflowMapping.read([row("a"), row("b") | {column: cell}, row("c")])
    assert names(mapping) == [("a", "load"), ("c", "load")]
    (problem,) = mapping.problems
    assert column in problem.reason and reason in problem.reason


@pytest.mark.parametrize(
    ("column", "cell"), [("max_wait_seconds", 60), ("owner", "me"), ("last_change_user", "me")]
)
def test_what_changes_nothing_is_no_problem(column: str, cell: object) -> None:
    mapping = WorkflowMapping.read([row() | {column: cell}])
    assert (len(mapping.rules), mapping.problems) == (1, ())


@pytest.mark.parametrize("turn", [1, -1])
def test_of_rows_that_stand_twice_the_newest_counts(turn: int) -> None:
    rows = [
        row("/in/a", last_updated_ts=TUESDAY, parameters={"which": "new"}),
        row("dbfs:/in/a/", last_updated_ts=MONDAY, parameters={"which": "old"}),
        row("/in/a", active_ind="N"),
    ]
    mapping = WorkflowMapping.read(rows[::turn])
    assert [dict(rule.parameters) for rule in mapping.rules] == [{"which": "new"}]
    assert [problem.row for problem in mapping.problems] == [
        "directory='/in/a' workflow_name='load'",
        "directory='dbfs:/in/a/' workflow_name='load'",
    ]
    assert all("twice" in problem.reason for problem in mapping.problems)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("other", ["dbfs:/in/a", "/in/a/", " /in/a"])
def test_rows_that_say_the_same_give_one_rule_and_one_problem_in_any_order(other: str, turn: int) -> None:
    mapping = WorkflowMapping.read([row("/in/a"), row(other)][::turn])
    assert mapping == WorkflowMapping.read([row(other), row("/in/a")])
    assert (len(mapping.rules), len(mapping.problems)) == (1, 1)


def test_times_with_and_without_a_zone_compare() -> None:
    rows = [row(last_updated_ts=TUESDAY.replace(tzinfo=None), parameters={"which": "new"})]
    rows += [row(last_updated_ts=MONDAY), row()]
    assert WorkflowMapping.read(rows).rules[0].parameters == {"which": "new"}


def test_a_relative_and_an_absolute_directory_of_one_name_are_two_rules() -> None:
    mapping = WorkflowMapping.read([row("orders"), row("/orders")])
    assert len({rule.rule_id for rule in mapping.rules}) == 2
    assert mapping.problems == ()


def test_a_rule_is_the_same_while_directory_and_workflow_are() -> None:
    rule = MappingRule("/in/a", "load", True)
    same = [
        MappingRule("dbfs:/in/a/", "load", True),
        MappingRule("/in/a", "load", False, None, {"env": "prod"}),
    ]
    others = [
        MappingRule("/in/b", "load", True),
        MappingRule("/in/a", "load 2", True),
        MappingRule("/in/A", "load", True),
    ]
    assert {r.rule_id for r in same} == {rule.rule_id}
    assert len({r.rule_id for r in [rule, *others]}) == 4
    # Logged rows and open requests name rules by this: a change of the formula would orphan them.
    assert rule.rule_id == "578967e4857c7ed9"


cells = st.one_of(
    st.none(), st.sampled_from(["", " ", "a", "/in/a", "a/", "dbfs:/in/a", "b", "w", "Y", "N", *INJECTIONS])
)
mapping_rows = st.lists(
    st.builds(
        lambda d, w, a, p, t, s: row(d, w, active_ind=a, parameters=p, last_updated_ts=t, settle_seconds=s),
        cells,
        cells,
        st.sampled_from(["Y", "N", None]),
        st.one_of(st.none(), st.dictionaries(st.sampled_from("xy"), st.one_of(st.none(), st.just("1")))),
        st.sampled_from([None, MONDAY, TUESDAY]),
        st.sampled_from([None, None, 5]),
    ),
    max_size=8,
)


@given(mapping_rows, st.randoms(use_true_random=False))
def test_each_row_is_a_rule_or_a_problem_in_any_order(rows: list[dict[str, Any]], chance: Any) -> None:
    mapping = WorkflowMapping.read(rows)
    assert len(mapping.rules) + len(mapping.problems) == len(rows)
    assert len({rule.rule_id for rule in mapping.rules}) == len(mapping.rules)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert WorkflowMapping.read(shuffled) == mapping
