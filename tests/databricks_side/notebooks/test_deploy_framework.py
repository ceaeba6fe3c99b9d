"""The notebook that deploys, run as a notebook task."""

from __future__ import annotations

from collections.abc import Callable

from tests.databricks_side.notebooks.conftest import Ended


def test_it_keeps_what_is_there_and_says_what_differs(run: Callable[..., Ended], log_table: str) -> None:
    """The first deployment is the fixture's."""
    again = run("deploy_framework.py", {"workflow_mapping_table": f"{log_table}_m", "log_table": log_table})
    assert again.succeeded, again.error
    assert f"created {log_table}_m" in again.output and f"kept    {log_table}_arrivals" in again.output

    differs = run("deploy_framework.py", {"workflow_mapping_table": f"{log_table}_streams"})
    assert not differs.succeeded
    assert f"{log_table}_streams: the column directory STRING is missing" in differs.error + differs.output
