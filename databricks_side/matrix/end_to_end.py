"""A short run of everything on one Airflow of the matrix: files land, a real stream logs them, sensor and
operator start the jobs, and what was read is compared."""

from __future__ import annotations

from pathlib import Path

from demo.airflow import Airflow
from demo.landing import land
from demo.play import troubles
from demo.processes import DemoError, until
from demo.report import disagreements, reconcile
from demo.scenario import Scenario, scenario
from demo.screen import Screen
from demo.stage import REPOSITORY, Stage, stage
from demo.watch import PATIENCE_SECONDS, Watch, doubled_runs

from matrix.airflow2 import Airflow2
from matrix.environments import Environment

AREAS = ("orders/de/", "orders/東京/", "invoices/ACME Corp./", "archive/", "lost & found/")
"""Some of the demo's: a fan-out, a nearer rule, a name that is not ASCII, an inactive rule, none at all."""
WAITS = "the sensor waits in the triggerer"


class MatrixStage(Stage):
    """The demo's stage with another Airflow on it; the workspace stays in our own environment."""

    def __init__(self, state: Path, screen: Screen, tests: Environment, major: int) -> None:
        super().__init__(state, screen)
        kind = Airflow2 if major == 2 else Airflow
        dags = REPOSITORY / "dags"
        self.airflow = kind(state / "airflow", dags, self.processes, binaries=tests.binaries)


def short() -> Scenario:
    """A part of the demo's scenario."""
    whole = scenario()
    return Scenario(whole.mapping, tuple(file for file in whole.files if file.path.startswith(AREAS)))


def run_end_to_end(tests: Environment, major: int, state: Path, screen: Screen) -> str:
    """Land two waves; the second while the sensor waits in the triggerer. Raises DemoError when a file was
    lost, read twice or by a workflow that it is not for."""
    wanted = short()
    visible = [sum(file.wave <= wave for file in wanted.visible) for wave in (1, 2)]
    with stage(state, screen, lambda state, screen: MatrixStage(state, screen, tests, major)) as made:
        made.start()
        made.deploy(wanted)
        watch = Watch(made)
        land(made.landing, wanted.wave(1))
        watch.until_logged(visible[0])
        made.airflow.unpause()
        watch.until_done(visible[0])
        until(lambda: _waits(made.airflow), WAITS, made.processes, seconds=PATIENCE_SECONDS, pause=2)
        screen.say(f"{WAITS}; the second wave lands")
        land(made.landing, wanted.wave(2))
        watch.until_done(visible[1])
        runs = watch.runs()
        found = reconcile(wanted.files, watch.reads())
        wrong = [*troubles(found), *disagreements(found, watch.outcomes()), *watch.failures(runs)]
        wrong += doubled_runs(runs)
    if wrong:
        raise DemoError("end to end: " + "; ".join(wrong))
    return f"{visible[1]} files, {len(runs)} runs, 0 lost, 0 doubled"


def _waits(airflow: Airflow) -> bool:
    return any(task["state"] == "deferred" for task in airflow.task_instances("arrived"))
