"""A task instance for each workflow, and its run watched to its end."""

from __future__ import annotations

from databricks_file_arrivals.hooks import FileArrivalsHook
from tests.dags.ingest import deployed, load, run


def test_each_workflow_has_a_task_and_an_end(
    airflow_db: str, hook: FileArrivalsHook, jobs: dict[str, int]
) -> None:
    log = deployed(hook)
    log.ledger.make_consumer("by_workflow", "latest")
    log.map(("/in/w1", "alpha", "Y"), ("/in/w2", "beta", "Y"))
    log.land({"/in/w1": 2, "/in/w2": 1, "/in/nobody": 1})
    found = run(load("file_arrivals_by_workflow.py")["file_arrivals_by_workflow"])
    tasks = [t for t in found.get_task_instances() if t.task_id == "run"]
    assert {t.rendered_map_index for t in tasks} == {"/in/w1 → alpha", "/in/w2 → beta"}
    outcomes = log.outcomes("by_workflow")
    assert outcomes["/in/w1", "alpha"] == outcomes["/in/w2", "beta"] == "SUCCEEDED"
    assert outcomes["/in/nobody", None] == "UNMAPPED"
