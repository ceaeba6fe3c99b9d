"""What is killed is counted, and only what was there; orphans of a scheduler live on for a while."""

from __future__ import annotations

import random
from typing import Any

import pytest
from crash import kills
from crash.kills import Kills
from crash.troubles import POINTS


class Airflow:
    """Remembers what was killed of it."""

    def __init__(self) -> None:
        self.killed: list[tuple[str, bool]] = []

    def kill(self, name: str, *, alone: bool = False) -> None:
        self.killed.append((name, alone))


class Stage:
    """As much of the stage as killing Airflow needs; there is no other process on it."""

    def __init__(self) -> None:
        self.airflow = Airflow()
        self.processes = self
        self.orphans_killed = 0

    def kill_orphans(self) -> None:
        self.orphans_killed += 1


@pytest.fixture
def stage() -> Any:
    return Stage()


@pytest.fixture
def made(stage: Any) -> Kills:
    """Kills, of a stage that has an Airflow."""
    troubles: Any = None
    return Kills(stage, troubles, random.Random(1))


def test_every_kind_has_its_chance(made: Kills) -> None:
    kinds = {kind.__name__ for kind in made.kinds}
    assert kinds == {"stream", "task", "at_a_point", "triggerer", "scheduler", "api", "engine"}
    assert all(chance > 0 for chance in made.kinds.values()) and len(POINTS) == 8


def test_what_was_killed_is_counted_and_told(made: Kills, stage: Any) -> None:
    made.kinds = {made.triggerer: 1}
    assert made.one() == "the triggerer" and stage.airflow.killed == [("triggerer", False)]
    assert (made.total, dict(made.counts)) == (1, {"triggerer": 1})


def test_what_was_not_there_does_not_count(made: Kills) -> None:
    def nobody() -> str:
        return ""

    made.kinds = {nobody: 1}
    assert made.one() == "" and made.total == 0


def test_a_scheduler_dies_with_its_tasks_or_alone_and_then_they_end_later(
    made: Kills, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.kinds = {made.scheduler: 1}
    for _ in range(20):
        made.one()
    assert {alone for _, alone in stage.airflow.killed} == {True, False} and not stage.orphans_killed
    monkeypatch.setattr(kills, "ORPHANS_LIVE_SECONDS", -1.0)
    made.one()
    assert stage.orphans_killed == 1
