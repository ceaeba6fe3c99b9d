"""The workflow writes down exactly the files of its request, in a real job."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from crash.jobs import create_workflows
from crash.verdict import read_told
from databricks.sdk import WorkspaceClient
from demo.stage import REPOSITORY
from demo.wheel import stream_wheel

from databricks_file_arrivals.core.outcomes import LogRow, Range, Status
from tests.airflow_side import Log

EPOCH = 1
PATIENCE = timedelta(minutes=3)  # a run that fails is tried again for ever


@pytest.fixture
def request_id(log: Log) -> str:
    """A request for one of two directories."""
    stream = log.land({"/in/told": 2, "/in/other": 1})
    row = LogRow(
        status=Status.PLANNED,
        consumer="told",
        trigger_id=f"{EPOCH:012x}{uuid.uuid4().hex}{uuid.uuid4().hex[:20]}",
        claim_id="c",
        epoch=EPOCH,
        directory="/in/told",
        stream_id=stream,
        from_batch=0,
        to_batch=0,
        directories={"/in/told": Range(-1, 0)},
        file_count=2,
    )
    log.ledger.append([row])
    return str(row.trigger_id)


def test_it_writes_down_its_files(request_id: str, log: Log, admin: WorkspaceClient, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    job_id, *others = create_workflows(admin, stream_wheel(REPOSITORY, tmp_path / "wheels"), told)
    try:
        parameters = {"trigger_id": request_id, "log_table": str(log.names.log)}
        run = admin.jobs.run_now(job_id, job_parameters=parameters).result(timeout=PATIENCE)
        (found,) = read_told(told)
        assert (found.run_id, found.trigger_id) == (run.run_id, request_id)
        assert found.paths == {"/in/told/0-0.csv", "/in/told/0-1.csv"}
    finally:
        for each in (job_id, *others):
            admin.jobs.delete(each)
