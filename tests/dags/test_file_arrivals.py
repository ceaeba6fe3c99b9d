"""The DAG that README shows, run whole in real Airflow; and none of the ready DAGs asks anybody at parse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.airflow_versions import VERSION
from tests.dags.ingest import DAGS, deployed, load, run


def test_it_does_what_it_says(airflow_db: str, hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    log = deployed(hook)
    log.map(("/in/a", "alpha", "Y"))
    log.land({"/in/a/x": 2})
    run(load("file_arrivals.py")["file_arrivals"])
    assert log.outcomes("default")["/in/a", "alpha"] == "TRIGGERED"


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_parsing_it_asks_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*given, **more): raise AssertionError('I/O at parse time')\n"
        "socket.socket.connect = refuse\n"
        f"exec(compile(open({str(file)!r}).read(), 'dag', 'exec'))\n"
    )
    monkeypatch.delenv("AIRFLOW_CONN_DATABRICKS_DEFAULT", raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    if VERSION < (3, 0) and file.stem == "file_arrivals_by_event":
        assert "need Airflow 3.0 or later. Use FileArrivalSensor" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
