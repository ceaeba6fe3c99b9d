"""The DAG that README shows, run whole in real Airflow against the local workspace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from databricks_file_arrivals.core.deployment import deploy
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.ledger import Ledger
from tests.airflow_side import Log
from tests.airflow_versions import load_dag, run_dag

FILE = Path(__file__).parents[2] / "dags" / "file_arrivals.py"


def test_it_does_what_it_says(airflow_db: str, hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    hook.query("CREATE SCHEMA IF NOT EXISTS main.ingest")
    deploy(hook, "main.ingest.workflow_mapping", "main.ingest.file_log")
    names = Names.of("main.ingest.file_log", "main.ingest.workflow_mapping")
    log = Log(hook, names, Ledger(hook, names))
    log.map(("/in/a", "alpha", "Y"))
    log.land({"/in/a/x": 2})
    assert run_dag(load_dag(FILE)).state == "success"
    assert log.outcomes("default") == {("/in/a", "alpha"): "TRIGGERED"}


def test_parsing_it_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*given, **more): raise AssertionError('I/O at parse time')\n"
        "socket.socket.connect = refuse\n"
        f"exec(compile(open({str(FILE)!r}).read(), 'dag', 'exec'))\n"
    )
    monkeypatch.delenv("AIRFLOW_CONN_DATABRICKS_DEFAULT", raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_readme_shows_this_very_dag() -> None:
    text = FILE.read_text()
    shown = text[text.index("with DAG") : text.index("# fmt: on")]
    assert f"```python\n{shown}```" in (FILE.parents[1] / "README.md").read_text()
