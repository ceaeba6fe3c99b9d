"""`local-workspace`: set up, start, stop and look at a Databricks workspace on this machine."""

import argparse
import os
import sys
import time
from pathlib import Path

from local_workspace.api.principals import ADMIN, read_tokens, tokens_file
from local_workspace.api.service_principals import TOKEN_SECONDS, read_service_principals
from local_workspace.certificates import Certificate
from local_workspace.engine import EngineError, SetupError, setup
from local_workspace.state import StateError
from local_workspace.supervisor import (
    READY,
    Supervisor,
    WorkspaceError,
    end_process,
    live_process,
    recorded,
)

DEFAULT_STATE = Path(".state") / "workspace"
DEFAULT_PORT = 8471
PROCESSES = ("supervisor", "engine", "runner", "api")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _setup(arguments: argparse.Namespace) -> int:
    _say("Fetching the Delta jars and compiling, once (about half a minute the first time) ...")
    _say(f"Ready: {setup()}\nNext: local-workspace start")
    return 0


def _start(arguments: argparse.Namespace) -> int:
    state: Path = arguments.state

    def announce(text: str) -> None:
        _say(text)
        if text.startswith(READY):
            _say_how_to_use(state, text.removeprefix(READY))

    Supervisor(
        state,
        arguments.port,
        arguments.principal,
        arguments.processes,
        arguments.memory,
        announce,
        faults=arguments.faults,
        tls=arguments.tls,
        service_principals=arguments.service_principal,
        token_seconds=arguments.token_seconds,
    ).run()
    return 0


def _say_how_to_use(state: Path, url: str) -> None:
    token = f"local-workspace token --state {state}"
    _say(f"Tokens: {tokens_file(state)} (`{token}` prints them)")
    _say(f'Next: export DATABRICKS_HOST={url} DATABRICKS_TOKEN="$({token} {ADMIN})"')
    if url.startswith("https:"):
        trusted = Certificate.of(state).trusted
        _say(f"Trust it: export REQUESTS_CA_BUNDLE={trusted} SSL_CERT_FILE={trusted}")
    for name in read_service_principals(state):
        _say(f"OAuth: export $(local-workspace service-principal --state {state} {name})")
    _say("SQL warehouse id: local. Ctrl-C, or `local-workspace stop`, ends it; nothing is lost.")


def _stop(arguments: argparse.Namespace) -> int:
    state: Path = arguments.state
    supervisor = live_process(state, "supervisor")
    end_process(supervisor, seconds=90)
    left = [name for name in ("api", "runner", "engine") if live_process(state, name)]
    for name in left:
        end_process(live_process(state, name))
    if supervisor is None and not left:
        _say(f"Nothing runs on {state}.\nNext: local-workspace start --state {state}")
    else:
        _say(f"Stopped. All of it is kept in {state}.\nNext: local-workspace start --state {state}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    state: Path = arguments.state
    what = recorded(state)
    if not what:
        _say(f"There is no workspace in {state}.\nNext: local-workspace start --state {state}")
        return 1
    alive = True
    for name in PROCESSES:
        process = live_process(state, name)
        alive = alive and process is not None
        _say(f"{name:<11} {f'runs, pid {process.pid}' if process else 'does not run'}")
    if not alive:
        _say(f"Next: local-workspace start --state {state}")
        return 1
    _say(f"{'URL':<11} {what['url']}\n{'Spark':<11} {what['remote']}")
    _say(f"Next: local-workspace token --state {state}")
    return 0


def _token(arguments: argparse.Namespace) -> int:
    tokens = read_tokens(arguments.state)
    if not tokens:
        raise WorkspaceError(
            f"There is no token in {arguments.state}. Start the workspace first: local-workspace start"
        )
    if arguments.name is None:
        for name, token in tokens.items():
            _say(f"{name:<20} {token}")
        return 0
    if arguments.name not in tokens:
        raise WorkspaceError(
            f"No principal {arguments.name!r}; there are {', '.join(tokens)}. "
            f"`local-workspace start --principal {arguments.name}` adds it."
        )
    _say(tokens[arguments.name])
    return 0


def _service_principal(arguments: argparse.Namespace) -> int:
    found = read_service_principals(arguments.state)
    if arguments.name not in found:
        raise WorkspaceError(
            f"No service principal {arguments.name!r}; there are {', '.join(found) or 'none'}. "
            f"`local-workspace start --service-principal {arguments.name}` adds it."
        )
    _say(f"DATABRICKS_CLIENT_ID={found[arguments.name].client_id}")
    _say(f"DATABRICKS_CLIENT_SECRET={found[arguments.name].client_secret}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="local-workspace", description=__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    each = argparse.ArgumentParser(add_help=False)
    default = Path(os.environ.get("LOCAL_WORKSPACE_STATE", DEFAULT_STATE))
    each.add_argument(
        "--state", type=lambda text: Path(text).absolute(), default=default.absolute(), metavar="DIR",
        help=f"the folder that holds the workspace (default: $LOCAL_WORKSPACE_STATE, or {DEFAULT_STATE})",
    )  # fmt: skip
    command = commands.add_parser("setup", help="fetch and compile what the engine needs, once")
    command.set_defaults(function=_setup)
    command = commands.add_parser(
        "start", parents=[each], help="start the workspace and stay with it until Ctrl-C"
    )
    command.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="of 127.0.0.1; 0 for any (default: %(default)s)"
    )
    command.add_argument(
        "--principal",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a user besides {ADMIN!r}; may be repeated",
    )
    command.add_argument(
        "--service-principal",
        action="append",
        default=[],
        metavar="NAME",
        help="a principal that logs in by OAuth; may be repeated",
    )
    command.add_argument(
        "--token-seconds",
        type=int,
        default=TOKEN_SECONDS,
        metavar="N",
        help="how long its tokens live (default: %(default)s)",
    )
    command.add_argument(
        "--tls", action="store_true", help="serve https, with a certificate made for this machine"
    )
    command.add_argument(
        "--processes",
        type=int,
        default=4,
        metavar="N",
        help="runs that have a process at a time (default: %(default)s)",
    )
    command.add_argument("--memory", default="1500m", help="heap of the Spark server (default: %(default)s)")
    command.add_argument(
        "--faults",
        action="store_true",
        help=f"let {ADMIN!r} set faults (POST /api/local/faults), for tests: calls that fail or hang",
    )
    command.set_defaults(function=_start)
    command = commands.add_parser("stop", parents=[each], help="end all processes of the workspace")
    command.set_defaults(function=_stop)
    command = commands.add_parser("status", parents=[each], help="show what runs, and where")
    command.set_defaults(function=_status)
    command = commands.add_parser("token", parents=[each], help="print the access tokens, or one of them")
    command.add_argument("name", nargs="?", help="whose token; all of them with their names if left out")
    command.set_defaults(function=_token)
    command = commands.add_parser(
        "service-principal", parents=[each], help="print what a service principal logs in with"
    )
    command.add_argument("name", help="its name")
    command.set_defaults(function=_service_principal)
    return whole


def main() -> None:
    """Run the command line; an error that the user can mend is one line, not a traceback."""
    arguments = parser().parse_args()
    begun = time.monotonic()
    try:
        code: int = arguments.function(arguments)
    except (WorkspaceError, EngineError, SetupError, StateError) as error:
        sys.stderr.write(f"local-workspace: {error}\n")
        code = 1
    if arguments.function is _setup and code == 0:
        _say(f"({time.monotonic() - begun:.0f} s)")
    sys.exit(code)


if __name__ == "__main__":
    main()
