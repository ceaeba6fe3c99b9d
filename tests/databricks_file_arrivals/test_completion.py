"""Tasks that wait until their runs have ended, of both forms, in DAG runs of real Airflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from databricks.sdk import WorkspaceClient

import databricks_file_arrivals.triggers as triggers
from databricks_file_arrivals.tasks import WaitingOperator
from databricks_file_arrivals.triggers import RunsTrigger
from tests import airflow_versions
from tests.airflow_side import Log, fails_when_there_is
from tests.conftest import DAG_FOLDERS

SOURCE = """
import datetime
from airflow import DAG
from databricks_file_arrivals.operators import (
    PlanRequestsOperator, RunWorkflowOperator, TriggerWorkflowsOperator,
)

LOG, MAPPING = {log_table!r}, {mapping!r}
WAITS = dict(wait_for_completion=True, poll_interval=0.3, retries=1, retry_delay=datetime.timedelta(0))
WAITS |= {changes!r}
with DAG({dag_id!r}, schedule=None, start_date=datetime.datetime(2026, 1, 1)):
    {tasks}
"""
ONE_TASK = 'TriggerWorkflowsOperator(task_id="start", log_table=LOG, workflow_mapping_table=MAPPING, **WAITS)'
MAPPED = """plan = PlanRequestsOperator(task_id="plan", log_table=LOG, workflow_mapping_table=MAPPING)
    RunWorkflowOperator.partial(task_id="start", log_table=LOG, **WAITS).expand(request=plan.output)"""


@pytest.fixture
def run_dag(
    airflow_db: str, new_log: Callable[[], Log], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Log, list[Any]]]:
    """Runs a DAG on a new log with one file for each workflow: the log, and the task instances in order."""
    monkeypatch.setattr(triggers, "FIRST_LOOK", 0.3)

    def run(tasks: str, *workflows: str, **changes: Any) -> tuple[Log, list[Any]]:
        log = new_log()
        log.map(*((f"/in/{number}", name, "Y") for number, name in enumerate(workflows)))
        log.land({f"/in/{number}": 1 for number in range(len(workflows))})
        source = SOURCE.format(
            tasks=tasks,
            dag_id=f"waits_{log.names.log.parts[1]}",
            log_table=str(log.names.log),
            mapping=str(log.names.mapping),
            changes=changes,
        )
        file = DAG_FOLDERS["written"] / "waits.py"
        file.write_text(source)
        found = airflow_versions.run_dag(airflow_versions.load_dag(file)).get_task_instances()
        return log, sorted((ti for ti in found if ti.task_id == "start"), key=lambda ti: int(ti.map_index))

    return run


@pytest.fixture
def flaky(new_job: Callable[..., int], tmp_path: Path) -> str:
    """A workflow whose first run fails."""
    source = f"import os\nif not os.path.exists({str(tmp_path / 'tried')!r}):\n"
    source += f"    open({str(tmp_path / 'tried')!r}, 'w')\n    raise SystemExit(3)\n"
    new_job(f"flaky {tmp_path.name}", source=source)
    return f"flaky {tmp_path.name}"


def until(happened: Callable[[], bool]) -> None:
    """Return once it is so, or after a long while."""
    deadline = time.monotonic() + 120
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.2)


def history(log: Log) -> list[tuple[str, int, str, int]]:
    """What the log has of the runs: workflow, attempt, status, and the try that wrote it."""
    rows = log.hook.query(
        f"SELECT split(workflow_name, ' ')[0] AS name, attempt, status, try_number FROM {log.names.log.sql} "
        "WHERE trigger_id IS NOT NULL ORDER BY name, recorded_at"
    )
    return [(r["name"], r["attempt"], r["status"], r["try_number"]) for r in rows]


FLAKY = [
    ("flaky", 1, "PLANNED", 1),
    ("flaky", 1, "TRIGGERED", 1),
    ("flaky", 1, "FAILED", 1),
    ("flaky", 2, "PLANNED", 2),
    ("flaky", 2, "TRIGGERED", 2),
    ("flaky", 2, "SUCCEEDED", 2),
]


def test_one_task_waits_for_all_and_its_retry_runs_again_what_has_failed(
    run_dag: Callable[..., tuple[Log, list[Any]]], jobs: dict[str, int], flaky: str
) -> None:
    log, (task,) = run_dag(ONE_TASK, "alpha", flaky)
    assert task.state == "success" and task.try_number == 2
    alpha = [("alpha", 1, status, 1) for status in ("PLANNED", "TRIGGERED", "SUCCEEDED")]
    assert history(log) == alpha + FLAKY
    assert task.xcom_pull("start") == {"epoch": 1, "files": 2, "succeeded": 2}


def test_each_mapped_task_waits_for_its_run_and_its_retry_runs_it_again(
    run_dag: Callable[..., tuple[Log, list[Any]]], jobs: dict[str, int], flaky: str
) -> None:
    log, tasks = run_dag(MAPPED, "alpha", flaky)
    assert [(task.state, task.try_number) for task in tasks] == [("success", 1), ("success", 2)]
    assert [row[:3] for row in history(log) if row[0] == "flaky"] == [row[:3] for row in FLAKY]


@pytest.mark.parametrize("form", [ONE_TASK, MAPPED], ids=["one task", "mapped"])
def test_the_lineage_of_a_wait_that_failed_names_its_runs(
    run_dag: Callable[..., tuple[Log, list[Any]]],
    jobs: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    resumed: list[WaitingOperator] = []
    resume = WaitingOperator.resume

    def resuming(self: WaitingOperator, *given: Any, **more: Any) -> Any:
        resumed.append(self)
        return resume(self, *given, **more)

    def broken(self: RunsTrigger, *given: Any) -> TriggerEvent:
        return self._said("error", "the runs cannot be looked at", retryable=False)

    monkeypatch.setattr(WaitingOperator, "resume", resuming)
    monkeypatch.setattr(RunsTrigger, "_event", broken)
    log, (task,) = run_dag(form, "alpha")
    assert task.state == "failed"
    (operator,) = resumed
    assert operator._lineage is not None
    (row,) = operator._lineage.rows
    (started,) = log.hook.query(
        f"SELECT started_run_id AS id FROM {log.names.log.sql} WHERE status = 'TRIGGERED'"
    )
    assert (row.directory, row.started_run_id) == ("/in/0", started["id"])


@pytest.mark.parametrize("form", [ONE_TASK, MAPPED], ids=["one task", "mapped"])
def test_what_is_deleted_or_late_is_named_and_never_started_a_second_time(
    run_dag: Callable[..., tuple[Log, list[Any]]],
    admin: WorkspaceClient,
    new_job: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    form: str,
) -> None:
    said: list[str] = []
    say = RunsTrigger._said

    def saying(self: RunsTrigger, state: str, *given: Any, **more: Any) -> TriggerEvent:
        said.append(state)
        return say(self, state, *given, **more)

    monkeypatch.setattr(RunsTrigger, "_said", saying)
    gone, slow = f"gone {tmp_path.name}", f"slow {tmp_path.name}"
    gone_id = new_job(gone, source=fails_when_there_is(tmp_path / "never"))
    ends = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'now')!r}):\n    time.sleep(0.05)\n"
    slow_id = new_job(slow, source=ends)

    def runs(job_id: int) -> list[int]:
        return [int(run.run_id or 0) for run in admin.jobs.list_runs(job_id=job_id)]

    def person() -> None:
        """Deletes one run, and lets the other one end while a second try waits for it."""
        until(lambda: bool(runs(gone_id)))
        (run_id,) = runs(gone_id)
        admin.jobs.cancel_run_and_wait(run_id)
        admin.jobs.delete_run(run_id)
        before = said.count("timeout")
        until(lambda: said.count("timeout") >= before + 2)
        (tmp_path / "now").touch()

    acts = threading.Thread(target=person)
    acts.start()
    log, tasks = run_dag(form, gone, slow, completion_timeout=timedelta(seconds=3), retries=9)
    acts.join()
    assert len(runs(slow_id)) == 1 and not runs(gone_id)
    found = {row[:3] for row in history(log)}
    assert found == {
        ("gone", 1, "PLANNED"),
        ("gone", 1, "TRIGGERED"),
        ("slow", 1, "PLANNED"),
        ("slow", 1, "TRIGGERED"),
        ("slow", 1, "SUCCEEDED"),
    }
    *_, last = tasks
    if form == ONE_TASK:
        assert last.state == "failed" and 2 <= last.try_number < 9, "what is deleted is not tried again"
    else:
        assert tasks[0].state == "failed" and tasks[0].try_number < 9
        assert last.state == "success" and last.try_number >= 2
