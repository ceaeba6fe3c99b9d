"""A short run of everything on one Airflow of the matrix: files land, a real stream logs them, sensor and
operator start the jobs, and what was read is compared. Then a run fails, and the retry of the task that waits
for it starts another one."""

from __future__ import annotations

from pathlib import Path

from databricks.sdk.service import iam, jobs
from demo.airflow import Airflow
from demo.landing import land
from demo.play import troubles
from demo.processes import DemoError, until
from demo.report import disagreements, reconcile
from demo.scenario import MappingRow, Scenario, scenario
from demo.screen import Screen
from demo.stage import LOG_TABLE, REPOSITORY, Stage, stage
from demo.watch import PATIENCE_SECONDS, Watch, doubled_runs
from demo.workspace import PRINCIPAL

from matrix.airflow2 import Airflow2
from matrix.environments import Environment

AREAS = ("orders/de/", "orders/東京/", "invoices/ACME Corp./", "archive/", "lost & found/")
"""Some of the demo's: a fan-out, a nearer rule, a name that is not ASCII, an inactive rule, none at all."""
WAITS = "the sensor waits in the triggerer"
FAILS_ONCE = "fails_once"
BY_WORKFLOW = "file_arrivals_by_workflow"


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
        _run_again(made)
    return f"{visible[1]} files, {len(runs)} runs, 0 lost, 0 doubled, 1 failed and run again"


def _run_again(made: Stage) -> None:
    """Let a run fail that a mapped task waits for, and return when the task's retry has started another one,
    which succeeds."""
    made.airflow.unpause(paused=True)
    airflow = made.airflow.of(BY_WORKFLOW)
    _make_job_that_fails_once(made)
    made.map([MappingRow(FAILS_ONCE, FAILS_ONCE)])
    airflow.unpause()
    # It begins with what arrives after its first claim.
    until(lambda: _is_made(made), "its consumer is made", made.processes, seconds=PATIENCE_SECONDS, pause=2)
    until(lambda: _waits(airflow), WAITS, made.processes, seconds=PATIENCE_SECONDS, pause=2)
    (made.landing / FAILS_ONCE).mkdir()
    (made.landing / FAILS_ONCE / "file.csv").write_text("x")

    def states() -> set[tuple[int, str]]:
        rows = made.workspace.sql(
            f"SELECT attempt, status FROM {LOG_TABLE} WHERE workflow_name = :name", {"name": FAILS_ONCE}
        )
        return {(row["attempt"], row["status"]) for row in rows}

    ended = {(1, "FAILED"), (2, "SUCCEEDED")}
    what = "the failed run is run again"
    until(lambda: ended <= states(), what, made.processes, seconds=PATIENCE_SECONDS, pause=2)
    runs = [run for run in Watch(made).runs() if run.run_name == FAILS_ONCE]
    if len(runs) != 2:
        raise DemoError(f"end to end: {FAILS_ONCE} has {len(runs)} runs, not one that failed and one more")
    made.screen.say(what)


def _is_made(made: Stage) -> bool:
    found = made.workspace.sql(f"SELECT epoch FROM {LOG_TABLE}_consumers WHERE consumer = 'by_workflow'")
    return bool(found)


def _make_job_that_fails_once(made: Stage) -> None:
    script, tried = made.state / "fails_once.py", made.state / "fails_once.tried"
    tried.unlink(missing_ok=True)
    script.write_text(
        f"import pathlib\ntried = pathlib.Path({str(tried)!r})\n"
        "if not tried.exists():\n    tried.touch()\n    raise SystemExit('the first run fails')\n"
    )
    client = made.workspace.client
    job = client.jobs.create(
        name=FAILS_ONCE,
        tasks=[jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(script)))],
        parameters=[jobs.JobParameterDefinition(name="trigger_id", default="")],
        queue=jobs.QueueSettings(enabled=True),
    )
    grant = iam.AccessControlRequest(user_name=PRINCIPAL, permission_level=iam.PermissionLevel.CAN_MANAGE_RUN)
    client.permissions.update("jobs", str(job.job_id), access_control_list=[grant])


def _waits(airflow: Airflow) -> bool:
    return any(task["state"] == "deferred" for task in airflow.task_instances("arrived"))
