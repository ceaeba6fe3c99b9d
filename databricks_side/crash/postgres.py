"""A PostgreSQL of its own for Airflow's metadata: Debian's programs, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from demo.processes import DemoError, Processes, environment, free_port

USER = "airflow"
NOT_ROOT = ("postgres", "nobody")
DEBIAN = Path("/usr/lib/postgresql")
MISSING = "PostgreSQL is needed. Install it with:\n    sudo apt-get install -y postgresql"


def programs() -> Path:
    """Where `initdb` and `postgres` are: on the PATH, or where Debian has them. Raises DemoError."""
    found = [Path(path).resolve().parent for path in (shutil.which("initdb"),) if path]
    found += sorted(DEBIAN.glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise DemoError(MISSING)


class Postgres:
    """One server with an empty folder, gone with `remove`."""

    def __init__(self, processes: Processes, logs: Path) -> None:
        self._processes = processes
        self._programs = programs()
        self._log = logs / "postgres.log"
        self._port = free_port()
        self._password = secrets.token_urlsafe(16)
        # Not in the state folder: that is ours alone, and the server must not be root.
        self.folder = Path(tempfile.mkdtemp(prefix="crash-postgres-"))

    @property
    def url(self) -> str:
        """How Airflow reaches it."""
        return f"postgresql+psycopg2://{USER}:{self._password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Make the database, and begin to serve it."""
        password = self.folder / "password"
        password.write_text(self._password)
        become = self._become()
        data = str(self.folder / "data")
        command = [str(self._programs / "initdb"), "-D", data, "-U", USER, "-E", "UTF8", "--no-sync"]
        command += ["--auth=scram-sha-256", f"--pwfile={password}"]
        done = subprocess.run([*become, *command], capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise DemoError(f"initdb has failed: {done.stdout}{done.stderr}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
        }
        command = [str(self._programs / "postgres"), "-D", data]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._processes.spawn("PostgreSQL", [*become, *command], self._log, environment(self._programs))

    def is_ready(self) -> bool:
        """Whether it answers."""
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(command, check=False).returncode == 0

    def remove(self) -> None:
        """Remove the folder, once the server has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _become(self) -> list[str]:
        """What to put before its commands: it refuses to run as root."""
        if os.geteuid() != 0:
            return []
        name = next(name for name in NOT_ROOT if _exists(name))
        shutil.chown(self.folder, name)
        shutil.chown(self.folder / "password", name)
        return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups"]


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
