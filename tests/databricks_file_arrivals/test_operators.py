"""The operators as task instances of real DAG runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import DAG
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import JobSettings

from databricks_file_arrivals import operators, telling
from databricks_file_arrivals.compat import AirflowException, BaseOperator
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.operators import (
    PlanRequestsOperator,
    RunWorkflowOperator,
    TriggerWorkflowsOperator,
)
from databricks_file_arrivals.sensors import FileArrivalSensor
from databricks_file_arrivals.workspace.starts import Report
from tests.airflow_side import Log
from tests.airflow_versions import load_dag, run_dag
from tests.conftest import DAG_FOLDERS

SOURCE = """
from datetime import datetime
from airflow import DAG
from databricks_file_arrivals.operators import *

LOG = {log_table!r}
MAPPING = {mapping_table!r}
with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1), default_args={{"log_table": LOG}}):
{tasks}
"""
PLAN = '    plan = PlanRequestsOperator(task_id="plan", workflow_mapping_table=MAPPING{more})\n'
RUN = '    RunWorkflowOperator.partial(task_id="run", retries={retries}).expand(request={requests})\n'
TRIGGER = '    TriggerWorkflowsOperator(task_id="trigger", workflow_mapping_table=MAPPING, **{arguments!r})\n'

TABLES: dict[str, Any] = {"log_table": "main.a.log", "workflow_mapping_table": "main.a.mapping"}


def run_tasks(log: Log, name: str, tasks: str) -> Any:
    """A DAG run of these tasks, once all of them have ended."""
    dag_id = f"{name}_{log.names.log.parts[1]}"
    file = DAG_FOLDERS["written"] / f"{name}.py"
    tables = {"log_table": str(log.names.log), "mapping_table": str(log.names.mapping)}
    file.write_text(SOURCE.format(dag_id=dag_id, tasks=tasks, **tables))
    return run_dag(load_dag(file))


@pytest.fixture
def trigger_task(
    airflow_db: str, new_log: Callable[[], Log], jobs: dict[str, int]
) -> Callable[..., tuple[Log, Any]]:
    """Runs a DAG of one operator on a new log: the log and the task instance."""

    def run(
        *rows: tuple[str | None, str | None, str | None], files: dict[str, int], **changes: Any
    ) -> tuple[Log, Any]:
        log = new_log()
        log.map(*rows)
        log.land(files)
        ended = run_tasks(log, "trigger_only", TRIGGER.format(arguments={"retries": 2, **changes}))
        return log, ended.get_task_instance("trigger")

    return run


def test_the_asset_events_of_a_try_that_failed_are_told_by_the_next(
    trigger_task: Callable[..., tuple[Log, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[tuple[str | None, str]]] = []

    def announced(context: Any, outlets: Any, log_table: str, rows: Iterable[LogRow]) -> None:
        told.append(sorted((row.directory, row.status.value) for row in rows))

    def fails_once(report: Report) -> None:
        if len(told) == 1:
            raise AirflowException("after all was done")

    monkeypatch.setattr(telling, "announce", announced)
    monkeypatch.setattr(telling, "aliases_among", lambda outlets: ["an alias"])
    monkeypatch.setattr(operators, "fail_at_end", fails_once)
    files = {"/in/a": 1, "/in/z": 1, "/in/b": 1}
    _, task = trigger_task(("/in/a", "alpha", "Y"), ("/in/b", "nobody's", "Y"), files=files, retry_delay=0)
    assert task.state == "success" and task.try_number == 2
    first, second = told
    assert first == [("/in/a", "TRIGGERED"), ("/in/b", "NO_SUCH_WORKFLOW"), ("/in/z", "UNMAPPED")]
    assert second == first[:2]


def test_only_first_attempts_have_events_and_awaited_ones_at_their_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (
        LogRow(
            status=Status.TRIGGERED,
            consumer="default",
            claim_id="c",
            epoch=1,
            directory="/in/a",
            attempt=attempt,
            trigger_id=str(attempt),
        )
        for attempt in (1, 2)
    )
    monkeypatch.setattr(telling, "written_by", lambda *given: [first, second])
    monkeypatch.setattr(telling, "aliases_among", lambda outlets: ["an alias"])
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=2)
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime(2026, 1, 1))}
    for waits, told in ((False, [first]), (True, [second])):
        operator = TriggerWorkflowsOperator(task_id="t", wait_for_completion=waits, **TABLES)
        assert operator._of_all_tries(context, None, None, [second], None) == told  # type: ignore[arg-type]


def test_a_dry_run_starts_nothing_and_takes_nothing_from_the_real_consumer(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(("/in/a", "alpha", "Y"), files={"/in/a": 2}, dry_run=True, start_from="earliest")
    assert task.xcom_pull("trigger")["dry_run"] == 1
    assert log.outcomes("default-dry-run") == {("/in/a", "alpha"): "DRY_RUN"}
    row = log.ledger.consumer("default")
    assert row is not None and row.epoch == 0 and not row.cursor


def test_it_returns_the_counts_and_stamps_the_rows(trigger_task: Callable[..., tuple[Log, Any]]) -> None:
    log, task = trigger_task(("/in/a", "alpha", "Y"), files={"/in/a": 2, "/in/z": 1})
    assert task.state == "success"
    assert task.xcom_pull("trigger") == {
        "epoch": 1,
        "files": 3,
        "mapping_problems": 0,
        "planned": 1,
        "triggered": 1,
        "unmapped": 1,
    }
    rows = log.hook.query(f"SELECT DISTINCT task_id, try_number FROM {log.names.log.sql}")
    assert rows == [{"task_id": "trigger", "try_number": 1}]


def test_a_refusal_fails_the_task_once_all_others_are_recorded(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(
        ("/in/a", "alpha", "Y"), ("/in/l", "locked", "Y"), files={"/in/a": 1, "/in/l": 1}
    )
    assert task.state == "failed" and task.try_number == 1, "a refusal is not retried by Airflow"
    assert log.outcomes("default") == {("/in/a", "alpha"): "TRIGGERED", ("/in/l", "locked"): "ERROR"}


def test_bad_mapping_rows_are_counted_and_the_others_work(
    trigger_task: Callable[..., tuple[Log, Any]],
) -> None:
    log, task = trigger_task(
        ("", "alpha", "Y"),
        ("/in/b", "  ", "Y"),
        ("/in/a", "alpha", "Y"),
        ("/in/a", "alpha", "Y"),
        files={"/in/a": 1, "/in/b": 1},
    )
    assert task.state == "success" and task.xcom_pull("trigger")["mapping_problems"] == 3
    assert log.outcomes("default") == {("/in/a", "alpha"): "TRIGGERED", ("/in/b", None): "UNMAPPED"}


def started(admin: WorkspaceClient, job_id: int, log: Log) -> list[str]:
    """The directories for which a job has runs, one entry for each run."""
    runs = admin.jobs.list_runs(job_id=job_id)
    told = [{p.name: p.value for p in run.job_parameters or ()} for run in runs]
    return sorted(str(each["directory"]) for each in told if each["log_table"] == str(log.names.log))


@pytest.mark.parametrize(("try_number", "waits"), [(1, False), (4, True)])
def test_a_start_that_may_pass_is_tried_again_before_the_others_are_waited_for(
    try_number: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def awaited(*given: Any) -> None:
        raise Waits

    report = Report(unavailable=["alpha for /in/a: no answer"])
    monkeypatch.setattr(TriggerWorkflowsOperator, "start", lambda *given: report)
    monkeypatch.setattr(TriggerWorkflowsOperator, "_awaited", awaited)
    operator = TriggerWorkflowsOperator(task_id="trigger", wait_for_completion=True, **TABLES)
    context: Any = {"ti": SimpleNamespace(try_number=try_number, max_tries=3)}
    with pytest.raises(Waits if waits else AirflowException):
        operator.execute(context)


class Waits(Exception):
    """Raised when an operator begins to wait."""


@pytest.mark.parametrize(
    ("given", "configured", "most"),
    [({}, None, 1024), ({"max_requests": 5}, None, 5), ({}, "3", 3), ({"max_requests": 0}, None, 1)],
)
def test_no_more_is_handed_out_than_airflow_maps_a_task_over(
    given: dict[str, int], configured: str | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def claim(self: PlanRequestsOperator, context: Any, hand_out: int) -> None:
        asked.append(hand_out)

    monkeypatch.setattr(PlanRequestsOperator, "_claim", claim)
    if configured is not None:
        monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", configured)
    PlanRequestsOperator(task_id="plan", **TABLES, **given).plan({})
    assert asked == [most]


OF_ALL = {"log_table", "consumer", "databricks_conn_id", "warehouse_id"}


@pytest.mark.parametrize(
    ("operator", "more"),
    [
        (FileArrivalSensor, {"signal_volume"}),
        (TriggerWorkflowsOperator, {"workflow_mapping_table", "signal_volume"}),
        (PlanRequestsOperator, {"workflow_mapping_table", "signal_volume"}),
        (RunWorkflowOperator, {"request"}),
    ],
)
def test_names_and_ids_are_templates(operator: type[BaseOperator], more: set[str]) -> None:
    assert set(operator.template_fields) == OF_ALL | more


@pytest.mark.parametrize(
    "default_args, given, expected",
    [
        ({}, {}, (3, timedelta(seconds=10), True, RunWorkflowOperator.LABEL)),
        (
            {"retries": 0, "retry_delay": timedelta(hours=1)},
            {"retry_exponential_backoff": False, "map_index_template": "{{ task.consumer }}"},
            (0, timedelta(hours=1), False, "{{ task.consumer }}"),
        ),
    ],
    ids=["its own", "the DAG's and the call's"],
)
def test_a_mapped_task_has_its_own_retries_and_label_unless_others_are_named(
    default_args: dict[str, Any], given: dict[str, Any], expected: tuple[object, ...]
) -> None:
    with DAG("defaults", schedule=None, start_date=datetime(2026, 1, 1), default_args=default_args) as dag:
        partial = RunWorkflowOperator.partial(task_id="run", log_table="main.a.log", **given)
        partial.expand(request=[{"directory": "/in/a", "workflow": "alpha"}])
    task: Any = dag.get_task("run")
    assert (
        task.retries,
        task.retry_delay,
        bool(task.retry_exponential_backoff),
        task.map_index_template,
    ) == (expected)
    request = {"request": {"directory": "/in/a", "workflow": "alpha"}}
    own = task.unmap(request)
    assert (own.retries, own.retry_delay, own.retry_exponential_backoff, own.map_index_template) == expected
    assert (own.label, own.request_label) == ("run", "/in/a → alpha"), "Airflow's own label stays"


def test_each_workflow_is_a_task_of_its_own(
    airflow_db: str, new_log: Callable[[], Log], jobs: dict[str, int], admin: WorkspaceClient
) -> None:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), ("/in/b", "beta", "Y"), ("/in/l", "locked", "Y"))
    log.land({"/in/a": 2, "/in/b": 1, "/in/l": 1, "/in/z": 1})
    ended = run_tasks(log, "mapped", PLAN.format(more="") + RUN.format(retries=2, requests="plan.output"))
    tasks = {ti.rendered_map_index: ti for ti in ended.get_task_instances() if ti.task_id == "run"}
    assert {label: (str(ti.state), ti.try_number) for label, ti in tasks.items()} == {
        "/in/a → alpha": ("success", 1),
        "/in/b → beta": ("success", 1),
        "/in/l → locked": ("failed", 1),
    }
    assert log.outcomes("default") == {
        ("/in/a", "alpha"): "TRIGGERED",
        ("/in/b", "beta"): "TRIGGERED",
        ("/in/l", "locked"): "ERROR",
        ("/in/z", None): "UNMAPPED",
    }
    rows = log.hook.query(
        f"SELECT status, task_id, count(*) AS n FROM {log.names.log.sql} GROUP BY status, task_id ORDER BY 1"
    )
    assert [(r["status"], r["task_id"], r["n"]) for r in rows] == [
        ("CLAIMED", "plan", 1),
        ("ERROR", "run", 1),
        ("PLANNED", "plan", 3),
        ("TRIGGERED", "run", 2),
        ("UNMAPPED", "plan", 1),
    ]
    assert started(admin, jobs["alpha"], log) == ["/in/a"]


def test_bad_requests_stop_no_others_and_the_other_form_goes_on(
    airflow_db: str, new_log: Callable[[], Log], new_job: Callable[..., int], admin: WorkspaceClient
) -> None:
    log = new_log()
    names = [f"{kind} {log.names.log.parts[1]}" for kind in ("deleted", "renamed", "as it was", "next time")]
    made = [new_job(name) for name in names]
    log.map(*((f"/in/{i}", name, "Y") for i, name in enumerate(names)))
    log.land({f"/in/{i}": 1 for i in range(4)})
    planned = run_tasks(log, "planned", PLAN.format(more=", max_requests=3"))
    requests = planned.get_task_instance("plan").xcom_pull("plan")
    assert [r["directory"] for r in requests] == ["/in/0", "/in/1", "/in/2"], requests
    row = log.ledger.consumer("default")
    assert row is not None and row.overdue, "one is left over"
    admin.jobs.delete(made[0])
    admin.jobs.update(made[1], new_settings=JobSettings(name=f"{names[1]} since"))
    bad = [None, {"trigger_id": 3}, {"trigger_id": "x"}, {"trigger_id": f"{1:012x}" + "0" * 52}]
    tasks = RUN.format(retries=0, requests=[*requests, requests[2], *bad])
    ended = run_tasks(log, "runs", tasks).get_task_instances()
    states = {ti.map_index: str(ti.state) for ti in ended}
    assert [states[i] for i in range(8)] == ["failed", "success", "success", "success"] + ["failed"] * 4
    assert started(admin, made[2], log) == ["/in/2"], "two tasks, one run"
    run_tasks(log, "trigger_only", TRIGGER.format(arguments={"retries": 0}))
    found = log.outcomes("default")
    outcomes = [found[f"/in/{i}", name] for i, name in enumerate(names)]
    ended_or_not = [outcome.replace("SUCCEEDED", "TRIGGERED") for outcome in outcomes]
    assert ended_or_not == ["ERROR", "TRIGGERED", "TRIGGERED", "TRIGGERED"]
    assert started(admin, made[3], log) == ["/in/3"]
