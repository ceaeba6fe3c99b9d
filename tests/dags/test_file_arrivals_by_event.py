"""The event way in a whole Airflow: what is due is started, whatever dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import ResourceAlreadyExists
from databricks.sdk.service.catalog import VolumeType
from demo.airflow import Airflow
from demo.processes import Processes, until

from databricks_file_arrivals.compat import EVENT_DRIVEN
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, Signals
from tests.dags.ingest import deployed
from tests.whole_airflow import whole_airflow

pytestmark = pytest.mark.skipif(not EVENT_DRIVEN, reason="Airflow 2 has no event-driven scheduling")

DAGS = Path(__file__).parents[2] / "dags"
DAG_ID = "file_arrivals_by_event"
PATIENCE = 300.0
SIGNALS = "/Volumes/main/ingest/signals"


@pytest.fixture(scope="module")
def log(hook: Any, jobs: dict[str, int]) -> Log:
    return deployed(hook)


@pytest.fixture(scope="module")
def signals(admin: Any, log: Log) -> Signals:
    """The volume that the DAG names."""
    try:
        made = admin.volumes.create("main", "ingest", "signals", VolumeType.MANAGED)
    except ResourceAlreadyExists:
        made = admin.volumes.read("main.ingest.signals")
    found = Signals(SIGNALS, Path(made.storage_location or ""), "main.ingest.signals")
    (found.folder / "streams").mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, databricks: RunningWorkspace) -> Iterator[Airflow]:
    """Airflow with the ready DAG, and with a copy of it of which a person lets ten run at a time: the same
    asset, and the same consumer."""
    text = (DAGS / f"{DAG_ID}.py").read_text()
    ten = text.replace(DAG_ID, "ten").replace("max_active_runs=1", "max_active_runs=10")
    folder = tmp_path_factory.mktemp("event")
    with whole_airflow(folder, {"ready.py": text, "ten.py": ten}, DAG_ID, databricks) as made:
        yield made


@pytest.fixture
def land(log: Log, signals: Signals) -> Callable[[], str]:
    """Logs one file and points to it, as the stream does: its path."""
    stream = log.land({"/in/a/other": 1}, root="/in")
    signals.point(log, stream, 0)

    def one() -> str:
        name = f"{time.time_ns()}.csv"
        log.land_files({"/in/a/e": [name]}, stream)
        signals.point(log, stream, log.batches[stream])
        return f"/in/a/e/{name}"

    return one


def started(log: Log, path: str) -> list[str]:
    """The runs that were told of a file."""
    found = log.hook.query(
        f"SELECT DISTINCT CAST(l.started_run_id AS STRING) AS run FROM {log.names.arrivals.sql} a "
        f"JOIN {log.names.log.sql} l ON a.stream_id = l.stream_id AND l.status = 'TRIGGERED' "
        "AND a.batch_id > l.directories[a.directory].after "
        "AND a.batch_id <= l.directories[a.directory].up_to WHERE a.path = :path AND consumer = 'default'",
        {"path": path},
    )
    return [row["run"] for row in found]


def await_start(log: Log, path: str, airflow: Airflow, admin: WorkspaceClient) -> str:
    """The run that was told of a file, once there is one: the tables are asked when a run has started, and
    seldom otherwise."""
    deadline, seen, ask_at = time.monotonic() + PATIENCE, -1, 0.0
    while True:
        runs = sum(run.run_name == "alpha" for run in admin.jobs.list_runs())
        if runs != seen or time.monotonic() > ask_at:
            seen, ask_at = runs, time.monotonic() + 5
            if found := started(log, path):
                (run,) = found
                return run
        assert time.monotonic() < deadline, (path, airflow.dag_runs()[:3])
        time.sleep(0.5)


def test_nothing_is_lost_and_nothing_started_twice(
    airflow: Airflow, log: Log, signals: Signals, land: Callable[[], str], admin: WorkspaceClient
) -> None:
    logging.getLogger("databricks.sdk").setLevel(logging.WARNING)
    log.map(("/in/a/e", "alpha", "Y"))
    paths = [land()]  # before the DAG is switched on
    airflow.unpause()
    airflow.of("ten").unpause()
    await_start(log, paths[-1], airflow, admin)
    paths.append(land())
    await_start(log, paths[-1], airflow, admin)
    # killed, and started again: what arrived meanwhile, and what was being told, is told
    paths.append(land())
    airflow.kill("triggerer")
    paths.append(land())
    await_start(log, paths[-1], airflow, admin)
    # paused and resumed: Airflow has deleted the trigger meanwhile
    for dag in (airflow, airflow.of("ten")):
        dag.unpause(paused=True)
    paths.append(land())
    time.sleep(5)
    assert not started(log, paths[-1]), "the DAGs are paused"
    for dag in (airflow, airflow.of("ten")):
        dag.unpause()
    await_start(log, paths[-1], airflow, admin)
    # more runs than are needed, at the same time
    paths.append(land())
    for nth in range(4):
        airflow.of("ten").call(
            "POST", "dags/ten/dagRuns", {"logical_date": None, "dag_run_id": f"more-{nth}"}
        )
    await_start(log, paths[-1], airflow, admin)
    until(
        lambda: ended(airflow.of("ten")), "all runs have ended", Processes(signals.folder), seconds=PATIENCE
    )
    assert [len(started(log, path)) for path in paths] == [1] * len(paths)


def ended(airflow: Airflow) -> bool:
    return all(run["state"] in ("success", "failed") for run in airflow.dag_runs())
