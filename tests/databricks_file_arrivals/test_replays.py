"""The operator as a task instance of a real DAG run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.replays import DEFAULT
from databricks_file_arrivals.replays import ReplayOperator
from databricks_file_arrivals.workspace import replays
from databricks_file_arrivals.workspace.jobs import JobsApi
from tests.airflow_side import Log
from tests.airflow_versions import load_dag, run_dag
from tests.conftest import DAG_FOLDERS

SOURCE = """
from datetime import datetime
from airflow import DAG
from databricks_file_arrivals.operators import TriggerWorkflowsOperator
from databricks_file_arrivals.replays import ReplayOperator

TABLES = {tables!r}
with DAG("replay_{schema}", schedule=None, start_date=datetime(2026, 1, 1), params={{"start": "alpha"}}):
    done = TriggerWorkflowsOperator(task_id="trigger", **TABLES)
    chosen = {{"statuses": ["unmapped"], "start": "{{{{ params.start }}}}", "since": "2026-01-01", **TABLES}}
    looked = ReplayOperator(task_id="look", dry_run=True, **chosen)
    first = ReplayOperator(task_id="first", **chosen)
    done >> looked >> first >> ReplayOperator(task_id="second", **chosen)
"""


def test_it_replays_what_is_chosen_once_and_tells_of_it(
    airflow_db: str,
    new_log: Callable[[], Log],
    jobs: dict[str, int],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = []

    def paced(workspace: Any, **given: Any) -> JobsApi:
        rates.append(given["starts_per_second"])
        return JobsApi(workspace, **given)

    monkeypatch.setenv("AIRFLOW__FILE_ARRIVALS__STARTS_PER_SECOND", "7")
    monkeypatch.setattr(replays, "JobsApi", paced)
    log = new_log()
    log.land({"/in/z": 3})
    tables = {"log_table": str(log.names.log), "workflow_mapping_table": str(log.names.mapping)}
    file = DAG_FOLDERS["written"] / "replay_only.py"
    file.write_text(SOURCE.format(tables=tables, schema=log.names.log.parts[1]))
    run = run_dag(load_dag(file))
    assert set(rates) == {7.0}, "what the configuration of Airflow says, in each try of each task"
    returned = {
        name: task.xcom_pull(name)
        for name in ("look", "first", "second")
        if (task := run.get_task_instance(name)) is not None and task.state == "success"
    }
    assert returned == {
        "look": {"outcomes": 1, "left": 0},
        "first": {"outcomes": 1, "left": 0, "planned": 1, "triggered": 1},
        "second": {"outcomes": 0, "left": 1},
    }
    (row,) = log.hook.query(
        f"SELECT * FROM {log.names.log.sql} WHERE status = 'TRIGGERED' AND replay_of IS NOT NULL"
    )
    assert (row["workflow_name"], row["task_id"], row["file_count"]) == ("alpha", "first", 3)
    assert run.get_task_instance("first").xcom_pull("first", key="trigger_log_page").endswith("/file_log")
    printed = "".join(capfd.readouterr())
    assert f"TRIGGERED /in/z → alpha: run {row['started_run_id']}, 3 files, 30 B" in printed
    assert "would start alpha for /in/z, 3 files" in printed and "left UNMAPPED /in/z" in printed


def operator(**arguments: object) -> ReplayOperator:
    return ReplayOperator(
        task_id="replay",
        log_table="main.x.log",
        workflow_mapping_table="main.x.mapping",
        **arguments,  # type: ignore[arg-type]
    )


def test_its_selection_is_that_of_the_command() -> None:
    selection = operator(since="2026-01-01T10:00", directory="", workflow="w")._selection()
    assert selection.statuses == DEFAULT
    assert selection.since == datetime(2026, 1, 1, 10, tzinfo=timezone.utc) and selection.directory is None
    assert operator(statuses=["succeeded"])._selection().statuses == (Status.SUCCEEDED,)


@pytest.mark.parametrize("bad", [{"statuses": ["held"]}, {"statuses": ["gone"]}, {"until": "yesterday"}])
def test_what_cannot_be_selected_is_said(bad: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        operator(**bad)._selection()
