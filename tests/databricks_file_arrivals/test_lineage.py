"""What OpenLineage is told of a task, in its own classes. What its listener sends is in test_telling."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.lineage import FACET, PRODUCER, SCHEMA_URL, Lineage, parent_context
from tests.airflow_versions import listened

STARTED = LogRow(
    status=Status.TRIGGERED,
    consumer="default",
    claim_id="c",
    epoch=3,
    directory="s3://bucket/in",
    workflow_name="load",
    job_id=7,
    started_run_id=9,
    file_count=2,
    total_bytes=20,
)


@listened
def test_a_task_that_ended_tells_what_it_read_and_started() -> None:
    told = Lineage(Names.of("main.a.log", "main.a.mapping"), "default", "w.example", [STARTED]).on_end(None)
    assert [(d.namespace, d.name) for d in told.inputs] == [
        ("databricks://w.example", "main.a.log_arrivals"),
        ("databricks://w.example", "main.a.mapping"),
        ("s3://bucket", "in"),
    ]
    assert [(d.namespace, d.name) for d in told.outputs] == [
        ("databricks://w.example", "main.a.log"),
        ("databricks://w.example", "jobs/7"),
    ]
    statistics = told.inputs[2].inputFacets["inputStatistics"]
    assert (statistics.fileCount, statistics.size) == (2, 20)
    facet: Any = told.run_facets[FACET]
    assert (facet._producer, facet._schemaURL) == (PRODUCER, SCHEMA_URL)
    assert facet.requests[0]["runId"] == 9


@listened
def test_a_task_that_starts_names_no_dataset_before_it_knows_the_workspace() -> None:
    told = Lineage(Names.of("main.a.log"), "default").on_start()
    assert (told.inputs, told.outputs) == ([], [])
    facet: Any = told.run_facets[FACET]
    assert (facet.logTable, facet.requests) == ("main.a.log", [])


def test_jobs_are_told_of_no_parent_unless_the_configuration_wants_it_and_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context: Any = {}  # one that is asked for anything would fail
    assert parent_context(context) == {}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__SPARK_INJECT_PARENT_JOB_INFO", "True")
    assert parent_context(context) == {}


def test_openlineage_is_not_imported_before_it_asks() -> None:
    code = "import sys, databricks_file_arrivals.operators; assert 'openlineage' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
