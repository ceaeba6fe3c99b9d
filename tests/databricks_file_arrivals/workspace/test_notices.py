"""Who was told what, as rows in a real ledger say it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from databricks_file_arrivals.core.notices import Kind
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.workspace.notices import Task, told_before, written_by
from tests.airflow_side import Log

LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)
MINE, OTHER = Task("dag", "run 2", "t", 2), Task("dag", "run 1", "t", 1)


def row(consumer: str, status: Status, task: Task, claim: str = "won", **changes: Any) -> LogRow:
    who: Any = {"dag_id": task.dag_id, "dag_run_id": task.run_id, "task_id": task.task_id}
    columns = {"directory": "/in/a", "trigger_id": f"{status}-{task.run_id}-{claim}", "attempt": 1, **changes}
    return LogRow(status=status, consumer=consumer, claim_id=f"{consumer}-{claim}", epoch=1, **columns, **who)


def closed(consumer: str, claim: str = "won") -> LogRow:
    return LogRow(status=Status.CLAIMED, consumer=consumer, claim_id=f"{consumer}-{claim}", epoch=1)


def test_other_tasks_of_the_period_count_if_they_won_their_claim(log: Log) -> None:
    consumer = log.consumer()
    told, mine, lost = "/in/told", "/in/mine", "/in/lost"
    log.ledger.append(
        [
            row(consumer, Status.UNMAPPED, OTHER, directory=told),
            row(consumer, Status.ERROR, OTHER, directory=told),
            row(consumer, Status.UNMAPPED, MINE, directory=mine),
            row(consumer, Status.UNMAPPED, OTHER, "lost", directory=lost),
            row(consumer, Status.TRIGGERED, OTHER, directory=mine),
            closed(consumer),
        ]
    )
    asked = [row(consumer, Status.UNMAPPED, MINE, directory=d) for d in (told, mine, lost)]
    found = told_before(log.hook, log.names, consumer, asked, MINE, LONG_AGO)
    assert found == {Kind.UNMAPPED: {told}, Kind.ERROR: {told}}
    soon = datetime.now(timezone.utc) + timedelta(minutes=5)
    assert told_before(log.hook, log.names, consumer, asked, MINE, soon) == {}, "of an earlier period"


def test_of_mapped_siblings_the_first_tells_and_each_repeats_its_own(log: Log) -> None:
    consumer = log.consumer()
    siblings = ["1", "2", "3"]
    for each in siblings:  # in a statement each, as tasks do
        log.ledger.append([row(consumer, Status.ERROR, MINE, trigger_id=each)])
        time.sleep(0.01)
    log.ledger.append([closed(consumer)])

    def told(task: Task) -> dict[Kind, set[str]]:
        asked = [row(consumer, Status.ERROR, MINE, trigger_id="any")]
        return told_before(log.hook, log.names, consumer, asked, task, LONG_AGO)

    given = [replace(MINE, trigger_ids=(each,)) for each in siblings]
    assert [told(task) for task in given] == [{}, {Kind.ERROR: {"/in/a"}}, {Kind.ERROR: {"/in/a"}}]
    assert told(MINE) == {}, "to a task that is not mapped all of it is its own"
    written = written_by(log.hook, log.names, consumer, given[1], {Status.ERROR}, LONG_AGO)
    assert [r.trigger_id for r in written] == ["2"]


def test_a_repeated_task_finds_what_its_tries_have_written(log: Log) -> None:
    consumer = log.consumer()
    error = row(consumer, Status.ERROR, MINE, trigger_id="1")
    log.ledger.append(
        [
            error,
            row(consumer, Status.UNMAPPED, MINE, trigger_id="2"),
            row(consumer, Status.TRIGGERED, MINE, trigger_id="3"),
            row(consumer, Status.UNMAPPED, OTHER, trigger_id="4"),
            closed(consumer),
        ]
    )
    time.sleep(0.01)
    log.ledger.append([replace(error, status=Status.TRIGGERED)])
    found = written_by(log.hook, log.names, consumer, MINE, {Status.ERROR, Status.UNMAPPED}, LONG_AGO)
    assert sorted((r.trigger_id, r.status.value) for r in found) == [
        ("1", "ERROR"),
        ("1", "TRIGGERED"),
        ("2", "UNMAPPED"),
    ]
