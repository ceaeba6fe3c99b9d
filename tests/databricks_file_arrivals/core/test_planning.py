"""Plans are exact: each arrival is in one row for each rule that picks it, and rows say which files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databricks_file_arrivals.core.mapping import DAY, WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status, trigger_id
from databricks_file_arrivals.core.planning import (
    Claim,
    Job,
    Situation,
    decide,
    gaps,
    kept,
    matched,
    next_due,
    plan,
    route,
    wanted,
    workflows,
)
from tests.databricks_file_arrivals.core.planned import (
    NOON,
    REQUESTED,
    ROOTS,
    File,
    Planned,
    aggregate,
    later,
    occupied,
    picked,
    selected,
)

CLAIM = Claim("default", "c1", 5, "main.ingest.file_log")
SEGMENTS = ["a", "b", "it's", "x;-- '", "two\nlines"]
WORKFLOWS = ["load", "it's; DROP TABLE x;--", "größe"]
FILE_NAMES = ["1.csv", "2.csv", "1.txt", "DONE", "%_.csv"]
ALL = {stream: (-1, 9) for stream in ROOTS}

segments = st.lists(st.sampled_from(SEGMENTS), max_size=3).map(tuple)
files = st.builds(
    lambda stream, batch, inside, name, size: File(
        stream,
        batch,
        "/".join([ROOTS[stream].rstrip("/"), *inside]),
        name,
        size,
        later(60 * batch),
    ),
    st.sampled_from(sorted(ROOTS)),
    st.integers(0, 4),
    segments,
    st.sampled_from(FILE_NAMES),
    st.integers(0, 3),
)
seconds = st.sampled_from([None, None, 0, 60, 100, 200])
rows_of_rules = st.builds(
    lambda place, inside, workflow, active, pattern, **terms: {
        "directory": "/".join([place, *inside]) if place else "/".join(inside),
        "workflow_name": workflow,
        "active_ind": "Y" if active else "N",
        "file_pattern": pattern,
        **terms,
    },
    st.sampled_from(["", "/in", "s3://bucket/land", "dbfs:/in/a", "s3://bucket"]),
    st.lists(st.sampled_from([*SEGMENTS, "*", "**"]), min_size=1, max_size=3),
    st.sampled_from(WORKFLOWS),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([None, None, "*.csv", "?.*", "%_.csv"]),
    settle_seconds=seconds,
    min_files=st.sampled_from([None, None, 2, 5]),
    max_wait_seconds=seconds,
    completion_marker=st.sampled_from([None, None, "DONE"]),
    when_queued=st.sampled_from([None, "skip", "start"]),
)
many_files = st.lists(files, max_size=20)
many_rules = st.lists(rows_of_rules, max_size=6)
jobs = st.fixed_dictionaries(
    {
        name: st.lists(
            st.builds(
                Job, st.integers(1, 9), st.frozensets(st.sampled_from(["trigger_id", "file_count", "env"]))
            ),
            max_size=2,
        )
        for name in WORKFLOWS
    }
)


def one(directory: str, stream: str = "s1", batch: int = 0, name: str = "1.csv", at: float = 0) -> File:
    return File(stream, batch, directory, name, 7, later(at))


def rule(directory: str, workflow: str = "load", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


chance = st.randoms(use_true_random=False)


def planned(
    log: Sequence[File],
    mapping: WorkflowMapping,
    known: Mapping[str, Sequence[Job]],
    claim: Claim = CLAIM,
    now: datetime = NOON,
) -> tuple[LogRow, ...]:
    pairs = matched(aggregate(log, ALL), mapping)
    routes = route(pairs, picked(log, wanted(pairs)))
    return plan(claim, decide(routes, mapping, Situation(now)), known)


@given(many_files, many_rules)
def test_each_arrival_is_in_exactly_one_row_for_each_rule_that_picks_it(
    log: list[File], rules: list[dict[str, Any]]
) -> None:
    world = Planned(log)
    world.claim(WorkflowMapping.read(rules), NOON)
    assert world.covered() == world.meant


@given(many_files, many_rules, jobs)
def test_a_row_counts_the_files_that_it_selects(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    for row in planned(log, WorkflowMapping.read(rules), known):
        mine = [log[i] for i in selected(row, log)]
        assert mine
        assert row.file_count == len(mine)
        assert row.total_bytes == sum(f.size for f in mine)
        assert row.first_arrival_at == min(f.logged_at for f in mine)
        assert row.last_arrival_at == max(f.logged_at for f in mine)
        assert row.from_batch == min(f.batch_id for f in mine)
        assert row.to_batch == max(f.batch_id for f in mine)
        assert (row.consumer, row.claim_id, row.epoch) == (CLAIM.consumer, CLAIM.claim_id, CLAIM.epoch)


@given(many_files, many_rules, many_rules, jobs, chance)
def test_the_plan_does_not_depend_on_the_order_of_anything(
    log: list[File],
    before: list[dict[str, Any]],
    rules: list[dict[str, Any]],
    known: dict[str, list[Job]],
    shuffle: Any,
) -> None:
    world = Planned([f for f in log if f.batch_id < 2])
    world.claim(WorkflowMapping.read(before), NOON)
    window = {stream: (1, 9) for stream in ROOTS}

    def planned_now() -> tuple[LogRow, ...]:
        holds = world.holds()
        shuffle.shuffle(holds)
        mapping = WorkflowMapping.read(rules)
        arrivals = aggregate(log, window)
        shuffle.shuffle(arrivals)
        pairs = matched(arrivals, mapping)
        routes = route(pairs, picked(log, wanted(pairs)))
        situation = Situation(later(90), holds, occupied(log, gaps(routes, holds)))
        turned = {name: list(found)[::-1] for name, found in reversed(known.items())}
        return plan(CLAIM, decide(routes, mapping, situation), turned)

    first = planned_now()
    log, rules = list(log), list(rules)
    shuffle.shuffle(log)
    shuffle.shuffle(rules)
    shuffle.shuffle(world.rows)
    assert planned_now() == first


few_files = st.lists(
    st.builds(one, st.sampled_from(["/in/a", "/in/a/x"]), batch=st.integers(0, 5), at=st.integers(0, 60)),
    max_size=8,
)
few_rules = st.lists(
    st.builds(
        rule,
        st.sampled_from(["/in/a", "/in/a/x", "/in/*", "a/x"]),
        min_files=st.sampled_from([0, 9]),
        active_ind=st.sampled_from("YYYN"),
    ),
    max_size=3,
)
steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(sorted(ROOTS)), st.integers(-1, 5)),
        st.one_of(many_rules, few_rules, few_rules),
        st.sampled_from([0, 30, 60, 300, DAY]),
    ),
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(many_files, few_files), st.one_of(many_rules, few_rules), steps)
def test_whatever_is_edited_and_however_it_is_cut_nothing_is_lost_or_doubled(
    log: list[File], rules: list[dict[str, Any]], claims: list[tuple[dict[str, int], list[Any], int]]
) -> None:
    world, now = Planned(log), 0
    for up_to, edited, pause in [*claims, ({}, rules, 0)]:
        now += pause
        goal = {s: max(up_to.get(s, -1), world.cursor.get(s, -1)) for s in ROOTS}
        world.claim(WorkflowMapping.read(edited), later(now), None if edited is rules else goal)
        assert world.covered() == world.meant
        for row in world.rows:
            assert row.file_count == len(selected(row, log))
    # Then time alone releases everything.
    world.claim(WorkflowMapping.read(rules), later(now + 4 * 60 + 2 * DAY))
    assert not world.holds()
    assert world.covered() == world.meant
    identities = [row.trigger_id for row in world.rows]
    assert len(set(identities)) == len(identities)


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(["/in/a", "/in/a/x", "/in/a/y"])),
            st.sets(st.sampled_from(["/in/a/x", "/in/*/y"])),
        ),
        max_size=6,
    )
)
def test_rules_that_come_and_go_below_a_patient_one_take_only_what_is_theirs(
    claims: list[tuple[set[str], set[str]]],
) -> None:
    world = Planned()
    for batch, (landed, nearer) in enumerate(claims):
        world.log += [one(directory, batch=batch) for directory in sorted(landed)]
        patient = [rule(d, min_files=9) for d in ("/in/a", *sorted(nearer))]
        world.claim(read(*patient), NOON)
        assert world.covered() == world.meant
    assert all(row.file_count == len(selected(row, world.log)) for row in world.rows)


@given(many_files, many_rules)
def test_one_claim_and_many_cover_the_same_files(log: list[File], rules: list[dict[str, Any]]) -> None:
    mapping = WorkflowMapping.read(rules)
    once, often = Planned(log), Planned(log)
    once.claim(mapping, NOON)
    for batch in range(5):
        often.claim(mapping, later(60 * batch), dict.fromkeys(ROOTS, batch))
    assert often.covered() == once.covered()


@given(many_files, many_rules, jobs, st.integers(1, 2**47))
def test_identities_are_unique_and_come_from_the_stored_row(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]], epoch: int
) -> None:
    rows = planned(log, WorkflowMapping.read(rules), known, replace(CLAIM, epoch=epoch))
    identities = [row.trigger_id or "" for row in rows]
    assert len(set(identities)) == len(identities)
    for row, identity in zip(rows, identities, strict=True):
        assert len(identity) == 64
        assert set(identity) <= set("0123456789abcdef")
        assert int(identity[:12], 16) == epoch
        assert row.attempt == 1
        assert trigger_id(stored(row), 1) == identity


def stored(row: LogRow) -> LogRow:
    """The row after it went through JSON, as it goes to a table and back."""
    back: dict[str, Any] = json.loads(json.dumps(asdict(row), default=str))
    directories = {name: Range(**found) for name, found in back["directories"].items()}
    excluded = None if back["excluded_patterns"] is None else tuple(back["excluded_patterns"])
    return LogRow(
        **{
            **back,
            "status": Status(back["status"]),
            "directories": directories,
            "excluded_patterns": excluded,
        }
    )


@given(many_files, many_rules, jobs)
def test_what_becomes_of_a_request_depends_on_the_jobs_of_its_name(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    mapping = WorkflowMapping.read(rules)
    by_id = {rule.rule_id: rule for rule in mapping.rules}
    for row in planned(log, mapping, known):
        if row.status is Status.HELD:
            assert row.waits_for and row.run_id is None and row.job_id is None
            continue
        if row.status not in REQUESTED:
            assert (row.run_id, row.job_id, row.workflow_name) == (-1, None, None)
            assert row.error
            continue
        assert row.rule_id is not None
        assert row.workflow_name == by_id[row.rule_id].workflow_name
        found = known[row.workflow_name]
        if len(found) == 1:
            assert (row.status, row.run_id, row.job_id) == (Status.PLANNED, None, found[0].job_id)
            assert set(row.job_parameters or {}) == found[0].parameters - {"env"}
            assert row.error is None
        else:
            assert (row.status, row.run_id, row.job_id) == (Status.NO_SUCH_WORKFLOW, -1, None)
            assert repr(row.workflow_name) in (row.error or "")


@given(many_files, many_rules)
def test_only_workflows_that_start_now_are_looked_up(log: list[File], rules: list[dict[str, Any]]) -> None:
    mapping = WorkflowMapping.read(rules)
    pairs = matched(aggregate(log, ALL), mapping)
    decisions = decide(route(pairs, picked(log, wanted(pairs))), mapping, Situation(NOON))
    rows = plan(CLAIM, decisions, {})
    assert workflows(decisions) == {
        r.workflow_name for r in rows if r.workflow_name and r.status is Status.NO_SUCH_WORKFLOW
    }


def read(*rows: dict[str, Any]) -> WorkflowMapping:
    mapping = WorkflowMapping.read(rows)
    assert not mapping.problems
    return mapping


def test_unmapped_arrivals_make_one_row_per_subdirectory_of_the_root() -> None:
    log = [one("/in/a/x"), one("/in/a/y", batch=3), one("/in/b"), one("/in"), one("s3://bucket/land/a", "s2")]
    rows = planned(log, WorkflowMapping(), {})
    assert [(row.stream_id, row.directory, row.table_name, row.file_count) for row in rows] == [
        ("s1", "/in", "in", 1),
        ("s1", "/in/a", "a", 2),
        ("s1", "/in/b", "b", 1),
        ("s2", "s3://bucket/land/a", "a", 1),
    ]
    assert rows[1].directories == {"/in/a/x": Range(-1, 9), "/in/a/y": Range(-1, 9)}
    assert {(row.status, row.run_id, row.workflow_name) for row in rows} == {(Status.UNMAPPED, -1, None)}


def test_files_that_no_pattern_picks_are_unmapped_and_say_which_were_not_meant() -> None:
    names = ("1.csv", "2.txt", "3.doc", "DONE")
    log = [one("/in/a/x", name=name) for name in names]
    mapping = read(
        rule("/in/a", file_pattern="*.csv", completion_marker="DONE"), rule("/in/a", file_pattern="*.txt")
    )
    rows = planned(log, mapping, {"load": [Job(1)]})
    assert {r.file_pattern: (r.status, r.excluded_patterns, r.file_count) for r in rows} == {
        "*.csv": (Status.PLANNED, None, 1),
        "*.txt": (Status.PLANNED, None, 1),
        None: (Status.UNMAPPED, ("*.csv", "*.txt", "DONE"), 1),
    }
    assert {r.completion_marker for r in rows if r.file_pattern == "*.csv"} == {"DONE"}


def test_inactive_rows_make_one_row_per_directory_whatever_their_number() -> None:
    mapping = read(*(rule("/in/a", name, active_ind="N") for name in WORKFLOWS))
    (row,) = planned([one("/in/a/x"), one("/in/a/y")], mapping, {})
    assert (row.status, row.directory, row.file_count) == (Status.INACTIVE, "/in/a", 2)
    assert row.workflow_name is None
    assert all(name in (row.error or "") for name in WORKFLOWS)


def test_several_rules_of_a_directory_all_start_each_on_its_own_terms() -> None:
    mapping = read(
        *(rule("/in/a", name, min_files=2 if name == WORKFLOWS[2] else None) for name in WORKFLOWS)
    )
    known = {WORKFLOWS[0]: [Job(1)], WORKFLOWS[1]: [Job(2), Job(3)]}
    rows = planned([one("/in/a/x")], mapping, known)
    assert {row.workflow_name: row.status for row in rows} == {
        WORKFLOWS[0]: Status.PLANNED,
        WORKFLOWS[1]: Status.NO_SUCH_WORKFLOW,
        WORKFLOWS[2]: Status.HELD,
    }
    errors = {row.workflow_name: row.error or "" for row in rows}
    assert "(2, 3)" in errors[WORKFLOWS[1]] and "rename" in errors[WORKFLOWS[1]]


def test_ten_thousand_workflows_for_one_directory_are_as_many_requests() -> None:
    mapping = read(*(rule("/in/a", f"w{i}") for i in range(10_000)))
    rows = planned([one("/in/a/x")], mapping, {f"w{i}": [Job(i)] for i in range(10_000)})
    assert len({row.trigger_id for row in rows}) == 10_000


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ([], {}),
        (["trigger_id"], {"trigger_id"}),
        (
            ["trigger_id", "log_table", "directory", "file_count", "env", "other"],
            {"trigger_id", "log_table", "directory", "file_count", "env"},
        ),
    ],
)
def test_a_job_is_told_what_it_declares(declared: list[str], told: set[str]) -> None:
    mapping = read(rule("/in/a b", parameters={"env": "prod of {table_name}", "quiet": "1"}))
    log = [one("/in/a b/x"), one("/in/a b/y")]
    (row,) = planned(log, mapping, {"load": [Job(1, frozenset(declared))]})
    everything = {
        "trigger_id": row.trigger_id,
        "log_table": "main.ingest.file_log",
        "directory": "/in/a b",
        "file_count": "2",
        "env": "prod of a b",
    }
    assert row.job_parameters == {name: everything[name] for name in told}


def test_a_job_that_declares_it_is_told_who_started_it_unless_its_rule_says_otherwise() -> None:
    claim = replace(CLAIM, lineage={"OPENLINEAGE_CONTEXT": '{"run":{"runId":"1"}}'})
    mapping = read(
        rule("/in/a"), rule("/in/b", parameters={"OPENLINEAGE_CONTEXT": "mine"}), rule("/in/c", "deaf")
    )
    known = {"load": [Job(1, frozenset({"OPENLINEAGE_CONTEXT"}))], "deaf": [Job(2)]}
    rows = planned([one("/in/a"), one("/in/b"), one("/in/c")], mapping, known, claim)
    assert {row.directory: row.job_parameters for row in rows} == {
        "/in/a": dict(claim.lineage),
        "/in/b": {"OPENLINEAGE_CONTEXT": "mine"},
        "/in/c": {},
    }


def test_a_dry_run_plans_the_same_and_starts_nothing() -> None:
    mapping = read(rule("/in/a"), rule("/in/b", min_files=2), rule("/in/c", "gone"))
    log = [one(f"/in/{d}") for d in "abcd"]
    known = {"load": [Job(1, frozenset({"file_count"}))]}
    rows = planned(log, mapping, known, replace(CLAIM, dry_run=True))
    assert {r.directory: r.status.value for r in rows} == {
        "/in/a": "DRY_RUN",
        "/in/b": "HELD",
        "/in/c": "NO_SUCH_WORKFLOW",
        "/in/d": "UNMAPPED",
    }
    (dry,) = (r for r in rows if r.status is Status.DRY_RUN)
    assert dry.job_parameters == {"file_count": "1"} and dry.run_id is None


def test_nothing_new_is_an_empty_plan() -> None:
    assert planned([], read(rule("/in")), {}) == ()


# Holds.


def test_held_arrivals_grow_into_one_request() -> None:
    mapping = read(rule("/in/a", min_files=3, parameters={"env": "x"}))
    world = Planned()
    for batch in range(3):
        world.log.append(one("/in/a/x" if batch else "/in/a", batch=batch))
        (row,) = world.claim(mapping, later(batch))
    assert (row.status, row.file_count, row.from_batch, row.to_batch) == (Status.PLANNED, 3, 0, 2)
    assert row.directories == {"/in/a": Range(-1, 0), "/in/a/x": Range(0, 2)}
    assert [r.status for r in world.rows] == [Status.HELD, Status.HELD, Status.PLANNED]
    assert world.rows[0].waits_for == ("min_files",) and row.waits_for is None
    assert world.rows[0].job_parameters == {"env": "x"}, "a replay can start it though the rule be gone"


def test_a_hold_that_nothing_changes_is_not_written_again() -> None:
    mapping = read(rule("/in/a", settle_seconds=60), rule("/in/b", settle_seconds=600))
    world = Planned([one("/in/a"), one("/in/b")])
    assert len(world.claim(mapping, NOON)) == 2
    assert world.claim(mapping, later(59)) == ()
    decisions = world.decided(mapping, later(59), {})
    assert next_due(decisions) == later(60)
    assert [row.epoch for row in kept(decisions)] == [1, 1]
    (row,) = world.claim(mapping, later(60))
    assert (row.directory, row.status) == ("/in/a", Status.PLANNED)


def test_ranges_join_only_over_batches_without_files() -> None:
    patient = rule("/in/a", min_files=9)
    world = Planned([one("/in/a/x", batch=0)])
    world.claim(read(patient), NOON)
    world.log.append(one("/in/b", batch=1))
    world.claim(read(patient), NOON)  # a gap without files of /in/a/x
    world.log.append(one("/in/a/x", batch=2))
    (row,) = world.claim(read(patient), NOON)
    assert row.directories == {"/in/a/x": Range(-1, 2)}
    world.log.append(one("/in/a/x", batch=3))
    world.claim(read(patient, rule("/in/a/x", "other")), NOON)  # a nearer rule takes a batch between
    world.log.append(one("/in/a/x", batch=4))
    rows = world.claim(read(patient), NOON)
    assert [r.directories for r in rows] == [{"/in/a/x": Range(-1, 2)}, {"/in/a/x": Range(3, 4)}]
    released = world.claim(read(rule("/in/a")), NOON)
    assert {r.status for r in released} == {Status.PLANNED} and len(released) == 2
    assert world.covered() == world.meant


def test_a_marker_that_came_is_remembered_while_something_else_is_waited_for() -> None:
    mapping = read(rule("/in/a", completion_marker="DONE", settle_seconds=60, file_pattern="*.csv"))
    world = Planned([one("/in/a"), one("/in/a", name="DONE")])
    (row,) = world.claim(mapping, NOON)
    assert (row.waits_for, row.completion_marker, row.file_count) == (("settle_seconds",), "DONE", 1)
    (row,) = world.claim(mapping, later(60))
    assert (row.status, row.completion_marker) == (Status.PLANNED, "DONE")
    another = read(rule("/in/a", completion_marker="OTHER", file_pattern="*.csv"))
    world.log.append(one("/in/a", batch=1))
    assert world.claim(mapping, NOON)[0].waits_for == ("settle_seconds", "completion_marker")
    assert world.claim(another, later(9)) == (), "the marker that came is not the one that is asked for now"


def test_a_marker_alone_starts_nothing() -> None:
    mapping = read(rule("/in/a", completion_marker="DONE", file_pattern="*.csv"))
    assert planned([one("/in/a", name="DONE")], mapping, {}) == ()


@pytest.mark.parametrize("edit", [[], [rule("/in/a", active_ind="N")], [rule("/in/a", "another")]])
def test_a_hold_whose_rule_is_gone_ends_as_it_is_stored(edit: list[dict[str, Any]]) -> None:
    world = Planned([one("/in/a/x")])
    (held,) = world.claim(read(rule("/in/a", min_files=2, parameters={"p": "{directory}"})), NOON)
    (ended,) = world.claim(read(*edit), later(5))
    assert (ended.status, ended.workflow_name, ended.run_id) == (Status.INACTIVE, "load", -1)
    assert (ended.directories, ended.job_parameters) == (held.directories, {"p": "{directory}"})
    assert "deleted or made inactive" in (ended.error or "")
    assert world.claim(read(rule("/in/a")), later(9)) == ()


def test_a_hold_whose_row_was_broken_waits_until_it_is_mended() -> None:
    world = Planned([one("/in/a")])
    world.claim(read(rule("/in/a", min_files=2)), NOON)
    broken = WorkflowMapping.read([rule("/in/a", min_files=-2), rule("/in", "catch all")])
    assert len(broken.problems) == 1
    assert world.claim(broken, later(2 * DAY)) == ()
    assert next_due(world.decided(broken, later(5), {})) == later(3605)
    (row,) = world.claim(read(rule("/in/a", min_files=1)), later(9))
    assert (row.status, row.file_count) == (Status.PLANNED, 1)


def test_new_terms_count_for_what_is_held() -> None:
    world = Planned([one("/in/a")])
    world.claim(read(rule("/in/a", min_files=2)), NOON)
    (row,) = world.claim(read(rule("/in/a", parameters={"p": "new"})), later(1))
    assert row.status is Status.PLANNED


def test_a_queued_run_holds_or_takes_or_is_followed() -> None:
    log = [one("/in/a")]
    for way, status in (("hold", Status.HELD), ("skip", Status.COALESCED), ("start", Status.PLANNED)):
        mapping = read(rule("/in/a", when_queued=way))
        (known,) = mapping.rules
        queued = frozenset([(known.rule_id, "/in/a")])
        pairs = matched(aggregate(log, ALL), mapping)
        decisions = decide(route(pairs, {}), mapping, Situation(NOON, queued=queued))
        (row,) = plan(CLAIM, decisions, {"load": [Job(1)]})
        assert row.status is status
        assert row.run_id == (1 if way == "skip" else None)
