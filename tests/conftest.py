"""What all tests can use: one local workspace for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace


@pytest.fixture(scope="session")
def workspace_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of the session's workspace, and of the one Spark server that the tests share."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="session")
def workspace(workspace_state: Path) -> Iterator[RunningWorkspace]:
    """A local workspace, started by its command line, with the users `alice` and `bob` besides the admin."""
    setup()
    with running_workspace(workspace_state, principals=["alice", "bob"]) as running:
        yield running
