"""The demo, from the first process to the last line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from databricks.sdk.service.jobs import BaseRun

from demo.kill import check_kill, kill_operator
from demo.landing import land
from demo.report import (
    Reconciliation,
    disagreements,
    journey_table,
    last_line,
    outcome_table,
    reconcile,
    reconciliation_table,
    spread,
)
from demo.scenario import Scenario, scenario
from demo.screen import Screen, shown
from demo.stage import Stage, stage
from demo.watch import Watch, accepted_at, doubled_runs, told
from demo.workspace import PRINCIPAL

MOST_TROUBLES = 20


def play(state: Path) -> int:
    """Show the main job, end to end: 0 when every file was read by exactly the workflows that it is for."""
    screen = Screen()
    wanted = scenario()
    with stage(state, screen, Stage) as made:
        made.start()
        made.deploy(wanted)
        watch = Watch(made)
        landed = _first_wave(made, watch, wanted)
        landed |= _second_wave(made, watch, wanted)
        line, good = _tell(made, watch, wanted, landed)
    screen.plain(f"Tables, logs and files stay in {state}")
    screen.plain(line)
    return 0 if good else 1


def _land(made: Stage, wanted: Scenario, wave: int) -> dict[str, float]:
    files = wanted.wave(wave)
    landed = land(made.landing, files)
    folders = len({file.path.rpartition("/")[0] for file in files})
    made.screen.say(f"wave {wave} has landed: {len(files)} files in {folders} directories")
    return landed


def _first_wave(made: Stage, watch: Watch, wanted: Scenario) -> dict[str, float]:
    """Land the first wave, switch the DAG on, and kill its operator once."""
    visible = sum(1 for file in wanted.visible if file.wave == 1)
    landed = _land(made, wanted, 1)
    watch.until_logged(visible)
    made.airflow.unpause()
    made.screen.say("the DAG file_arrivals is switched on")
    kill = kill_operator(made)
    watch.until_claimed()
    made.screen.say(check_kill(made, kill))
    return landed


def _second_wave(made: Stage, watch: Watch, wanted: Scenario) -> dict[str, float]:
    """Land the second wave while runs of the first are at work, and wait until everything is done."""
    working = sum(1 for run in watch.runs() if not run.end_time)
    landed = _land(made, wanted, 2)
    made.screen.say(f"{working} runs of the first wave are still at work or wait for their turn")
    made.screen.say(
        "to come: one start is refused on purpose, which fails its task; the next DAG run goes on"
    )
    watch.until_done(len(wanted.visible))
    return landed


def _tell(made: Stage, watch: Watch, wanted: Scenario, landed: Mapping[str, float]) -> tuple[str, bool]:
    """Say what came of it: the last line, and whether all is as it should be."""
    screen, seconds = made.screen, made.screen.seconds
    runs, outcomes = watch.runs(), watch.outcomes()
    found = reconcile(wanted.files, watch.reads())
    wrong = [*troubles(found), *disagreements(found, outcomes), *watch.failures(runs), *doubled_runs(runs)]
    screen.plain()
    _tell_times(made, watch, wanted, landed, told(runs))
    screen.table(outcome_table(outcomes))
    screen.table(reconciliation_table(found))
    calls = made.workspace.calls(PRINCIPAL)
    screen.plain(f"API calls of Airflow: {calls}, {calls / max(1, len(runs)):.1f} for each run")
    screen.plain(f"peak memory of all processes: {made.memory}")
    failed = sum(1 for run in made.airflow.dag_runs() if run["state"] == "failed")
    screen.plain(f"DAG runs that failed: {failed}. A start that is refused fails its task: so it is intended")
    for line in wrong:
        screen.plain(f"WRONG: {line}")
    return last_line(found, outcomes, len(runs), seconds), not wrong


def troubles(found: Reconciliation) -> list[str]:
    """Each pair that was lost or doubled, in words; the first of many."""
    lines = [f"lost: {workflow} has not read {shown(path)}" for workflow, path in found.lost]
    lines += [
        f"doubled: {workflow} has read {shown(path)} once too often" for workflow, path in found.doubled
    ]
    more = [f"and {len(lines) - MOST_TROUBLES} more"] if len(lines) > MOST_TROUBLES else []
    return lines[:MOST_TROUBLES] + more


def _tell_times(
    made: Stage, watch: Watch, wanted: Scenario, landed: Mapping[str, float], runs: Mapping[str, BaseRun]
) -> None:
    """How long all files took until a run was accepted, and the way of one of them."""
    rows = [row for row in watch.ways() if row["trigger_id"] in runs and row["path"] in landed]
    for row in rows:
        row["landed"] = landed[row["path"]]
        row["accepted"] = accepted_at(runs[row["trigger_id"]])
    for wave in (1, 2):
        paths = {str(made.landing / file.path) for file in wanted.wave(wave)}
        waits = [row["accepted"].timestamp() - row["landed"] for row in rows if row["path"] in paths]
        made.screen.plain(f"from landing to accepted, wave {wave}: {spread(waits)}")
    odd = [row for row in rows if "\n" in row["path"]]
    if odd:
        row = max(odd, key=lambda each: each["read_at"])
        steps = [
            ("landed", datetime.fromtimestamp(row["landed"], timezone.utc)),
            ("logged by the stream", row["logged_at"]),
            ("planned and claimed by the operator", row["planned_at"]),
            (f"run of {row['workflow']} accepted by Databricks", row["accepted"]),
            ("read by the run", row["read_at"]),
        ]
        made.screen.table(journey_table(watch.relative(row["path"]), steps))
