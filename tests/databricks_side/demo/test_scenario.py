"""The scenario is as large and as odd as it is meant to be, and the planner agrees with it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone

import pytest
from demo.scenario import AREAS, EMPTY, EXAMPLE, MISSING_WORKFLOW, WORKFLOWS, LeftOut, Scenario, scenario

from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.planning import Arrivals, Route, matched, route

ROOT = "/in/landing"
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def all_of_it() -> Scenario:
    return scenario()


def planned(wanted: Scenario, wave: int) -> tuple[Route, ...]:
    """What the planner makes of a wave, as the stream would log it."""
    directories = Counter(
        f.path.rpartition("/")[0] for f in wanted.wave(wave) if f.left_out is not LeftOut.HIDDEN
    )
    arrivals = [
        Arrivals("s", ROOT, f"file:{ROOT}/{directory}", -1, 0, 0, 0, count, 0, NOON, NOON)
        for directory, count in directories.items()
    ]
    rows = [
        {
            "directory": f"{ROOT}/{row.directory}" if nth % 2 else row.directory,
            "workflow_name": row.workflow,
            "active_ind": "Y" if row.active else "N",
        }
        for nth, row in enumerate(wanted.mapping)
    ]
    mapping = WorkflowMapping.read(rows)
    assert not mapping.problems
    return route(matched(arrivals, mapping), {})


def test_it_is_the_same_each_time(all_of_it: Scenario) -> None:
    assert scenario() == all_of_it


def test_it_is_large(all_of_it: Scenario) -> None:
    assert len(all_of_it.visible) >= 1000
    assert len(all_of_it.directories) >= 200
    assert len({f.path for f in all_of_it.files}) == len(all_of_it.files)
    assert max(d.count("/") for d in all_of_it.directories) >= 4


def test_the_second_wave_lands_in_directories_of_the_first(all_of_it: Scenario) -> None:
    first, second = ({f.path.rpartition("/")[0] for f in all_of_it.wave(n)} for n in (1, 2))
    assert second and second < first


@pytest.mark.parametrize("odd", [" ", "'", '"', "%", ";--", "\n", "\\", "東", "*", "["])
def test_names_hold_it(all_of_it: Scenario, odd: str) -> None:
    names = {f.path.rpartition("/")[2] for f in all_of_it.visible if f.workflows}
    assert any(odd in name for name in names) or any(odd in d for d in all_of_it.directories)


def test_directories_are_as_odd_as_names(all_of_it: Scenario) -> None:
    mapped = {row.directory for row in all_of_it.mapping}
    for odd in (" ", "'", '"', "%", ";--", "\n", "\t", "\\", "ã"):
        assert any(odd in directory for directory in mapped), odd


def test_there_are_empty_files_and_no_two_others_are_alike(all_of_it: Scenario) -> None:
    empty = [f for f in all_of_it.visible if not f.content]
    assert empty and all(f.path.endswith(EMPTY) for f in empty)
    full = [f.content for f in all_of_it.visible if f.content]
    assert len(set(full)) == len(full)


def test_every_reason_to_leave_a_file_out_is_there(all_of_it: Scenario) -> None:
    assert {f.left_out for f in all_of_it.files} == {None, *LeftOut}
    assert all(bool(f.workflows) != bool(f.left_out) for f in all_of_it.files)


def test_the_jobs_are_of_both_kinds_and_one_is_missing() -> None:
    runnable = [w for w in WORKFLOWS if w.runnable]
    assert len(runnable) >= 5 and {w.notebook for w in runnable} == {True, False}
    named = {name for area in AREAS for name in area.workflows}
    assert named == {w.name for w in WORKFLOWS} | {MISSING_WORKFLOW}


def test_the_planner_agrees(all_of_it: Scenario) -> None:
    """For each directory: the workflows that the planner starts are those of the scenario."""
    for wave in (1, 2):
        found: dict[str, set[str]] = {}
        statuses: dict[str, Status] = {}
        for each in planned(all_of_it, wave):
            for arrivals in each.arrivals:
                directory = arrivals.directory.removeprefix(f"file:{ROOT}/")
                statuses[directory] = each.status
                if each.rule is not None and each.status is Status.PLANNED:
                    found.setdefault(directory, set()).add(each.rule.workflow_name)
        for file in all_of_it.wave(wave):
            directory = file.path.rpartition("/")[0]
            if file.left_out is None:
                assert found[directory] == file.workflows, file.path
            elif file.left_out in (LeftOut.UNMAPPED, LeftOut.INACTIVE):
                assert statuses[directory] is Status[file.left_out.name], file.path
            elif file.left_out is LeftOut.NO_SUCH_WORKFLOW:
                assert found[directory] == {MISSING_WORKFLOW}
            elif file.left_out is LeftOut.REFUSED:
                assert found[directory] == {w.name for w in WORKFLOWS if not w.runnable}


def test_it_makes_60_to_120_runs(all_of_it: Scenario) -> None:
    startable = {w.name for w in WORKFLOWS if w.runnable}
    requests = [
        each
        for wave in (1, 2)
        for each in planned(all_of_it, wave)
        if each.rule is not None and each.status is Status.PLANNED and each.rule.workflow_name in startable
    ]
    # A wave that two claims share makes more: the second one's requests once again.
    second = sum(1 for each in planned(all_of_it, 2) if each.status is Status.PLANNED)
    assert 60 <= len(requests) and len(requests) + second <= 120


def test_the_example_is_for_the_workflows_of_its_directory(all_of_it: Scenario) -> None:
    directory = EXAMPLE.path.rpartition("/")[0]
    assert EXAMPLE.workflows == {r.workflow for r in all_of_it.mapping if r.directory == directory}
