"""What a started workflow costs in Airflow: in one task for all, as a mapped task of ours, as a stock one.

Each form starts the same workflows, all of them in one `dag.test()` of a real Airflow: its tasks run one
after another, with no scheduler and no executor, which in a deployment add their own time to each task and
run several at once. The workspace is the local one, a real server on a socket, with a user's token and
grants; its SQL is real Spark on real Delta, which takes a good part of a second for a statement on a small
machine.

- One task: TriggerWorkflowsOperator, from arrivals to recorded runs, at the default of 15 starts a second.
- Mapped: PlanRequestsOperator, then RunWorkflowOperator for each request: each reads its row, starts its run,
  and records it, in two statements.
- Stock: DatabricksRunNowOperator, mapped over the names with a token each, all else as it comes. It neither
  plans nor records.

The workspace accepts and queues runs, and starts no process for them (`--processes 0`). Client, server and
Spark share this machine's processors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.report import publish
from bench.starts import USER, Bench, airflow
from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

FORMS = Path(__file__).parent / "dags" / "task_forms.py"
TITLES = {
    "one-task": "ours, one task for all",
    "mapped": "ours, a mapped task each",
    "stock": "stock, mapped",
}
LOG_TABLE, MAPPING_TABLE = "main.bench.file_log", "main.bench.workflow_mapping"


def land(names: list[str]) -> None:
    """A log with one batch, which has a file for each workflow, in a directory of its own."""
    from databricks_file_arrivals.core.deployment import deploy
    from databricks_file_arrivals.core.tables import Names
    from databricks_file_arrivals.hooks import FileArrivalsHook

    hook = FileArrivalsHook()
    hook.query("CREATE SCHEMA main.bench")
    deploy(hook, MAPPING_TABLE, LOG_TABLE)
    tables = Names.of(LOG_TABLE, MAPPING_TABLE)
    listed = {"names": json.dumps(names)}
    each = "(SELECT explode(from_json(:names, 'ARRAY<STRING>')) AS name)"
    hook.query(
        f"INSERT INTO {tables.mapping.sql} (directory, workflow_name, active_ind) "
        f"SELECT concat('/in/', name), name, 'Y' FROM {each}",
        listed,
    )
    hook.query(
        f"INSERT INTO {tables.arrivals.sql} SELECT 'stream', 0, '/in', concat('/in/', name), "
        f"concat('/in/', name, '/1.csv'), 10, current_timestamp(), current_timestamp() FROM {each}",
        listed,
    )


def measure(form: str, names: list[str], bench: Bench) -> dict[str, Any]:
    """The line of the table of one form."""
    before = bench.calls()
    done = subprocess.run(
        [sys.executable, str(FORMS)],
        env={
            **os.environ,
            "BENCH_FORM": form,
            "BENCH_WORKFLOWS": json.dumps(names),
            "BENCH_LOG_TABLE": LOG_TABLE,
            "BENCH_MAPPING_TABLE": MAPPING_TABLE,
        },
        capture_output=True,
        text=True,
    )
    found = [line.removeprefix("FOUND ") for line in done.stdout.splitlines() if "FOUND " in line[:6]]
    assert found, done.stderr[-3000:]
    told = json.loads(found[0])
    assert told["good"] == told["ended"], done.stdout[-3000:]
    return {
        "form": TITLES[form],
        "workflows": len(names),
        "tasks": told["ended"],
        "seconds": round(told["seconds"], 1),
        "seconds/workflow": round(told["seconds"] / len(names), 3),
        "calls/workflow": round((bench.calls() - before) / len(names), 2),
    }


def measured(workspace: RunningWorkspace, count: int) -> list[dict[str, Any]]:
    """All forms, one after the other."""
    names = [f"load {number:04}" for number in range(count)]
    bench = Bench(workspace, names)
    bench.make_jobs()
    land(names)
    return [measure(form, names, bench) for form in TITLES]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="workflows (default: %(default)s)")
    given = parser.parse_args()
    setup()
    with (
        tempfile.TemporaryDirectory(prefix="bench-workspace-") as folder,
        running_workspace(
            Path(folder) / "state", principals=[USER], options=["--processes", "0"], faults=True
        ) as workspace,
        airflow(workspace),
    ):
        rows = measured(workspace, given.count)
    publish("tasks", f"Starting {given.count:,} workflows in each form, in dag.test()", rows)


if __name__ == "__main__":
    main()
