"""The API process by its command line."""

import subprocess
import sys

from local_workspace.testing import RunningWorkspace


def test_it_has_help_and_asks_for_what_it_needs() -> None:
    command = [sys.executable, "-m", "local_workspace.api"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--socket" in done.stdout
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 2


def test_failed_statements_stand_in_no_log(workspace: RunningWorkspace) -> None:
    from databricks.sdk import WorkspaceClient

    sdk = WorkspaceClient(host=workspace.url, token=workspace.token())
    sdk.statement_execution.execute_statement("SELECT 'top secret' FROM main.default.no_such", "local")
    assert "top secret" not in (workspace.folder / "server" / "api.log").read_text()
