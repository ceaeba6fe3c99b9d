"""The nearest rule wins, however it is written and however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.routing import Match, Router

INJECTIONS = ["x'; DROP TABLE main.ingest.file_log;--", "`main`.`x`", "a' OR '1'='1", 'x");--', "${secrets}"]


def row(directory: str, workflow: str = "load", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


def router(*rows: dict[str, Any]) -> Router:
    mapping = WorkflowMapping.read(rows)
    assert not mapping.problems
    return Router(mapping)


@pytest.mark.parametrize("text", INJECTIONS)
def test_names_that_try_injection_stay_names(text: str) -> None:
    found = router(row(f"/in/{text}", text))
    (rule,) = found.match(f"/in/{text}/x", "/in").rules
    assert (rule.directory, rule.workflow_name) == (f"/in/{text}", text)
    assert found.match("/in/other", "/in") == Match()


SEGMENTS = ["a", "b", "ab", "a b", "100%", "two\nlines", "größe"]
PATTERNS = [*SEGMENTS, "*", "a*", "?", "*b", "**", "a?b"]
ROOTS = {"/in": ("/", "in"), "s3://bucket/land": ("s3://bucket", "land"), "dbfs:/in/a/": ("/", "in", "a")}
below = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(tuple)
places = st.tuples(
    st.sampled_from(["", *ROOTS]),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4).map(tuple),
    st.sampled_from("wv"),
    st.booleans(),
)
Place = tuple[str, tuple[str, ...], str, bool]


def like(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a pattern's parts name a directory's parts: the slow way."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(like(pattern[1:], names[i:]) for i in range(len(names) + 1))
    return bool(names) and like_name(pattern[0], names[0]) and like(pattern[1:], names[1:])


def like_name(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(like_name(pattern[1:], name[i:]) for i in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and like_name(pattern[1:], name[1:])


def order(parts: tuple[str, ...]) -> tuple[bool, int, int, str]:
    """Literal before pattern, then the longest literal beginning, the fewest wildcards, the text."""
    top, *rest = parts
    text = top + ("" if top == "/" else "/") + "/".join(rest)
    wildcards = sum(c in "*?" for c in text)
    literal = len(text.split("*")[0].split("?")[0]) if wildcards else 0
    return (bool(wildcards), -literal, wildcards, text)


@given(st.lists(places, max_size=8, unique=True), below, st.sampled_from(sorted(ROOTS)))
def test_the_router_is_the_naive_loop(rules: list[Place], inside: tuple[str, ...], root: str) -> None:
    written = [
        row("/".join([base.rstrip("/"), *names]) if base else "/".join(names), w, active_ind="NY"[active])
        for base, names, w, active in rules
    ]
    top, *here = (*ROOTS[root], *inside)
    parts = {
        MappingRule(cells["directory"], cells["workflow_name"]).rule_id: (*ROOTS[base or root], *names)
        for (base, names, _, _), cells in zip(rules, written, strict=True)
    }
    mapping = WorkflowMapping.read(written)
    assert all("twice" in problem.reason for problem in mapping.problems)
    near = [
        (-depth, order(parts[r.rule_id]), r)
        for r in mapping.rules
        for depth in range(len(here) + 1)
        if parts[r.rule_id][0] == top and like(parts[r.rule_id][1:], here[:depth])
    ]
    active = [found for found in near if found[2].active]
    wanted: set[str] = set()
    if near:
        best = min(found[:2] for found in (active or near))
        wanted = {r.workflow_name for depth, at, r in (active or near) if (depth, at) == best}
    match = Router(mapping).match("/".join([root.rstrip("/"), *inside]), root)
    assert {r.workflow_name for r in match.rules} == wanted
    assert len(match.rules) == len(wanted)
    assert match.active == bool(active)
    if near:
        names = here[: -best[0]]
        assert match.directory == top + ("/" if names and top != "/" else "") + "/".join(names)


def test_a_relative_rule_holds_under_its_own_root_only() -> None:
    found = router(row("orders"))
    assert found.match("s3://b/land/orders/eu", "s3://b/land/").directory == "s3://b/land/orders"
    assert found.match("/in/orders", "/in").directory == "/in/orders"
    assert found.match("/in/orders", "s3://b/land/") == Match()
    assert found.match("/orders", "/in") == Match()


def test_a_root_may_be_a_pattern_itself() -> None:
    found = router(row("orders"))
    assert found.match("/in/eu/orders/x", "/in/*").directory == "/in/eu/orders"


def test_an_active_rule_above_takes_what_an_inactive_one_leaves() -> None:
    match = router(row("/in"), row("/in/a", active_ind="N")).match("/in/a/x", "")
    assert match.active and match.directory == "/in"


def test_a_sibling_of_a_longer_name_is_not_below() -> None:
    found = router(row("/in/order"))
    assert found.match("/in/orders", "") == Match()
    assert found.match("/in/order/", "").directory == "/in/order"


def test_a_row_in_its_absolute_and_its_relative_spelling_starts_its_workflow_once() -> None:
    match = router(row("customers"), row("/in/customers")).match("/in/customers/eu", "/in")
    assert match.directory == "/in/customers"
    assert [rule.workflow_name for rule in match.rules] == ["load"]


def test_all_rules_of_the_directory_fire_each_pattern_for_itself() -> None:
    rows = [row("/in/a", file_pattern=p) for p in ("*.csv", "*.txt", None)] + [row("/in/a", "more")]
    match = router(*rows, row("/in/*"), row("/in/**")).match("/in/a", "/in")
    assert [(r.workflow_name, r.file_pattern) for r in match.rules] == [
        ("load", None),
        ("load", "*.csv"),
        ("load", "*.txt"),
        ("more", None),
    ]


def test_a_name_of_a_megabyte_is_found() -> None:
    long = "x" * 1_000_000
    found = router(row(f"/in/{long}"), row("/in/y*"))
    assert found.match(f"/in/{long}/a", "/in").directory == f"/in/{long}"
    assert found.match(f"/in/y{long}", "/in").directory == f"/in/y{long}"


def test_candidates_come_in_their_order() -> None:
    found = router(
        row("/in/a/*"), row("/in/a"), row("/in/*", active_ind="N"), row("/in/a", "off", active_ind="N")
    )
    assert [(m.directory, m.active) for m in found.matches("/in/a/b", "/in")] == [
        ("/in/a/b", True),
        ("/in/a", True),
        ("/in/a", False),
        ("/in/a", False),
    ]
