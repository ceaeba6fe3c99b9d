"""What lands: as many files as asked for, each with the workflows of the nearest area."""

from __future__ import annotations

from pathlib import Path

from crash.traffic import AREAS, WORKFLOWS, Traffic, mapping


def test_so_many_files_land_and_are_remembered(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path, arrivals=200, seconds=1, seed=1)
    traffic.start()
    traffic.finish()
    assert traffic.done and len(traffic.landed) == 200
    assert {str(path) for path in tmp_path.rglob("*") if path.is_file()} == set(traffic.landed)


def test_each_file_is_for_the_workflows_of_the_nearest_area(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path, arrivals=500, seconds=1, seed=2)
    for file, area in traffic.burst(500):
        below = [each for each in AREAS if file.path.startswith(f"{each.directory}/")]
        assert area is max(below, key=lambda each: len(each.directory))


def test_names_never_come_twice(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path, arrivals=100, seconds=1, seed=3)
    for _ in range(2):
        traffic.land(traffic.burst(50))
    assert len(traffic.landed) == 100


def test_the_mapping_has_a_row_for_each_area_and_workflow() -> None:
    rows = mapping()
    assert len(rows) == len(set(rows)) == sum(len(area.workflows) for area in AREAS)
    assert {row.workflow for row in rows} == set(WORKFLOWS) and all(row.active for row in rows)
