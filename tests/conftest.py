"""What all tests can use: one local workspace and one Airflow home for the whole session."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it comes without types

from local_workspace.engine import setup
from local_workspace.testing import RunningWorkspace, running_workspace

# The same examples each time: a change that passes here passes everywhere. `random` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

pytest_plugins = ["tests.airflow_side"]

# Airflow reads its home when it is imported, and this module is read before any test is.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__FILE_ARRIVALS__LINGER"] = "0"  # nobody sends more files here
DAG_FOLDERS = {"dags": Path(__file__).parents[1] / "dags", "written": Path(_AIRFLOW_HOME.name) / "written"}
"""Where Airflow finds DAGs: those of the repository, and those that tests write."""
DAG_FOLDERS["written"].mkdir()
os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(
    [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        for name, folder in DAG_FOLDERS.items()
    ]
)


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # the same
    """Whole files to each worker, in order; all of the stream to one: they share a Spark of their own."""

    def _split_scope(self, nodeid: str) -> str:
        return "stream" if "/file_arrivals_stream/" in nodeid else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How `pytest -n 2` divides the tests; each worker has a workspace and an Airflow home of its own."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def airflow_db() -> str:
    """Airflow's metadata database, migrated: the home that it is in."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return _AIRFLOW_HOME.name


@pytest.fixture(scope="session")
def workspace_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of the session's workspace, and of the one Spark server that the tests share."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="session")
def workspace(workspace_state: Path) -> Iterator[RunningWorkspace]:
    """A local workspace, started by its command line, with three users besides the admin."""
    setup()
    with running_workspace(workspace_state, principals=["alice", "bob", "airflow"], faults=True) as running:
        yield running
