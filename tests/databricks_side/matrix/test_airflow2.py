"""Airflow 2 is asked by its command line. That it works is what `make matrix` shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo.processes import Processes
from matrix.airflow2 import Airflow2

SCRIPT = """#!/bin/sh
echo "[2026-01-01] {a line of a log}"
case "$*" in
  "dags list --output json") echo '[{"dag_id": "file_arrivals"}]' ;;
  "jobs check --job-type TriggererJob") exit %d ;;
  "jobs check --job-type SchedulerJob") exit 0 ;;
  "dags unpause file_arrivals") touch "$AIRFLOW_HOME.unpaused" ;;
  "dags list-runs --dag-id file_arrivals --output json") echo '[{"run_id": "new"}, {"run_id": "old"}]' ;;
  "tasks states-for-dag-run file_arrivals new --output json")
    echo '[{"task_id": "arrived", "state": "deferred"}, {"task_id": "trigger", "state": null}]' ;;
  *) exit 9 ;;
esac
"""


def airflow(folder: Path, triggerer: int = 0) -> Airflow2:
    """One whose program gives prepared answers."""
    (folder / "airflow").write_text(SCRIPT % triggerer)
    (folder / "airflow").chmod(0o755)
    return Airflow2(folder / "home", folder, Processes(folder), binaries=folder)


def test_it_is_ready_when_both_components_live_and_the_dag_is_known(tmp_path: Path) -> None:
    assert airflow(tmp_path).is_ready()
    assert not airflow(tmp_path, triggerer=1).is_ready()


def test_it_tells_the_runs_and_the_newest_task(tmp_path: Path) -> None:
    assert [run["run_id"] for run in airflow(tmp_path).dag_runs()] == ["new", "old"]
    assert airflow(tmp_path).task_instances("arrived") == [{"task_id": "arrived", "state": "deferred"}]


def test_it_lets_the_dag_run(tmp_path: Path) -> None:
    airflow(tmp_path).unpause()
    assert (tmp_path / "home.unpaused").exists()


@pytest.mark.parametrize(("name", "value"), [("AIRFLOW__CORE__EXECUTOR", "SequentialExecutor")])
def test_sqlite_allows_one_executor_only(tmp_path: Path, name: str, value: str) -> None:
    assert airflow(tmp_path).environment()[name] == value
    assert set(airflow(tmp_path).components) == {"scheduler", "triggerer"}
