"""A workspace for tests: the real one, started by its command line, ended with the block.

    with running_workspace(folder, principals=["alice"]) as workspace:
        client = WorkspaceClient(host=workspace.url, token=workspace.token())

Imports nothing of Spark, so that a test process stays as light as a client of Databricks.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_workspace.api.principals import ADMIN, read_tokens
from local_workspace.api.service_principals import ServicePrincipal, read_service_principals
from local_workspace.faults import FaultClient
from local_workspace.supervisor import READY, end_process, live_process, recorded

START_SECONDS = 180.0
PYTHON = "LOCAL_WORKSPACE_PYTHON"
"""The environment variable that names the Python of the workspace; without it, the one of the tests."""


class StartError(Exception):
    """Raised when the workspace did not start; the message holds what it printed."""


@dataclass(frozen=True, slots=True)
class RunningWorkspace:
    """Where a running workspace is and how to get in."""

    folder: Path
    url: str
    remote: str
    trusted: Path | None = None
    """What a client of a workspace that speaks TLS has to trust: for REQUESTS_CA_BUNDLE and SSL_CERT_FILE."""
    warehouse_id: str = "local"

    def token(self, name: str = ADMIN) -> str:
        """The access token of a principal."""
        return read_tokens(self.folder)[name]

    def service_principal(self, name: str) -> ServicePrincipal:
        """The client id and secret of a service principal."""
        return read_service_principals(self.folder)[name]

    @property
    def faults(self) -> FaultClient:
        """Sets faults, in a workspace that was started with faults=True."""
        return FaultClient(self.url, self.token(), self.trusted)

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that `url` names."""
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def running_workspace(
    folder: Path,
    principals: Sequence[str] = (),
    port: int = 0,
    options: Sequence[str] = (),
    *,
    faults: bool = False,
    tls: bool = False,
    service_principals: Sequence[str] = (),
) -> Iterator[RunningWorkspace]:
    """Start a workspace on the state folder, and stop it at the end; set-up has to have been run.

    With `faults` its calls can be made to fail: see RunningWorkspace.faults. With `tls` its URL is https, and
    clients have to trust RunningWorkspace.trusted. A Spark server that runs on the
    folder already is used: tests of the engine and of the API share it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "start.log"
    command = [
        os.environ.get(PYTHON, sys.executable),
        "-m",
        "local_workspace.cli",
        "start",
        "--state",
        str(folder),
        "--port",
        str(port),
        *options,
        *(["--faults"] if faults else []),
        *(["--tls"] if tls else []),
    ]
    for name in principals:
        command += ["--principal", name]
    for name in service_principals:
        command += ["--service-principal", name]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ)
        )
    try:
        _await_start(process, output)
        what = recorded(folder)
        trusted = Path(what["trusted"]) if what["trusted"] else None
        yield RunningWorkspace(folder, what["url"], what["remote"], trusted)
    finally:
        process.terminate()
        process.wait(90)
        # What a test killed with -9 has left nobody to end it.
        for name in ("api", "runner", "engine"):
            end_process(live_process(folder, name))


def _await_start(process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while READY not in (text := output.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StartError(f"The workspace did not start. It said:\n{text}")
        time.sleep(0.1)
