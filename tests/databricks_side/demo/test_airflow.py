"""Airflow's settings: its own home, loopback only. That it boots and works is what the demo itself shows."""

from __future__ import annotations

import json
from pathlib import Path

from demo.airflow import COMPONENTS, Airflow
from demo.processes import Processes
from demo.stage import REPOSITORY


def airflow(folder: Path) -> Airflow:
    return Airflow(folder / "airflow", REPOSITORY / "dags", Processes(folder))


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    ours = airflow(tmp_path)
    found = ours.environment()
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__API__BASE_URL"] == ours.url == f"http://127.0.0.1:{found['AIRFLOW__API__PORT']}"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith(f"{ours.url}/")
    # The log servers of these two listen on every address.
    assert {name for name, options in COMPONENTS.items() if "--skip-serve-logs" in options} == {
        "scheduler",
        "triggerer",
    }


def test_its_home_and_connection_are_its_own(tmp_path: Path) -> None:
    found = airflow(tmp_path).environment({"conn_type": "databricks", "port": 1})
    assert found["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert Path(found["AIRFLOW__CORE__DAGS_FOLDER"], "file_arrivals.py").exists()
    assert json.loads(found["AIRFLOW_CONN_DATABRICKS_DEFAULT"]) == {"conn_type": "databricks", "port": 1}
    assert "AIRFLOW_CONN_DATABRICKS_DEFAULT" not in airflow(tmp_path).environment()


def test_each_has_a_password_of_its_own(tmp_path: Path) -> None:
    assert airflow(tmp_path).password != airflow(tmp_path).password


def test_one_that_does_not_run_is_not_ready(tmp_path: Path) -> None:
    assert airflow(tmp_path).is_ready() is False
