"""`python -m local_workspace.api`: the API process, started by the supervisor on a socket that it holds."""

import argparse
import logging
import socket
import threading
from pathlib import Path

import uvicorn

from local_workspace.api.app import create_app, open_workspace
from local_workspace.api.service_principals import TOKEN_SECONDS
from local_workspace.certificates import Certificate


def _warm_up() -> None:
    """Import the Spark client before the first statement needs it: that takes a second and a half."""
    import pyspark.sql.connect.functions
    import pyspark.sql.connect.session  # noqa: F401


def main() -> None:
    """Serve one state folder until SIGTERM."""
    parser = argparse.ArgumentParser(description="The API process of the local workspace.")
    parser.add_argument("--state", type=Path, required=True, help="the workspace's state folder")
    parser.add_argument(
        "--socket", type=int, required=True, help="the file descriptor of the listening socket"
    )
    parser.add_argument("--remote", required=True, help="the engine's address, sc://127.0.0.1:PORT")
    parser.add_argument("--processes", type=int, required=True, help="how many runs have a process at a time")
    parser.add_argument("--faults", action="store_true", help="let the admin set faults")
    parser.add_argument("--tls", action="store_true", help="serve https with the state's certificate")
    parser.add_argument("--token-seconds", type=int, default=TOKEN_SECONDS, help="how long OAuth tokens live")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # PySpark would log each failed statement with its text: that is for who sent it, not for a log.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # uvicorn would enable a disabled one again
    listener = socket.socket(fileno=arguments.socket)
    certificate = Certificate.of(arguments.state) if arguments.tls else None
    host = f"{'https' if certificate else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    threading.Thread(target=_warm_up, daemon=True).start()
    parts = open_workspace(
        arguments.state,
        host,
        arguments.remote,
        arguments.processes,
        faults_allowed=arguments.faults,
        trusted=certificate.trusted if certificate else None,
        token_seconds=arguments.token_seconds,
    )

    def cut(client: tuple[str, int]) -> None:
        for connection in list(server.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    app = create_app(parts, cut)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        ssl_certfile=certificate.served if certificate else None,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
