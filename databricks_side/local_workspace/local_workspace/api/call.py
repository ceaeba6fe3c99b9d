"""One call of the API: who calls what with which arguments, and the workspace that answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from local_workspace.api.arguments import Arguments
from local_workspace.api.calls import CallCounts
from local_workspace.api.catalog_store import Catalog
from local_workspace.api.errors import PermissionDenied
from local_workspace.api.faults import Fault, Faults
from local_workspace.api.job_store import Jobs
from local_workspace.api.launch import Launcher
from local_workspace.api.principals import Principal, Principals
from local_workspace.api.repairs import Repairs
from local_workspace.api.run_store import Runs
from local_workspace.api.scheduler import Scheduler
from local_workspace.api.secret_store import Secrets
from local_workspace.api.service_principals import ServicePrincipals
from local_workspace.api.statement_store import Statements
from local_workspace.api.volume_store import Volumes
from local_workspace.state import State

ALL_VERSIONS = ("2.0", "2.1", "2.2")


@dataclass(frozen=True, slots=True)
class Workspace:
    """All parts of a running workspace."""

    folder: Path
    host: str
    state: State
    principals: Principals
    service_principals: ServicePrincipals
    jobs: Jobs
    runs: Runs
    repairs: Repairs
    launcher: Launcher
    scheduler: Scheduler
    statements: Statements
    catalog: Catalog
    volumes: Volumes
    secrets: Secrets
    counts: CallCounts
    faults: Faults


@dataclass(frozen=True, slots=True)
class Call:
    """One request, authenticated and with its arguments read."""

    workspace: Workspace
    caller: Principal
    arguments: Arguments
    version: str
    path: dict[str, str]
    headers: Headers
    content: AsyncIterator[bytes]
    """The body of a call that sends a file; of any other it has been read as arguments."""
    stopped_by: Fault | None = None
    """The fault that has stopped the warehouse for this call."""

    def require_admin(self, what: str) -> None:
        """Refuse whoever is not an administrator."""
        if not self.caller.is_admin:
            raise PermissionDenied(f"Only workspace admins can {what}.")


Answer = dict[str, Any] | Response
Function = Callable[[Call], Answer] | Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call that the workspace knows, in one or several versions of the API."""

    method: str
    path: str
    function: Function
    versions: tuple[str, ...] = ()
    sends_file: bool = False
    """Whether the body is a file's bytes, and no arguments."""

    def paths(self) -> list[str]:
        """The full paths: `/api/<version>/<path>`, or the path itself where it has no version."""
        return [f"/api/{version}/{self.path}" for version in self.versions] or [self.path]
