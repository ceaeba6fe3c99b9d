"""The demo's workflows as jobs in the tests' workspace, and requests for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from demo.jobs import PARAMETERS, create_workflows
from demo.stage import REPOSITORY
from demo.wheel import stream_wheel

from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.planning import Claim, Job, Situation, decide, matched, plan, route
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from tests.airflow_side import Log


@dataclass(frozen=True)
class Made:
    """The jobs by name, and the table that they log what they read to."""

    jobs: dict[str, int]
    consumed: str


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream's wheel."""
    return stream_wheel(REPOSITORY, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def made(admin: WorkspaceClient, wheel: Path, log: Log) -> Made:
    """The demo's workflows."""
    consumed = str(log.names.log.derive("_consumed"))
    log.hook.query(
        f"CREATE TABLE {consumed} (workflow STRING, trigger_id STRING, run_id BIGINT, path STRING, "
        "bytes BIGINT, sha256 STRING, read_at TIMESTAMP) USING DELTA"
    )
    create_workflows(admin, wheel, consumed)
    return Made({str(j.settings.name): int(j.job_id or 0) for j in admin.jobs.list() if j.settings}, consumed)


@pytest.fixture
def read_by(
    made: Made, admin: WorkspaceClient, log: Log, tmp_path: Path
) -> Callable[[str], tuple[dict[str, int], dict[str, int]]]:
    """Lands odd files and lets a workflow run for them: sizes by path, as landed and as read."""

    def run(workflow: str) -> tuple[dict[str, int], dict[str, int]]:
        folder = tmp_path / 'it\'s "odd"\n%;-- 名'
        folder.mkdir()
        stream = log.land({str(folder): 3, str(tmp_path): 1})
        landed = {f"{folder}/0-{i}.csv": i for i in range(3)}
        for path, size in landed.items():
            Path(path).write_bytes(b"x" * size)
        mapping = WorkflowMapping.read(
            [{"directory": str(folder), "workflow_name": workflow, "active_ind": "Y"}]
        )
        claim = Claim("demo", uuid.uuid4().hex, 1, str(log.names.log))
        arrivals = ArrivalLog(log.hook, log.names).arrivals({}, {stream: 0})
        decisions = decide(
            route(matched(arrivals, mapping), {}), mapping, Situation(datetime.now(timezone.utc))
        )
        rows = plan(claim, decisions, {workflow: [Job(made.jobs[workflow], frozenset(PARAMETERS))]})
        log.ledger.append(rows)
        (row,) = (r for r in rows if r.workflow_name == workflow)
        admin.jobs.run_now(made.jobs[workflow], job_parameters=dict(row.job_parameters or {})).result()
        read = log.hook.query(
            f"SELECT path, bytes FROM {made.consumed} WHERE trigger_id = :id", {"id": row.trigger_id}
        )
        assert len(read) == len({r["path"] for r in read})
        return landed, {r["path"]: r["bytes"] for r in read}

    return run
