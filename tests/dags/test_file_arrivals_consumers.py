"""Two consumers of one log: both see every arrival, and each routes it by its own table."""

from __future__ import annotations

from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.dags.ingest import deployed, load, run


def test_each_consumer_starts_its_own_workflows(
    airflow_db: str, hook: FileArrivalsHook, jobs: dict[str, int]
) -> None:
    log, audit = deployed(hook), deployed(hook, "main.ingest.audit_mapping")
    for consumer in ("load", "audit"):
        log.ledger.make_consumer(consumer, "latest")
    log.map(("/in/c", "alpha", "Y"))
    audit.map(("/in", "beta", "Y"))
    log.land({"/in/c/x": 1})
    for dag in load("file_arrivals_consumers.py").values():
        run(dag)
    assert log.outcomes("load") == {("/in/c", "alpha"): "TRIGGERED"}
    assert log.outcomes("audit") == {("/in", "beta"): "TRIGGERED"}
