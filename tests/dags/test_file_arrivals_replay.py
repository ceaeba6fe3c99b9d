"""What had no workflow is started once it has one, when a person runs the DAG."""

from __future__ import annotations

from datetime import datetime, timezone

from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.dags.ingest import deployed, load, run


def test_what_was_unmapped_is_started(airflow_db: str, hook: FileArrivalsHook, jobs: dict[str, int]) -> None:
    log = deployed(hook)
    log.ledger.make_consumer("default", "latest")
    since = datetime.now(timezone.utc).isoformat()
    log.land({"/in/late/x": 2})
    run(load("file_arrivals.py")["file_arrivals"])
    assert log.outcomes("default")["/in/late", None] == "UNMAPPED"
    log.map(("/in/late", "alpha", "Y"))
    run(
        load("file_arrivals_replay.py")["file_arrivals_replay"],
        run_conf={"directory": "/in/late", "since": since},
    )
    assert log.outcomes("default")["/in/late", "alpha"] == "TRIGGERED"
