"""A task that waits for its runs, in a whole Airflow: a person who ends it cancels them, a crash does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow.triggers.base import BaseTrigger
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import RunLifeCycleState, RunResultState, RunState
from demo.airflow import Airflow

from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, fails_when_there_is
from tests.whole_airflow import whole_airflow

pytestmark = pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"), reason="Airflow tells triggers of a person's action since 3.3"
)

PATIENCE = 180.0
DAG_ID = "waits"
SOURCE = """
from datetime import datetime
from airflow import DAG
from databricks_file_arrivals.operators import TriggerWorkflowsOperator

with DAG("waits", schedule=None, start_date=datetime(2026, 1, 1)):
    TriggerWorkflowsOperator(task_id="trigger", wait_for_completion=True, poll_interval=1, **{arguments!r})
"""


@pytest.fixture
def now(tmp_path: Path) -> Iterator[Path]:
    """The file that ends the jobs."""
    yield tmp_path / "now"
    (tmp_path / "now").touch()


@pytest.fixture
def airflow(tmp_path: Path, log: Log, databricks: RunningWorkspace) -> Iterator[Airflow]:
    """With a DAG whose operator waits for what it has started."""
    arguments = {
        "log_table": str(log.names.log),
        "workflow_mapping_table": str(log.names.mapping),
        "consumer": log.consumer(),
    }
    text = SOURCE.format(arguments=arguments)
    with whole_airflow(tmp_path, {"waits.py": text}, DAG_ID, databricks) as made:
        yield made


def state_of(admin: WorkspaceClient, run_id: int) -> RunState:
    """The state of a run in the workspace."""
    found = admin.jobs.get_run(run_id).state
    assert found is not None
    return found


def await_triggerer(airflow: Airflow, *, not_of: int | None = None) -> tuple[str, int]:
    """The DAG run whose task is deferred, and the triggerer that waits for it: another one than `not_of`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = airflow.task_instances("trigger")
        job = found[0].get("triggerer_job") if found else None
        if job is not None and found[0]["state"] == "deferred" and job["id"] != not_of:
            return str(found[0]["dag_run_id"]), int(job["id"])
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_a_person_ends_the_waiting_task(
    airflow: Airflow, log: Log, now: Path, new_job: Callable[..., int], admin: WorkspaceClient
) -> None:
    job = new_job(f"goes on {now.parent.name}", source=fails_when_there_is(now))
    other = new_job("of somebody else", source=fails_when_there_is(now))
    log.map(("/in/waits", f"goes on {now.parent.name}", "Y"))
    log.land({"/in/waits": 1})
    others = int(admin.jobs.run_now(other).bind()["run_id"])

    airflow.unpause()
    airflow.call("POST", f"dags/{DAG_ID}/dagRuns", {"logical_date": None})
    dag_run, triggerer = await_triggerer(airflow)
    (mine,) = (int(run.run_id or 0) for run in admin.jobs.list_runs(job_id=job))
    # A triggerer that dies, and another one that takes over, leave the run alone.
    airflow.kill("triggerer")
    await_triggerer(airflow, not_of=triggerer)
    time.sleep(5)
    assert state_of(admin, mine).life_cycle_state == RunLifeCycleState.RUNNING

    path = f"dags/{DAG_ID}/dagRuns/{dag_run}/taskInstances/trigger"
    airflow.call("PATCH", path, {"new_state": "failed"})
    deadline = time.monotonic() + PATIENCE
    while (state := state_of(admin, mine)).life_cycle_state != RunLifeCycleState.TERMINATED:
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert state.result_state == RunResultState.CANCELED
    assert state_of(admin, others).life_cycle_state == RunLifeCycleState.RUNNING
    assert len(list(admin.jobs.list_runs(job_id=job))) == 1
