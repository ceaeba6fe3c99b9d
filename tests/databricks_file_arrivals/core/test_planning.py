"""Plans are exact: each arrival is in one row for each rule that takes it, and rows say which files."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status, trigger_id
from databricks_file_arrivals.core.planning import Arrivals, Claim, Job, plan, route, workflows

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
CLAIM = Claim("default", "c1", 5, "main.ingest.file_log")
REQUESTED = (Status.PLANNED, Status.NO_SUCH_WORKFLOW)


@dataclass(frozen=True)
class File:
    """A row of the arrival log."""

    stream_id: str
    batch_id: int
    directory: str
    size: int

    @property
    def root(self) -> str:
        return STREAMS[self.stream_id][0]

    @property
    def logged_at(self) -> datetime:
        return NOON + timedelta(minutes=self.batch_id)


# Each stream's root, and its parts, by hand: what is expected must not lean on what is tested.
STREAMS = {
    "s1": ("/in", ("in",)),
    "s2": ("s3://bucket/land/", ("s3://bucket", "land")),
    "s3": ("dbfs:/in/a", ("in", "a")),
}
SEGMENTS = ["a", "b", "a b", "it's", "100%", "x;-- '", "two\nlines", "größe"]
WORKFLOWS = ["load", "it's; DROP TABLE x;--", "größe"]

segments = st.lists(st.sampled_from(SEGMENTS), max_size=3).map(tuple)
sizes = st.integers(0, 3)
files = st.builds(
    lambda stream, batch, inside, size: File(
        stream, batch, "/".join([STREAMS[stream][0].rstrip("/"), *inside]), size
    ),
    st.sampled_from(sorted(STREAMS)),
    st.integers(0, 4),
    segments,
    sizes,
)
rows_of_rules = st.builds(
    lambda place, inside, workflow, active: {
        "directory": "/".join([place, *inside]) if place else "/".join(inside),
        "workflow_name": workflow,
        "active_ind": "Y" if active else "N",
    },
    st.sampled_from(["", "/in", "s3://bucket/land", "dbfs:/in/a", "s3://bucket"]),
    segments.filter(bool),
    st.sampled_from(WORKFLOWS),
    st.sampled_from([True, True, False]),
)
many_files = st.lists(files, max_size=25)
many_rules = st.lists(rows_of_rules, max_size=8)
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
chance = st.randoms(use_true_random=False)


def aggregate(arrived: Iterable[File], *, by_batch: bool = False) -> list[Arrivals]:
    """What the warehouse answers for these rows of the arrival log."""
    groups: dict[tuple[object, ...], list[File]] = defaultdict(list)
    for f in arrived:
        groups[f.stream_id, f.directory, f.batch_id if by_batch else None].append(f)
    return [
        Arrivals(
            stream_id=group[0].stream_id,
            root=group[0].root,
            directory=group[0].directory,
            first_batch=min(f.batch_id for f in group),
            last_batch=max(f.batch_id for f in group),
            file_count=len(group),
            total_bytes=sum(f.size for f in group),
            first_at=min(f.logged_at for f in group),
            last_at=max(f.logged_at for f in group),
        )
        for group in groups.values()
    ]


def selected(row: LogRow, log: Sequence[File]) -> list[int]:
    """The places in the log of a row's files, by the design's sentence on what the files of a row are."""
    return [
        i
        for i, f in enumerate(log)
        if f.stream_id == row.stream_id
        and (found := (row.directories or {}).get(f.directory)) is not None
        and found.after < f.batch_id <= found.up_to
    ]


def parts(text: str, root: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A directory's parts, written as the strategies write them."""
    for start, top in (("s3://bucket", ("s3://bucket",)), ("dbfs:/in", ("in",)), ("/in", ("in",))):
        if text == start or text.startswith(start + "/"):
            return (*top, *filter(None, text[len(start) :].split("/")))
    return (*root, *text.split("/"))


def expected(f: File, mapping: WorkflowMapping) -> tuple[str, set[str]]:
    """What the design says of a file: `("requests", rule ids)`, `("INACTIVE", {})` or `("UNMAPPED", {})`."""
    here = parts(f.directory.rstrip("/"))
    near: list[tuple[int, MappingRule]] = []
    for rule in mapping.rules:
        place = parts(rule.directory, STREAMS[f.stream_id][1])
        if here[: len(place)] == place:
            near.append((len(place), rule))
    active = [(depth, rule) for depth, rule in near if rule.active]
    if active:
        nearest = max(depth for depth, _ in active)
        return "requests", {rule.rule_id for depth, rule in active if depth == nearest}
    return ("INACTIVE" if near else "UNMAPPED"), set()


def planned(
    arrivals: Iterable[Arrivals],
    mapping: WorkflowMapping,
    known: Mapping[str, Sequence[Job]],
    claim: Claim = CLAIM,
) -> tuple[LogRow, ...]:
    return plan(claim, route(arrivals, mapping), known)


def covered(rows: Iterable[LogRow], log: Sequence[File]) -> Counter[tuple[str | None, int]]:
    """How often each file of the log is in a row, by the rule that asked for it."""
    return Counter(
        (row.rule_id if row.status in REQUESTED else str(row.status), i)
        for row in rows
        for i in selected(row, log)
    )


def wanted(log: Sequence[File], mapping: WorkflowMapping) -> Counter[tuple[str | None, int]]:
    """How often each file of the log has to be in a row: once for each rule, or once without any."""
    every: Counter[tuple[str | None, int]] = Counter()
    for i, f in enumerate(log):
        kind, rules = expected(f, mapping)
        every.update((name, i) for name in (rules if kind == "requests" else {kind}))
    return every


@given(many_files, many_rules, jobs)
def test_each_arrival_is_in_exactly_one_row_for_each_rule_that_takes_it(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    mapping = WorkflowMapping.read(rules)
    assert covered(planned(aggregate(log), mapping, known), log) == wanted(log, mapping)


@given(many_files, many_rules, jobs)
def test_a_row_counts_the_files_that_it_selects(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    for row in planned(aggregate(log), WorkflowMapping.read(rules), known):
        mine = [log[i] for i in selected(row, log)]
        assert mine
        assert row.file_count == len(mine)
        assert row.total_bytes == sum(f.size for f in mine)
        assert row.first_arrival_at == min(f.logged_at for f in mine)
        assert row.last_arrival_at == max(f.logged_at for f in mine)
        assert row.from_batch == min(f.batch_id for f in mine)
        assert row.to_batch == max(f.batch_id for f in mine)
        assert (row.consumer, row.claim_id, row.epoch) == (CLAIM.consumer, CLAIM.claim_id, CLAIM.epoch)


@given(many_files, many_rules, jobs, chance)
def test_the_plan_does_not_depend_on_the_order_of_anything(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]], shuffle: Any
) -> None:
    first = planned(aggregate(log), WorkflowMapping.read(rules), known)
    log, rules = list(log), list(rules)
    shuffle.shuffle(log)
    shuffle.shuffle(rules)
    arrivals = aggregate(log)
    shuffle.shuffle(arrivals)
    turned = {name: list(found)[::-1] for name, found in reversed(known.items())}
    assert planned(arrivals, WorkflowMapping.read(rules), turned) == first


@given(many_files, many_rules, jobs)
def test_arrivals_may_come_in_one_piece_or_batch_by_batch(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    mapping = WorkflowMapping.read(rules)
    whole = planned(aggregate(log), mapping, known)
    assert planned(aggregate(log, by_batch=True), mapping, known) == whole


@given(many_files, many_rules, jobs, st.dictionaries(st.sampled_from(sorted(STREAMS)), st.integers(-1, 4)))
def test_one_claim_and_several_cover_the_same_files(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]], cursor: dict[str, int]
) -> None:
    mapping = WorkflowMapping.read(rules)
    early = [f for f in log if f.batch_id <= cursor.get(f.stream_id, -1)]
    late = [f for f in log if f.batch_id > cursor.get(f.stream_id, -1)]
    next_claim = Claim("default", "c2", 6, CLAIM.log_table)
    rows = [*planned(aggregate(early), mapping, known), *planned(aggregate(late), mapping, known, next_claim)]
    assert covered(rows, log) == wanted(log, mapping)
    identities = [row.trigger_id for row in rows if row.trigger_id]
    assert len(set(identities)) == len(identities)


@given(many_files, many_rules, jobs, st.integers(1, 2**47))
def test_identities_are_unique_and_come_from_the_stored_row(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]], epoch: int
) -> None:
    rows = planned(aggregate(log), WorkflowMapping.read(rules), known, replace(CLAIM, epoch=epoch))
    requests = [row for row in rows if row.status in REQUESTED]
    identities = [row.trigger_id or "" for row in requests]
    assert len(set(identities)) == len(identities)
    for row, identity in zip(requests, identities, strict=True):
        assert len(identity) == 64
        assert set(identity) <= set("0123456789abcdef")
        assert int(identity[:12], 16) == epoch
        assert row.attempt == 1
        assert trigger_id(stored(row), 1) == identity
    assert all(row.trigger_id is None for row in rows if row.status not in REQUESTED)


def stored(row: LogRow) -> LogRow:
    """The row after it went through JSON, as it goes to a table and back."""
    text = json.dumps(asdict(row), default=str)
    back: dict[str, Any] = json.loads(text)
    directories = {name: Range(**found) for name, found in back["directories"].items()}
    return LogRow(**{**back, "status": Status(back["status"]), "directories": directories})


@given(many_files, many_rules, jobs)
def test_what_becomes_of_a_request_depends_on_the_jobs_of_its_name(
    log: list[File], rules: list[dict[str, Any]], known: dict[str, list[Job]]
) -> None:
    mapping = WorkflowMapping.read(rules)
    by_id = {rule.rule_id: rule for rule in mapping.rules}
    for row in planned(aggregate(log), mapping, known):
        if row.status not in REQUESTED:
            assert (row.run_id, row.job_id, row.attempt) == (-1, None, None)
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
def test_only_workflows_that_may_start_are_looked_up(log: list[File], rules: list[dict[str, Any]]) -> None:
    mapping = WorkflowMapping.read(rules)
    by_id = {rule.rule_id: rule.workflow_name for rule in mapping.rules}
    asked = {by_id[rule] for f in log for rule in expected(f, mapping)[1]}
    assert workflows(route(aggregate(log), mapping)) == asked


def one(directory: str, stream: str = "s1", batch: int = 0) -> File:
    return File(stream, batch, directory, 7)


def rule(directory: str, workflow: str = "load", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


def test_unmapped_arrivals_make_one_row_per_subdirectory_of_the_root() -> None:
    log = [one("/in/a/x"), one("/in/a/y", batch=3), one("/in/b"), one("/in"), one("s3://bucket/land/a", "s2")]
    rows = planned(aggregate(log), WorkflowMapping(), {})
    assert [(row.stream_id, row.directory, row.table_name, row.file_count) for row in rows] == [
        ("s1", "/in", "in", 1),
        ("s1", "/in/a", "a", 2),
        ("s1", "/in/b", "b", 1),
        ("s2", "s3://bucket/land/a", "a", 1),
    ]
    assert rows[1].directories == {"/in/a/x": Range(-1, 0), "/in/a/y": Range(2, 3)}
    assert {(row.status, row.run_id, row.workflow_name) for row in rows} == {(Status.UNMAPPED, -1, None)}


def test_inactive_rows_make_one_row_per_directory_whatever_their_number() -> None:
    rules = [rule("/in/a", name, active_ind="N") for name in WORKFLOWS]
    (row,) = planned(aggregate([one("/in/a/x"), one("/in/a/y")]), WorkflowMapping.read(rules), {})
    assert (row.status, row.directory, row.file_count) == (Status.INACTIVE, "/in/a", 2)
    assert row.workflow_name == min(WORKFLOWS)


def test_inactive_rows_of_two_streams_name_each_its_own_rule() -> None:
    # `b` under /in/a is the directory /in/a/b for the stream of /in/a only; /in/a/b is for both.
    rules = [rule("b", "its own", active_ind="N"), rule("/in/a/b", "shared", active_ind="N")]
    log = [one("/in/a/b/x"), one("dbfs:/in/a/b/x", "s3")]
    mapping = WorkflowMapping.read(rules)
    rows = planned(aggregate(log), mapping, {})
    assert [(row.stream_id, row.directory) for row in rows] == [("s1", "/in/a/b"), ("s3", "/in/a/b")]
    assert rows == planned(aggregate(log[::-1]), mapping, {})
    assert rows[0].workflow_name == "shared"


def test_several_rules_of_a_directory_all_start_each_on_its_own_terms() -> None:
    rules = [rule("/in/a", name) for name in WORKFLOWS]
    known = {WORKFLOWS[0]: [Job(1)], WORKFLOWS[1]: [Job(2), Job(3)]}
    rows = planned(aggregate([one("/in/a/x")]), WorkflowMapping.read(rules), known)
    assert {row.workflow_name: row.status for row in rows} == {
        WORKFLOWS[0]: Status.PLANNED,
        WORKFLOWS[1]: Status.NO_SUCH_WORKFLOW,
        WORKFLOWS[2]: Status.NO_SUCH_WORKFLOW,
    }
    errors = {row.workflow_name: row.error or "" for row in rows}
    assert "(2, 3)" in errors[WORKFLOWS[1]] and "rename" in errors[WORKFLOWS[1]]
    assert "CAN_VIEW" in errors[WORKFLOWS[2]]


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
    mapping = WorkflowMapping.read(
        [rule("/in/a b", parameters={"env": "prod", "quiet": "1", "directory": "mine"})]
    )
    log = [one("/in/a b/x"), one("/in/a b/y")]
    (row,) = planned(aggregate(log), mapping, {"load": [Job(1, frozenset(declared))]})
    everything = {
        "trigger_id": row.trigger_id,
        "log_table": "main.ingest.file_log",
        "directory": "/in/a b",
        "file_count": "2",
        "env": "prod",
    }
    assert row.job_parameters == {name: everything[name] for name in told}


def test_nothing_new_is_an_empty_plan() -> None:
    assert planned([], WorkflowMapping.read([rule("/in")]), {}) == ()
