"""Operators are killed at each point of a claim, and meet each fault: every request gets exactly one run.

The operator is a plain process, the log is real Delta, the Jobs API a real one. A point is reached by holding
the very call at which the operator is to die, before its effect or after it. What a held call does when it is
let go is the word of a dead operator that lands late.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

from local_workspace.faults import FaultClient, FaultState
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import DECLARED, PRINCIPAL, Log
from tests.operator_process import Task, TaskProcesses, task_processes

FILES = {"/in/a": 2, "/in/a/deep er/'q\"": 1, "/in/b": 1, "/in/c": 3}
DIRECTORIES = ("/in/a", "/in/b", "/in/c")
WORKFLOW = "started and never run"
RUN_NOW = "POST /api/2.*/jobs/run-now"
STATEMENT = "POST /api/2.0/sql/statements"
PLAN = ("INSERT INTO", "PLANNED")
RECORD = ("INSERT INTO", "CLAIMED")
SWAP = ("UPDATE", "claim_id")


@dataclass(frozen=True)
class Field:
    """A log with one batch that nobody has claimed; each consumer of a test begins there."""

    log: Log
    tasks: TaskProcesses
    faults: FaultClient
    admin: WorkspaceClient
    job_id: int

    def operator(self, consumer: str, **more: Any) -> Task:
        """Start an operator."""
        given = {"log_table": str(self.log.names.log), "start_from": "earliest", "retries": 1}
        mapping = str(self.log.names.mapping)
        return self.tasks.start(
            "operator", consumer=consumer, workflow_mapping_table=mapping, **{**given, **more}
        )

    def sensor(self, consumer: str) -> str:
        """What the sensor says: due, or deferred."""
        log_table = str(self.log.names.log)
        return str(self.tasks.start("sensor", consumer=consumer, log_table=log_table).returned())

    def hold(self, consumer: str, calls: str, contains: tuple[str, ...], **terms: Any) -> FaultState:
        """Hold such calls of the consumer's operators, or do to them what the terms say."""
        # A start names the log, not the consumer.
        mine = str(self.log.names.log) if calls == RUN_NOW else consumer
        return self.faults.add(**{"kind": "delay", "calls": calls, "contains": [mine, *contains], **terms})

    def wait_until_held(self, fault: FaultState, calls: int, *tasks: Task) -> None:
        """Return once so many calls are held; the tasks that make them may not end before."""
        deadline = time.monotonic() + 180
        while self.faults.find(fault).held < calls:
            assert time.monotonic() < deadline, f"not held: {self.faults.find(fault)}"
            for task in tasks:
                assert not task.result.exists(), task.result.read_text()
            time.sleep(0.02)

    def check(self, consumer: str) -> None:
        """What has landed is what was started: for each directory one run, told of it, and so recorded."""
        rows = self.log.hook.query(
            f"SELECT DISTINCT directory, status, trigger_id, run_id FROM {self.log.names.log.sql} "
            "WHERE consumer = :c AND trigger_id IS NOT NULL",
            {"c": consumer},
        )
        told = {row["trigger_id"] for row in rows}  # of void plans too: none of them may have a run
        newest = itertools.islice(self.admin.jobs.list_runs(job_id=self.job_id, limit=25), 25)
        parameters = {r.run_id: {p.name: p.value for p in r.job_parameters or ()} for r in newest}
        started = {(p["directory"], run) for run, p in parameters.items() if p["trigger_id"] in told}
        recorded = {(r["directory"], r["run_id"]) for r in rows if r["status"] == "TRIGGERED"}
        assert sorted(str(directory) for directory, _ in started) == list(DIRECTORIES)
        assert recorded == started


@pytest.fixture(scope="module")
def module_field(
    databricks: RunningWorkspace, new_log: Callable[[], Log], admin: WorkspaceClient, tmp_path_factory: Any
) -> Iterator[Field]:
    """The field, with an Airflow process that tasks are forked from.

    The one run that the job may have at a time is taken: what operators start is accepted, and costs nothing.
    """
    log = new_log()
    log.map(("/in/a", WORKFLOW, "Y"), ("b", WORKFLOW, "Y"), ("/in/c/", WORKFLOW, "Y"))
    log.land(FILES)
    script = tmp_path_factory.mktemp("job") / "sleep.py"
    script.write_text("import time; time.sleep(3600)")
    job = admin.jobs.create(
        name=WORKFLOW,
        tasks=[jobs.Task(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=str(script)))],
        parameters=[jobs.JobParameterDefinition(name=name, default="") for name in DECLARED],
        queue=jobs.QueueSettings(enabled=True),
        max_concurrent_runs=1,
    )
    assert job.job_id is not None
    grant = jobs.JobAccessControlRequest(
        user_name=PRINCIPAL, permission_level=jobs.JobPermissionLevel.CAN_MANAGE_RUN
    )
    admin.jobs.update_permissions(str(job.job_id), access_control_list=[grant])
    admin.jobs.run_now(job.job_id)
    with task_processes() as tasks:
        yield Field(log, tasks, databricks.faults, admin, job.job_id)
    admin.jobs.delete(job.job_id)  # which cancels all of its runs


@pytest.fixture
def field(module_field: Field) -> Iterator[Field]:
    """The same, without a fault left by another test."""
    module_field.faults.clear()
    yield module_field
    module_field.faults.clear()


@pytest.fixture
def consumer() -> str:
    """The name of a consumer that is not there yet."""
    return f"killed-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Point:
    """Where an operator dies: at which calls, on which side of their effect, how many of them are held."""

    calls: str
    contains: tuple[str, ...]
    when: str
    late: bool = False
    """Whether they are let go at the very end only: the word of the dead operator lands last."""
    skip: int = 0
    held: int = 1


POINTS = {
    "before the plan": Point(STATEMENT, PLAN, "before", late=True),
    "the plan is there, the epoch not taken": Point(STATEMENT, PLAN, "after"),
    "before the swap": Point(STATEMENT, SWAP, "before", late=True),
    "the epoch is taken": Point(STATEMENT, SWAP, "after"),
    "some runs are started": Point(RUN_NOW, (), "before", late=True, skip=1, held=2),
    "all runs are started": Point(RUN_NOW, (), "after", held=3),
    "before the record": Point(STATEMENT, RECORD, "before", late=True),
    "the record is there": Point(STATEMENT, RECORD, "after"),
}
"""In the order in which a claim comes to them."""


def test_at_every_point_of_one_claim_an_operator_may_die(field: Field, consumer: str) -> None:
    """Each operator takes over from the one that died before it, and dies one point further."""
    held = []
    for try_number, (name, at) in enumerate(POINTS.items(), 1):
        fault = field.hold(consumer, at.calls, at.contains, when=at.when, skip=at.skip, times=at.held)
        victim = field.operator(consumer, try_number=try_number)
        field.wait_until_held(fault, at.held, victim)
        victim.kill()
        if not at.late:
            field.faults.delete(fault)
        held.append(fault)
        if name == "the epoch is taken":
            mapping_was = _replace_mapping(field)
            assert field.sensor(consumer) == "due", "though nothing new has arrived"
        if name == "all runs are started":
            _tidy_up(field, mapping_was)
    assert field.operator(consumer, try_number=len(POINTS) + 1).returned()["epoch"] is None
    field.check(consumer)
    assert sum(each.held for each in field.faults.clear()) == 5, "and now the dead say their last words"
    field.check(consumer)
    assert field.sensor(consumer) == "deferred"


def _replace_mapping(field: Field) -> int:
    """The stored plan counts: with this mapping nothing could be started. Returns the version that it had."""
    mapping = field.log.names.mapping.sql
    (newest,) = field.log.hook.query(f"DESCRIBE HISTORY {mapping} LIMIT 1")
    field.log.hook.query(
        f"CREATE OR REPLACE TABLE {mapping} AS "
        f"SELECT * EXCEPT (workflow_name), 'no such job' AS workflow_name FROM {mapping}"
    )
    return int(newest["version"])


def _tidy_up(field: Field, mapping_was: int) -> None:
    """What a workspace does to its tables at any time; and the mapping as it was."""
    names = field.log.names
    field.log.hook.query(f"RESTORE TABLE {names.mapping.sql} TO VERSION AS OF {mapping_was}")
    for table in (names.log, names.consumers):
        field.log.hook.query(f"OPTIMIZE {table.sql}")
    field.log.hook.query(f"VACUUM {names.log.sql}")


FAILED = {"kind": "statement_failed"}
LOST = {"kind": "drop", "when": "after"}
CONFLICT = {"message": "[DELTA_CONCURRENT_APPEND] Files were added by a concurrent update."}


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with which calls, and how many tries an operator has for it."""

    terms: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...]
    tries: int = 1


TROUBLES = {
    "starts, and the swap before them": Trouble(
        (
            (STATEMENT, SWAP, {**FAILED, **CONFLICT}),
            (STATEMENT, SWAP, LOST),
            (RUN_NOW, (), {"kind": "error", "status": 429, "retry_after": 1}),
            (RUN_NOW, (), {"kind": "error", "status": 503, "when": "after"}),
            (RUN_NOW, (), LOST),
        )
    ),
    "all that is written, over all tries of a DAG run": Trouble(
        (
            (STATEMENT, PLAN, FAILED),
            (STATEMENT, PLAN, LOST),
            (STATEMENT, RECORD, FAILED),
            (STATEMENT, RECORD, LOST),
        ),
        tries=4,
    ),
    "a warehouse that has to start first, and a swap that was done and answered FAILED": Trouble(
        (
            (STATEMENT, ("INSERT INTO",), {"kind": "warehouse_stopped", "seconds": 1, "times": 2}),
            (STATEMENT, SWAP, {**FAILED, "when": "after"}),
        )
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_in_trouble_every_request_gets_one_run(trouble: str, field: Field, consumer: str) -> None:
    met = TROUBLES[trouble]
    faults = [field.hold(consumer, calls, contains, **terms) for calls, contains, terms in met.terms]
    tries = 1
    # Two tries are one DAG run; what it leaves the next one finishes.
    while "returned" not in (
        ended := field.operator(consumer, try_number=2 - tries % 2, dag_run=f"r{(tries + 1) // 2}").ended()
    ):
        assert tries < met.tries, ended
        tries += 1
    assert [field.faults.find(fault).hits >= 1 for fault in faults] == [True] * len(faults)
    field.check(consumer)


def test_tasks_at_once_and_tasks_again_start_nothing_twice(field: Field, consumer: str) -> None:
    """The same task twice, and a second DAG with the same consumer: all have planned, and want the epoch."""
    field.log.ledger.make_consumer(consumer, "earliest")
    assert field.sensor(consumer) == "due"
    all_three = field.hold(consumer, STATEMENT, SWAP, times=3)
    operators = [field.operator(consumer, dag_run=dag_run) for dag_run in ("one", "one", "of another DAG")]
    field.wait_until_held(all_three, 3, *operators)
    field.faults.delete(all_three)
    epochs = [operator.returned()["epoch"] for operator in operators]
    assert sorted(epochs, key=str) == [1, None, None], "one has claimed; the others may have helped it"
    field.check(consumer)
    assert field.sensor(consumer) == "deferred", "a person clears the sensor"
    assert field.operator(consumer, try_number=2).returned()["epoch"] is None, "and then the operator"
    field.check(consumer)


def test_a_deleted_checkpoint_is_a_stream_of_its_own(field: Field, consumer: str) -> None:
    """Its batches count from 0 again, and none is taken for one of the old stream.

    The last test: it lands more.
    """
    field.log.ledger.make_consumer(consumer, "latest")
    for directories in (DIRECTORIES[:1], DIRECTORIES[1:]):
        field.log.land({directory: 1 for directory in directories})
        field.operator(consumer).returned()
    field.check(consumer)
