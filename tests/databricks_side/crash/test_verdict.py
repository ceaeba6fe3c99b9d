"""Landed against told: what is lost, told twice, told to the wrong one, or told differently to two tries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from crash.verdict import Told, Verdict, judge, read_told

LANDED = {"/in/a": ("load", "audit"), "/in/b": ("load",)}


def told(workflow: str, run_id: int, *paths: str) -> Told:
    return Told(workflow, run_id, f"trigger {run_id}", frozenset(paths))


ALL = [told("load", 1, "/in/a", "/in/b"), told("audit", 2, "/in/a")]


def test_everything_told_once_is_good() -> None:
    verdict = judge(LANDED, ALL)
    assert verdict.good and verdict.runs == 2 and verdict.lines == []


def test_a_run_that_was_tried_again_counts_once() -> None:
    assert judge(LANDED, [*ALL, ALL[0]]) == judge(LANDED, ALL)


@pytest.mark.parametrize(
    ("more", "lost", "duplicated"),
    [
        ([told("load", 1, "/in/b"), told("audit", 2, "/in/a")], 1, 0),
        ([*ALL, told("load", 3, "/in/b")], 0, 1),
        ([*ALL, told("audit", 3, "/in/b")], 0, 1),
        ([*ALL, told("load", 3, "/in/nowhere")], 0, 1),
        ([], 3, 0),
    ],
    ids=["lost", "a second run", "the wrong workflow", "never landed", "nothing was told"],
)
def test_what_is_wrong_is_counted_and_told(more: list[Told], lost: int, duplicated: int) -> None:
    verdict = judge(LANDED, more)
    assert (len(verdict.lost), len(verdict.duplicated)) == (lost, duplicated)
    assert not verdict.good and len(verdict.lines) == lost + duplicated


def test_tries_that_were_told_differently_are_wrong() -> None:
    verdict = judge(LANDED, [*ALL, told("load", 1, "/in/a")])
    assert verdict.disagreeing == (1,) and not verdict.good and "run 1" in verdict.lines[0]


def test_of_many_lines_the_first_are_shown() -> None:
    lost = tuple(("load", f"/in/{n}") for n in range(1000))
    assert len(Verdict(lost, {}, (), 0).lines) < 50


def test_what_is_half_written_is_not_read(tmp_path: Path) -> None:
    record = {"workflow": "load", "run_id": 1, "trigger_id": "trigger 1", "paths": ["/in/a", "/in/b"]}
    (tmp_path / "1-x.json").write_text(json.dumps(record))
    (tmp_path / ".2-y.draft").write_text('{"workflow"')
    assert read_told(tmp_path) == [ALL[0]]
