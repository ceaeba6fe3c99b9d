"""An edit makes the table hold what is wanted, and says what it does."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.mapping import MappingRule
from databricks_file_arrivals.core.mapping_edit import (
    COLUMNS,
    Change,
    Edit,
    OpenHold,
    TableRow,
    edit,
    ended,
    fingerprint,
)


def row(directory: str, workflow: str = "w", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


def table(*rows: dict[str, Any]) -> list[TableRow]:
    return [TableRow(values, hash(repr(sorted(values.items(), key=str)))) for values in rows]


def done(made: Edit) -> list[tuple[Change, str]]:
    return [(c.change, c.subject) for c in made.changes]


def test_what_is_the_same_is_no_change() -> None:
    held = row("/in/a", last_change_user="ann", owner=None, parameters={}, team="x")
    assert edit(table(held), [row("/in/a")]).changes == ()


def test_rows_are_added_changed_and_deleted() -> None:
    made = edit(
        table(row("/in/a", settle_seconds=5), row("/in/b")),
        [row("/in/a", settle_seconds=9, parameters={"k": "v"}), row("/in/c", file_pattern="*.csv")],
    )
    assert done(made) == [
        (Change.CHANGE, "/in/a → w"),
        (Change.DELETE, "/in/b → w"),
        (Change.ADD, "/in/c *.csv → w"),
    ]
    assert made.changes[0].differences == [("parameters", None, {"k": "v"}), ("settle_seconds", 5, 9)]
    assert [made.count(change) for change in Change] == [1, 1, 1]


def test_another_spelling_of_a_directory_is_a_change_of_its_row() -> None:
    assert done(edit(table(row("file:/in/a/")), [row("/in/a")])) == [(Change.CHANGE, "/in/a → w")]


def test_of_rows_that_stand_twice_the_newest_is_the_one_that_stays() -> None:
    early, late = (datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2))
    rows = table(
        row("/in/a", min_files=1, last_updated_ts=early), row("/in/a", min_files=2, last_updated_ts=late)
    )
    (change,) = edit(rows, [row("/in/a", min_files=2)]).changes
    assert (change.change, change.before["min_files"], change.hash) == (Change.DELETE, 1, rows[0].hash)


def test_rows_that_nobody_can_use_are_mended_or_deleted() -> None:
    rows = table(row("/in/a", min_files=-1), {"directory": None, "workflow_name": "w", "active_ind": "Y"})
    assert [c.change for c in edit(rows, [row("/in/a")]).changes] == [Change.CHANGE, Change.DELETE]


DIRECTORIES = st.sampled_from(["/in/a", "/in/a/", "/in/b", "rel", "/in/*"])
ROWS = st.lists(
    st.builds(row, DIRECTORIES, st.sampled_from(["v", "w"]), min_files=st.sampled_from([None, 1, 2])),
    max_size=6,
)


@given(ROWS, ROWS)
def test_an_edit_makes_the_table_hold_what_is_wanted_and_is_then_nothing(
    held: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    unique = {MappingRule(r["directory"], r["workflow_name"]).rule_id: r for r in wanted}
    rows = table(*held)
    changes = {c.hash: c for c in edit(rows, unique.values()).changes if c.hash is not None}
    left = [r.values for r in rows if r.hash not in changes]
    left += [c.after for r in rows if (c := changes.get(r.hash)) and c.after]
    left += [c.after for c in edit(rows, unique.values()).changes if c.change is Change.ADD]
    assert edit(table(*map(dict, left)), unique.values()).changes == ()


@pytest.mark.parametrize(("rows", "free"), [(1, 1), (9, 1), (10, 2), (50, 10), (500, 10)])
def test_deleting_more_than_a_few_rows_has_to_be_said(rows: int, free: int) -> None:
    held = table(*(row(f"/in/{i}") for i in range(rows)))

    def without(n: int) -> Edit:
        return edit(held, [r.values for r in held[n:]])

    without(free).check_deletes(None)
    if rows > free:
        with pytest.raises(BadInput, match=f"--allow-deletes {free + 1}"):
            without(free + 1).check_deletes(None)
        without(free + 1).check_deletes(free + 1)
        with pytest.raises(BadInput):
            without(free + 1).check_deletes(free)


def test_a_plan_is_named_by_the_table_and_by_what_changes() -> None:
    held, wanted = table(row("/in/a")), [row("/in/b")]
    name = edit(held, wanted).plan_id
    assert edit(held, wanted).plan_id == name
    assert edit(held, [row("/in/c")]).plan_id != name
    assert edit(table(row("/in/a"), row("/in/b")), [row("/in/b")]).plan_id != name


def test_the_fingerprint_does_not_depend_on_the_order() -> None:
    rows = table(row("/in/a"), row("/in/b"))
    assert fingerprint(rows) == fingerprint(rows[::-1]) != fingerprint(rows[:1])
    assert fingerprint([]) == "0"


def test_holds_end_when_their_rule_goes_or_is_switched_off() -> None:
    def hold(directory: str, workflow: str = "w") -> OpenHold:
        return OpenHold("default", MappingRule(directory, workflow).rule_id, directory, workflow, 3)

    holds = [hold("/in/a"), hold("/in/b"), hold("/in/c")]
    kept = [row("/in/a", settle_seconds=99), row("/in/b", active_ind="N")]
    assert [h.directory for h in ended(holds, kept)] == ["/in/b", "/in/c"]


def test_an_edit_knows_every_column_but_those_of_the_audit() -> None:
    assert "owner" in COLUMNS and "last_change_user" not in COLUMNS and "last_updated_ts" not in COLUMNS
