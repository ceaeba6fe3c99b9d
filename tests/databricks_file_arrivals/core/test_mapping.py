"""Rows of the mapping table become rules, whatever else stands in the table, and the nearest rule wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.mapping import MappingRule, Router, WorkflowMapping
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
    assert mapping.rules == (MappingRule("dbfs:/in/orders/", "load", True, {"env": "prod"}),)
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


def test_a_null_parameter_is_reported_and_the_rest_work() -> None:
    mapping = WorkflowMapping.read([row("a", parameters={"env": None}), row("b", parameters={})])
    assert names(mapping) == [("b", "load")]
    assert [problem.reason for problem in mapping.problems] == ["parameters has a null value"]


@pytest.mark.parametrize(
    "column",
    [
        "file_pattern",
        "settle_seconds",
        "min_files",
        "completion_marker",
        "min_interval_seconds",
        "when_queued",
        "expect_every_seconds",
    ],
)
def test_what_this_version_cannot_do_is_reported_and_not_ignored(column: str) -> None:
    mapping = WorkflowMapping.read([row("a"), row("b") | {column: 0}, row("c")])
    assert names(mapping) == [("a", "load"), ("c", "load")]
    assert column in mapping.problems[0].reason
    assert "null" in mapping.problems[0].reason


@pytest.mark.parametrize("directory", ["orders/*", "/in/**/eu", "s3://b/202?"])
def test_wildcards_are_reported_and_not_taken_literally(directory: str) -> None:
    mapping = WorkflowMapping.read([row(directory), row("b")])
    assert names(mapping) == [("b", "load")]
    assert "wildcards" in mapping.problems[0].reason


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
    same = [MappingRule("dbfs:/in/a/", "load", True), MappingRule("/in/a", "load", False, {"env": "prod"})]
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


@pytest.mark.parametrize("text", INJECTIONS)
def test_names_that_try_injection_stay_names(text: str) -> None:
    mapping = WorkflowMapping.read([row(f"/in/{text}", text)])
    assert names(mapping) == [(f"/in/{text}", text)]
    assert Router(mapping, ["/in"]).match(f"/in/{text}/x", "/in")[1] == mapping.rules
    assert Router(mapping, ["/in"]).match("/in/other", "/in") == ("", ())


SEGMENTS = ["a", "b", "a b", "it's", "100%", "x;--", "two\nlines", "größe"]
ROOTS = ["/in", "s3://bucket/land", "dbfs:/in/a/", "/"]
segments = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(tuple)
rule_places = st.tuples(
    st.sampled_from(["", *ROOTS]), segments.filter(bool), st.sampled_from("wv"), st.booleans()
)


def parts_of(place: str) -> tuple[str, ...]:
    """A root's parts, by hand: the reference must not lean on what it is to test."""
    return {"/in": ("in",), "s3://bucket/land": ("s3://bucket", "land"), "dbfs:/in/a/": ("in", "a"), "/": ()}[
        place
    ]


@given(st.lists(rule_places, max_size=8, unique=True), segments, st.sampled_from(ROOTS))
def test_the_router_is_the_naive_loop(
    rules: Sequence[tuple[str, tuple[str, ...], str, bool]], below: tuple[str, ...], root: str
) -> None:
    written = [
        row(
            "/".join([place.rstrip("/"), *inside]) if place else "/".join(inside),
            workflow,
            active_ind="YN"[not active],
        )
        for place, inside, workflow, active in rules
    ]
    mapping = WorkflowMapping.read(written)
    directory = "/".join([root.rstrip("/"), *below]) or "/"
    found, matched = Router(mapping, ROOTS).match(directory, root)

    here = (*parts_of(root), *below)
    by_id = {rule.rule_id: rule for rule in mapping.rules}
    places: dict[str, tuple[str, ...]] = {}
    for (place, inside, _, _), cells in zip(rules, written, strict=True):
        identity = MappingRule(cells["directory"], cells["workflow_name"], True).rule_id
        places[identity] = (*parts_of(place or root), *inside)
    near = {i: parts for i, parts in places.items() if here[: len(parts)] == parts}
    expected = nearest(near, {i: r for i, r in by_id.items() if r.active})
    expected = expected or nearest(near, by_id)
    assert {rule.rule_id for rule in matched} == expected
    assert len(matched) == len(expected)
    if expected:
        (parts,) = {places[i] for i in expected}
        text = "/".join(parts)
        assert found == (text if "://" in text else f"/{text}")


def nearest(near: Mapping[str, tuple[str, ...]], rules: Mapping[str, MappingRule]) -> set[str]:
    depth = max((len(parts) for i, parts in near.items() if i in rules), default=-1)
    return {i for i, parts in near.items() if i in rules and len(parts) == depth}


def test_a_relative_rule_holds_under_its_own_root_only() -> None:
    router = Router(WorkflowMapping.read([row("orders")]), ["/in", "s3://b/land/"])
    assert router.match("s3://b/land/orders/eu", "s3://b/land/")[0] == "s3://b/land/orders"
    assert router.match("/in/orders", "/in")[0] == "/in/orders"
    assert router.match("/in/orders", "s3://b/land/") == ("", ())
    assert router.match("/orders", "/in") == ("", ())


def test_an_active_rule_above_takes_what_an_inactive_one_leaves() -> None:
    router = Router(WorkflowMapping.read([row("/in"), row("/in/a", active_ind="N")]), [])
    assert [rule.active for rule in router.match("/in/a/x", "")[1]] == [True]
    assert router.match("/in/a/x", "")[0] == "/in"


def test_a_sibling_of_a_longer_name_is_not_below() -> None:
    router = Router(WorkflowMapping.read([row("/in/order")]), [])
    assert router.match("/in/orders", "") == ("", ())
    assert [rule.directory for rule in router.match(paths.canonical("/in/order/"), "")[1]] == ["/in/order"]


def test_a_row_in_its_absolute_and_its_relative_spelling_starts_its_workflow_once() -> None:
    rows = [
        {"directory": directory, "workflow_name": "load", "active_ind": "Y"}
        for directory in ("customers", "/in/customers", "/in/customers/")
    ]
    directory, rules = Router(WorkflowMapping.read(rows), ["/in"]).match("/in/customers/eu", "/in")
    assert directory == "/in/customers" and [rule.workflow_name for rule in rules] == ["load"]
