"""What `up` says can be done next can be done."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from demo.screen import Screen
from demo.stage import Stage
from demo.stay import how_to


def test_the_next_steps_are_commands(tmp_path: Path) -> None:
    made = Stage(tmp_path, Screen())
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "tokens.json").write_text(json.dumps({"admin": "a", "airflow": "b"}))
    lines = how_to(made)
    copy = next(line for line in lines if "cp README.md" in line)
    assert shlex.split(copy)[:3] == ["mkdir", "-p", str(tmp_path / "landing/invoices/ACME Corp.")]
    log = shlex.split(next(line for line in lines if "file-arrivals log" in line))
    settings = dict(word.split("=", 1) for word in log if "=" in word)
    assert json.loads(settings["AIRFLOW_CONN_DATABRICKS_DEFAULT"])["password"] == "b"
    assert settings["AIRFLOW_HOME"] == str(tmp_path / "airflow")
