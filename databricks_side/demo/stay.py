"""`up`: the same start, kept running, with one example file, until Ctrl-C."""

from __future__ import annotations

import shlex
from pathlib import Path

from demo.landing import land
from demo.processes import until
from demo.scenario import EXAMPLE, scenario
from demo.screen import Screen
from demo.stage import LOG_TABLE, Stage, stage
from demo.watch import Watch

AGAIN_SECONDS = 365 * 24 * 3600.0


def stay(state: Path) -> int:
    """Start everything, say how to use it, and stay until Ctrl-C."""
    screen = Screen()
    with stage(state, screen, Stage) as made:
        made.start()
        made.deploy(scenario())
        made.airflow.unpause()
        land(made.landing, [EXAMPLE])
        for line in how_to(made):
            screen.plain(line)
        watch = Watch(made)
        until(lambda: watch.look() and None, "Ctrl-C", made.processes, seconds=AGAIN_SECONDS, pause=5)
    return 0


def how_to(made: Stage) -> list[str]:
    """What to look at, and what to try next."""
    folder = shlex.quote(str(made.landing / "invoices" / "ACME Corp."))
    connection = made.airflow.environment(made.workspace.connection())
    shown = ("AIRFLOW_HOME", "AIRFLOW_CONN_DATABRICKS_DEFAULT")
    settings = " ".join(f"{name}={shlex.quote(connection[name])}" for name in shown)
    return [
        "",
        "It runs. One example file has landed: within a minute two workflows read it.",
        f"Airflow     {made.airflow.url}/dags/file_arrivals",
        f"Databricks  {made.workspace.url}",
        "Let something happen, in another terminal:",
        f"    mkdir -p {folder} && cp README.md {folder}/",
        "See what came of it:",
        f"    {settings} .venv/bin/file-arrivals log --log-table {LOG_TABLE}",
        "Ctrl-C ends all of it.",
        "",
    ]
