"""The stream job as users run it: a job with the wheel as library, as a notebook and as a Python task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from databricks_file_arrivals.core.signals import StreamPointer
from tests.databricks_side.notebooks.conftest import Ended


@pytest.fixture
def parameters(log_table: str, tmp_path: Path) -> dict[str, str]:
    """Those of a stream whose first file has landed."""
    (tmp_path / "landing" / "a b").mkdir(parents=True)
    (tmp_path / "landing" / "a b" / "1.csv").write_text("x")
    return {
        "monitored_directory": str(tmp_path / "landing"),
        "checkpoint_directory": str(tmp_path / "checkpoint"),
        "workflow_mapping_table": f"{log_table}_mapping",
        "log_table": log_table,
        "signal_volume": str(tmp_path / "signals"),
    }


def logged(client: WorkspaceClient, parameters: dict[str, str]) -> list[str]:
    """The names that are logged."""
    answer = client.statement_execution.execute_statement(
        f"SELECT path FROM {parameters['log_table']}_arrivals "
        f"WHERE root = '{parameters['monitored_directory']}' ORDER BY path",
        "local",
        wait_timeout="50s",
    )
    rows = answer.result.data_array if answer.result else None
    return [Path(row[0]).name for row in rows or []]


def test_as_a_notebook_then_as_a_python_task(
    client: WorkspaceClient, run: Callable[..., Ended], parameters: dict[str, str]
) -> None:
    """One stream: what the first run logged, the second does not log again. Secrets stay secret."""
    scope = f"scope-{Path(parameters['checkpoint_directory']).parent.name}"
    client.secrets.create_scope(scope)
    client.secrets.put_secret(scope, "queue", string_value="s3cret-connection")
    options = {
        "cloudFiles_connectionString": f"Endpoint=x;{{{{secrets/{scope}/queue}}}}",
        "cloudFiles_backfillInterval": "1 day",
        "cloudFiles_maxFilesPerTrigger": "10",
    }
    notebook = run("stream_arrivals.py", parameters | options)
    assert notebook.succeeded, notebook.error + notebook.output
    assert "batch 0: 1 files logged" in notebook.output
    assert "cloudFiles.backfillInterval, cloudFiles.connectionString" in notebook.output

    Path(parameters["monitored_directory"], "a b", "2.csv").write_text("x")
    script = run("stream_arrivals.py", parameters | options, as_script=True)
    assert script.succeeded, script.error + script.output
    assert "batch 1: 1 files logged" in script.output
    for output in (notebook.output, script.output):
        assert "s3cret-connection" not in output and "Endpoint" not in output
    assert logged(client, parameters) == ["1.csv", "2.csv"]
    (pointer,) = Path(parameters["signal_volume"], "streams").iterdir()
    assert StreamPointer.parse(pointer.read_bytes()).batch_id == 1


def test_what_goes_wrong_fails_the_run_and_says_what_to_do(
    client: WorkspaceClient, run: Callable[..., Ended], parameters: dict[str, str]
) -> None:
    wrong = run("stream_arrivals.py", parameters | {"batch_interval": "often"})
    assert not wrong.succeeded
    assert "BadInput" in wrong.error and "Write a number and a unit" in wrong.error
    missing = run("stream_arrivals.py", parameters | {"monitored_directory": "/no/such/root"})
    assert not missing.succeeded
    assert "monitored_directory /no/such/root does not exist" in missing.error
    assert logged(client, parameters) == []
