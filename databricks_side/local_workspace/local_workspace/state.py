"""What the workspace knows, in one SQLite file that survives `kill -9`.

`State` is the file and its transactions, nothing else: what the rows mean is the business of the modules of
`api` that write them.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST = """
CREATE TABLE principals (
  name TEXT PRIMARY KEY,
  id INTEGER NOT NULL,
  is_admin INTEGER NOT NULL
) STRICT;

-- A token is `dapi<token_id><secret>`: found by its id, believed by the hash of its secret.
CREATE TABLE tokens (
  token_id TEXT PRIMARY KEY,
  secret_hash BLOB NOT NULL,
  principal TEXT NOT NULL REFERENCES principals(name),
  task_run_id INTEGER,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_of_task_run ON tokens(task_run_id) WHERE task_run_id IS NOT NULL;

CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL UNIQUE,
  name_key TEXT NOT NULL,
  creator TEXT NOT NULL,
  run_as TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  settings TEXT NOT NULL,
  deleted_at INTEGER
) STRICT;
CREATE INDEX jobs_by_name ON jobs(name_key) WHERE deleted_at IS NULL;

CREATE TABLE job_grants (
  job_id INTEGER NOT NULL,
  kind TEXT NOT NULL,
  principal TEXT NOT NULL,
  level TEXT NOT NULL,
  PRIMARY KEY (job_id, kind, principal)
) STRICT;

CREATE TABLE runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id INTEGER NOT NULL UNIQUE,
  job_id INTEGER NOT NULL,
  creator TEXT NOT NULL,
  run_as TEXT NOT NULL,
  settings TEXT NOT NULL,
  parameters TEXT NOT NULL,
  overrides TEXT NOT NULL,
  state TEXT NOT NULL,
  result TEXT,
  message TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  deleted_at INTEGER
) STRICT;
CREATE INDEX runs_of_job ON runs(job_id, seq);
CREATE INDEX runs_active ON runs(state, job_id) WHERE state <> 'TERMINATED';

CREATE TABLE task_runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  task_run_id INTEGER NOT NULL UNIQUE,
  run_id INTEGER NOT NULL,
  task_key TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  state TEXT NOT NULL,
  result TEXT,
  message TEXT NOT NULL DEFAULT '',
  session_id TEXT NOT NULL,
  not_before INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  ended_at INTEGER,
  UNIQUE (run_id, task_key, attempt)
) STRICT;
CREATE INDEX task_runs_active ON task_runs(state, seq) WHERE state <> 'TERMINATED';

CREATE TABLE idempotency_tokens (
  token TEXT PRIMARY KEY,
  run_id INTEGER NOT NULL
) STRICT;

CREATE TABLE secret_scopes (
  scope TEXT PRIMARY KEY,
  created_by TEXT NOT NULL
) STRICT;

CREATE TABLE secrets (
  scope TEXT NOT NULL REFERENCES secret_scopes(scope) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT;

CREATE TABLE secret_grants (
  scope TEXT NOT NULL REFERENCES secret_scopes(scope) ON DELETE CASCADE,
  principal TEXT NOT NULL,
  permission TEXT NOT NULL,
  PRIMARY KEY (scope, principal)
) STRICT;
"""

_VOLUMES = """
CREATE TABLE volumes (
  volume_id TEXT PRIMARY KEY,
  schema_name TEXT NOT NULL,
  name TEXT NOT NULL,
  volume_type TEXT NOT NULL,
  storage_location TEXT NOT NULL,
  owner TEXT NOT NULL,
  comment TEXT,
  created_at INTEGER NOT NULL,
  UNIQUE (schema_name, name)
) STRICT;

CREATE TABLE volume_grants (
  volume_id TEXT NOT NULL REFERENCES volumes(volume_id) ON DELETE CASCADE,
  principal TEXT NOT NULL,
  privilege TEXT NOT NULL,
  PRIMARY KEY (volume_id, principal, privilege)
) STRICT;
"""

_SERVICE_PRINCIPALS = """
-- In milliseconds, null for a token that does not end by itself
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;

CREATE TABLE service_principals (
  client_id TEXT PRIMARY KEY,
  secret_hash BLOB NOT NULL,
  principal TEXT NOT NULL UNIQUE REFERENCES principals(name)
) STRICT;
"""

_REPAIRS = """
-- Each with how the run had ended before it, and the last task run that it did not make.
CREATE TABLE repairs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  repair_id INTEGER NOT NULL UNIQUE,
  run_id INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  result TEXT NOT NULL,
  message TEXT NOT NULL,
  ended_at INTEGER,
  after_seq INTEGER NOT NULL
) STRICT;
CREATE INDEX repairs_of_run ON repairs(run_id, seq);
"""

# Each brings a state file from the version before to its own: they are added to, and never changed.
STEPS = (_FIRST, _VOLUMES, _SERVICE_PRINCIPALS, _REPAIRS)
SCHEMA_VERSION = len(STEPS)


class StateError(Exception):
    """Raised when the state file was written by a later version of the workspace."""


def now_ms() -> int:
    """The time as the API tells it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class State:
    """The state file. Readers never wait; writers of this process take turns, so none finds it busy."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / "workspace.sqlite"
        self._local = threading.local()
        self._writer = threading.Lock()
        self._writing = self._connect()
        self._path.chmod(0o600)
        self._migrate()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _migrate(self) -> None:
        # Two processes may open a new folder at once (supervisor and command line): the lock puts one first.
        self._writing.execute("BEGIN EXCLUSIVE")
        version = self._writing.execute("PRAGMA user_version").fetchone()[0]
        for step in STEPS[version:]:
            for statement in filter(str.strip, step.split(";")):
                self._writing.execute(statement)
        if version < SCHEMA_VERSION:
            self._writing.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._writing.execute("COMMIT")
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{self._path} has version {version}, this program knows version {SCHEMA_VERSION}: "
                "start with another --state folder, or with the program that wrote this one"
            )

    @property
    def reading(self) -> sqlite3.Connection:
        """This thread's connection for reads; each statement sees the last commit."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block is on disk when it ends, or none of it if it raises."""
        with self._writer:
            self._writing.execute("BEGIN IMMEDIATE")
            try:
                yield self._writing
                self._writing.execute("COMMIT")
            except BaseException:
                if self._writing.in_transaction:
                    self._writing.execute("ROLLBACK")
                raise
