"""Landed against told: every file to each of its workflows by exactly one run, and by no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Told:
    """What a run was told: its workflow, its request and its files."""

    workflow: str
    run_id: int
    trigger_id: str
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Pairs of workflow and path that no run was told of, and those that another run was told of too.

    `disagreeing` are runs whose tries were not all told the same.
    """

    lost: tuple[tuple[str, str], ...]
    duplicated: Mapping[tuple[str, str], tuple[int, ...]]
    disagreeing: tuple[int, ...]
    runs: int

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not (self.lost or self.duplicated or self.disagreeing)

    @property
    def lines(self) -> list[str]:
        """What is wrong, in words: the first of many."""
        lost = [f"LOST {workflow} was not told of {path}" for workflow, path in self.lost]
        doubled = [
            f"DUPLICATED {workflow} was told of {path} by the runs {', '.join(map(str, runs))}"
            for (workflow, path), runs in self.duplicated.items()
        ]
        other = [f"WRONG tries of run {run} were told different files" for run in self.disagreeing]
        return [line for lines in (lost, doubled, other) for line in lines[:SHOWN]]


def read_told(folder: Path) -> list[Told]:
    """What all tries of all runs have written down."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        paths = frozenset(record.pop("paths"))
        found.append(Told(**record, paths=paths))
    return found


def judge(landed: Mapping[str, Sequence[str]], told: Sequence[Told]) -> Verdict:
    """Compare. A run that was told of a file that is not its workflow's has it once too often."""
    runs: dict[int, Told] = {}
    disagreeing = set()
    for each in told:
        first = runs.setdefault(each.run_id, each)
        if first.paths != each.paths:
            disagreeing.add(each.run_id)
    by_pair: dict[tuple[str, str], list[int]] = {}
    for each in runs.values():
        for path in each.paths:
            by_pair.setdefault((each.workflow, path), []).append(each.run_id)
    due = Counter((workflow, path) for path, workflows in landed.items() for workflow in workflows)
    return Verdict(
        lost=tuple(sorted(pair for pair in due if pair not in by_pair)),
        duplicated={pair: tuple(ids) for pair, ids in sorted(by_pair.items()) if len(ids) > due[pair]},
        disagreeing=tuple(sorted(disagreeing)),
        runs=len(runs),
    )
