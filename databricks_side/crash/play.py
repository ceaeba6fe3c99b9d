"""The crash test, from the first process to the last line."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.screen import Screen
from demo.stage import stage

from crash.kills import Kills
from crash.settle import settle, started_runs
from crash.stage import CrashStage
from crash.traffic import Traffic
from crash.troubles import Troubles
from crash.verdict import Verdict, judge, read_told

SAY_SECONDS = 30.0
FAULTY = 0.8


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much of everything, and over how many minutes; a busy machine may take twice as many."""

    kills: int
    arrivals: int
    minutes: float
    seed: int


def crash(state: Path, wanted: Wanted) -> int:
    """Kill at random while files land; 0 when every file was told to each of its workflows exactly once."""
    screen = Screen()
    screen.say(f"seed {wanted.seed}")
    with stage(state, screen, CrashStage) as made:
        made.start()
        made.deploy_crash()
        traffic = Traffic(made.landing, wanted.arrivals, wanted.minutes * 60, wanted.seed)
        troubles = Troubles(made, random.Random(f"troubles {wanted.seed}"))
        kills = Kills(made, troubles, random.Random(f"kills {wanted.seed}"))
        traffic.start()
        _rage(made, wanted, traffic, kills, troubles)
        traffic.finish()
        screen.say(f"{len(traffic.landed)} files have landed; nothing is killed any more")
        settle(made, len(traffic.landed))
        runs = started_runs(made)
        verdict = judge(traffic.landed, read_told(made.told))
        seconds = screen.seconds
    for line in verdict.lines:
        screen.plain(line)
    if runs != verdict.runs:
        screen.plain(f"WRONG the Jobs API has {runs} runs, {verdict.runs} have said what they were told")
    screen.plain(f"killed: {', '.join(f'{name} {n}' for name, n in sorted(kills.counts.items()))}")
    numbers = {"kills": kills.total, "faults": troubles.hits, "arrivals": len(traffic.landed), "runs": runs}
    screen.plain(last_line(numbers, verdict, seconds))
    return 0 if verdict.good and runs == verdict.runs else 1


def last_line(numbers: Mapping[str, int], verdict: Verdict, seconds: float) -> str:
    """The crash test in one line."""
    told = " ".join(f"{name}={number}" for name, number in numbers.items())
    lost, duplicated = len(verdict.lost), len(verdict.duplicated)
    return f"crash: {told} lost={lost} duplicated={duplicated} seconds={seconds:.0f}"


def _rage(made: CrashStage, wanted: Wanted, traffic: Traffic, kills: Kills, troubles: Troubles) -> None:
    """Kill and set faults until there was enough of it and all has landed, or the time is over."""
    chance = random.Random(f"rage {wanted.seed}")
    begun = said = time.monotonic()
    while not (kills.total >= wanted.kills and traffic.done):
        left = wanted.minutes * 60 - (time.monotonic() - begun)
        if left < -wanted.minutes * 60:
            break
        if kills.total < wanted.kills:
            if chance.random() < FAULTY:
                made.screen.say(f"fault: {troubles.set_one()}")
            if what := kills.one():
                made.screen.say(f"kill {kills.total}: {what}")
            pause = max(5.0, left) / max(1, wanted.kills - kills.total)
            time.sleep(min(15.0, chance.uniform(0, pause)))
        else:
            time.sleep(1)
        troubles.take_old()
        made.processes.check()
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            made.screen.say(_progress(made, traffic, kills, troubles))
    troubles.clear()
    made.processes.kill_orphans()


def _progress(made: CrashStage, traffic: Traffic, kills: Kills, troubles: Troubles) -> str:
    told = len(list(made.told.glob("*.json")))
    return (
        f"{kills.total} kills, {troubles.hits} faults, {len(traffic.landed)} files landed, "
        f"{told} tries of runs have told their files"
    )
