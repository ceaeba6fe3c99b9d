"""The mapping table is changed as a whole, in one commit, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import BadInput, ChangedSince, TableMissing
from databricks_file_arrivals.core.mapping_edit import edit
from databricks_file_arrivals.core.tables import TableName
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.mapping_table import MappingTable, open_holds
from tests.airflow_side import Log


def row(directory: str, workflow: str = "w", **more: Any) -> dict[str, Any]:
    return {"directory": directory, "workflow_name": workflow, "active_ind": "Y", **more}


def versions(log: Log, name: TableName) -> int:
    return len(log.hook.query(f"DESCRIBE HISTORY {name.sql}"))


@pytest.fixture(scope="module")
def own(new_log: Callable[[], Log]) -> Log:
    """A log whose mapping table has a column of somebody else."""
    log = new_log()
    log.hook.query(f"ALTER TABLE {log.names.mapping.sql} ADD COLUMNS (team STRING)")
    log.hook.query(
        f"INSERT INTO {log.names.mapping.sql} (directory, workflow_name, active_ind, parameters, team, "
        "last_change_user, last_updated_ts) VALUES "
        "('/in/same', 'w', 'Y', map('b', '2', 'a', 'it''s {x}'), 'red', 'ann', TIMESTAMP'2026-01-01'), "
        "('/in/changed', 'w', 'Y', NULL, 'blue', 'ann', TIMESTAMP'2026-01-01'), "
        "('/in/gone', 'w', 'N', NULL, NULL, 'ann', TIMESTAMP'2026-01-01')"
    )
    return log


def test_one_commit_changes_what_differs_and_leaves_the_rest_alone(own: Log) -> None:
    table = MappingTable(own.hook, own.names.mapping)
    wanted = [
        row("/in/same", parameters={"a": "it's {x}", "b": "2"}),
        row("/in/changed", settle_seconds=60, parameters={"k": "'); DROP"}),
        row("/in/ü 'new'", file_pattern="*.csv", owner="team"),
    ]
    before = versions(own, own.names.mapping)
    table.apply(edit(table.read(), wanted))
    assert versions(own, own.names.mapping) == before + 1
    rows = {r.values["directory"]: r.values for r in table.read()}
    assert set(rows) == {"/in/same", "/in/changed", "/in/ü 'new'"}
    assert rows["/in/same"]["last_change_user"] == "ann" and rows["/in/same"]["team"] == "red"
    changed, new = rows["/in/changed"], rows["/in/ü 'new'"]
    assert (changed["settle_seconds"], changed["parameters"]) == (60, {"k": "'); DROP"})
    assert changed["team"] == "blue" and changed["last_change_user"] not in (None, "ann")
    assert changed["last_updated_ts"] == new["last_updated_ts"] > rows["/in/same"]["last_updated_ts"]
    assert (new["file_pattern"], new["owner"], new["team"]) == ("*.csv", "team", None)
    assert edit(table.read(), wanted).changes == ()


def test_a_table_that_was_changed_since_is_left_as_it_is(own: Log) -> None:
    table = MappingTable(own.hook, own.names.mapping)
    made = edit(table.read(), [])
    assert made.changes
    own.map(("/in/meanwhile", "w", "Y"))
    there = versions(own, own.names.mapping)
    with pytest.raises(ChangedSince, match="plan again"):
        table.apply(made)
    assert versions(own, own.names.mapping) == there


def test_a_table_without_the_columns_or_without_being_there_says_so(own: Log, hook: FileArrivalsHook) -> None:
    old = own.names.mapping.derive("_old")
    hook.query(
        f"CREATE TABLE {old.sql} (directory STRING NOT NULL, workflow_name STRING NOT NULL, "
        "active_ind STRING NOT NULL, last_change_user STRING, last_updated_ts TIMESTAMP) USING DELTA"
    )
    table = MappingTable(hook, old)
    with pytest.raises(BadInput, match=r"no column min_files.*--upgrade"):
        table.check_columns(edit(table.read(), [row("/in/a", min_files=1)]))
    plain = edit(table.read(), [row("/in/a")])
    table.check_columns(plain)
    table.apply(plain)
    assert [r.values["directory"] for r in table.read()] == ["/in/a"]
    with pytest.raises(TableMissing, match="nowhere"):
        MappingTable(hook, old.derive("_nowhere")).read()


def test_open_holds_are_those_of_the_view(own: Log) -> None:
    assert open_holds(own.hook, own.names) == []
