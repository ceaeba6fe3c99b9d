"""The API process: all routes on one FastAPI application, behind one gate."""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from local_workspace.api import (
    catalog,
    fault_routes,
    files,
    jobs,
    oauth,
    pages,
    runs,
    secrets,
    statements,
    volumes,
    workspace,
)
from local_workspace.api.arguments import Arguments
from local_workspace.api.call import Answer, Call, Route, Workspace
from local_workspace.api.calls import CallCounts
from local_workspace.api.catalog_store import Catalog
from local_workspace.api.errors import ApiError, NotImplementedHere
from local_workspace.api.faults import Cut, Faults, FaultyCalls, cut_nothing
from local_workspace.api.gate import LOGIN_PATH, Gate
from local_workspace.api.job_store import Jobs
from local_workspace.api.launch import Launcher
from local_workspace.api.logins import Logins
from local_workspace.api.principals import Principals
from local_workspace.api.repairs import Repairs
from local_workspace.api.run_store import Runs
from local_workspace.api.scheduler import Scheduler
from local_workspace.api.secret_store import Secrets
from local_workspace.api.service_principals import TOKEN_SECONDS, ServicePrincipals
from local_workspace.api.spark_sessions import SparkSessions
from local_workspace.api.statement_store import Statements
from local_workspace.api.volume_store import Volumes
from local_workspace.state import State

log = logging.getLogger(__name__)

ROUTES: list[Route] = [
    route
    for module in (jobs, runs, statements, catalog, volumes, files, secrets, workspace, fault_routes, pages)
    for route in module.ROUTES
]


def open_workspace(
    folder: Path,
    host: str,
    remote: str,
    most_processes: int,
    *,
    faults_allowed: bool = False,
    trusted: Path | None = None,
    token_seconds: int = TOKEN_SECONDS,
) -> Workspace:
    """The parts of the workspace of a state folder; nothing runs before the application starts."""
    state = State(folder)
    launcher = Launcher(folder, host, trusted)
    scheduler = Scheduler(state, launcher, most_processes)
    sessions = SparkSessions(remote)
    return Workspace(
        folder=folder,
        host=host,
        state=state,
        principals=Principals(state),
        service_principals=ServicePrincipals(state, token_seconds),
        jobs=Jobs(state),
        runs=Runs(state, scheduler.wake),
        repairs=Repairs(state, scheduler.wake),
        launcher=launcher,
        scheduler=scheduler,
        statements=Statements(folder, sessions),
        catalog=Catalog(sessions),
        volumes=Volumes(state),
        secrets=Secrets(state),
        counts=CallCounts(),
        faults=Faults(faults_allowed),
    )


def create_app(parts: Workspace, cut: Cut = cut_nothing) -> FastAPI:
    """The application; it schedules runs from its start to its end. `cut` is for faults that drop answers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts.scheduler.start()
        yield
        parts.scheduler.stop()
        parts.statements.stop()

    app = FastAPI(title="Local workspace", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.workspace = parts
    logins = Logins()
    if parts.faults.allowed:
        app.add_middleware(FaultyCalls, faults=parts.faults, cut=cut)
    app.add_middleware(Gate, principals=parts.principals, logins=logins, counts=parts.counts)
    for route in ROUTES:
        for path in route.paths():
            app.add_api_route(_pattern(path), _endpoint(route), methods=[route.method], response_model=None)
    _add_open_routes(app, parts, logins)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(ClientDisconnect, _hung_up)
    app.add_exception_handler(Exception, _internal_error)
    return app


class _AnyPath(Convertor[str]):
    """The rest of a path, whatever it holds: Starlette's own `path` ends at a line's end."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyPath())


def _pattern(path: str) -> str:
    """A route's path as Starlette wants it: `{path}` takes all that follows, slashes too."""
    return path.replace("{path}", "{path:any}")


def _reader(sends_file: bool) -> Callable[[Request], Awaitable[Call]]:
    async def read_call(request: Request) -> Call:
        path = request.url.path.split("/")
        body = b"" if sends_file else await request.body()
        return Call(
            workspace=request.app.state.workspace,
            caller=request.state.caller,
            arguments=Arguments.parse(request.scope["query_string"], body),
            version=path[2] if path[1] == "api" else "",
            path={name: str(value) for name, value in request.path_params.items()},
            headers=request.headers,
            content=request.stream(),
            stopped_by=getattr(request.state, "warehouse_stopped", None),
        )

    return read_call


def _endpoint(route: Route) -> Callable[..., Any]:
    """A function of a call as FastAPI wants it: blocking ones run on threads, so that no caller waits."""
    function, read_call = route.function, _reader(route.sends_file)
    if inspect.iscoroutinefunction(function):

        async def waiting(call: Annotated[Call, Depends(read_call)]) -> Response:
            return _response(await function(call))

        return waiting

    def blocking(call: Annotated[Call, Depends(read_call)]) -> Response:
        answer = function(call)
        assert not inspect.isawaitable(answer)
        return _response(answer)

    return blocking


def _response(answer: Answer) -> Response:
    return answer if isinstance(answer, Response) else JSONResponse(answer)


def _add_open_routes(app: FastAPI, parts: Workspace, logins: Logins) -> None:
    """What is there without a token: the logins of people and machines, and what the SDK looks for first."""

    async def ask(request: Request) -> Response:
        return pages.login_form(pages.local_path(request.query_params.get("next", "/")))

    async def answer(request: Request) -> Response:
        return await pages.login(request, parts.principals, logins)

    async def give_token(request: Request) -> Response:
        return await oauth.token(request, parts.service_principals)

    app.add_api_route(oauth.METADATA_PATH, oauth.metadata, methods=["GET"], response_model=None)
    app.add_api_route(oauth.TOKEN_PATH, give_token, methods=["POST"], response_model=None)
    app.add_api_route(oauth.DISCOVERY_PATH, oauth.discovery, methods=["GET"], response_model=None)
    app.add_api_route(LOGIN_PATH, ask, methods=["GET"], response_model=None)
    app.add_api_route(LOGIN_PATH, answer, methods=["POST"], response_model=None)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status)


async def _no_such_route(request: Request, error: Exception) -> Response:
    """What is not there is not implemented here: say which call it was, whether or not Databricks has it."""
    call = f"{request.method} {request.url.path}"
    missing = NotImplementedHere(
        f"The local workspace does not implement {call}. docs/local-workspace.md lists its calls."
    )
    return JSONResponse(missing.body(), missing.status)


async def _hung_up(request: Request, error: Exception) -> Response:
    # Nobody reads this; without it each upload that is broken off would stand in the log as an error of ours
    return Response(None, 400)


async def _internal_error(request: Request, error: Exception) -> Response:
    # The server above logs it with its traceback; the client gets what Databricks would say, and its kind.
    body = {
        "error_code": "INTERNAL_ERROR",
        "message": f"{type(error).__name__}; see server/api.log of the state folder.",
    }
    return JSONResponse(body, 500)
