"""What a job finds when it runs in the local workspace: a Spark session and `dbutils`."""

from __future__ import annotations

import base64
import builtins
import json
import logging
import math
import os
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

from local_workspace.cloud_files import register
from local_workspace.connect import USER_ID

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

REDACTED = "[REDACTED]"
PATIENCE_SECONDS = 120.0  # a killed Spark server is back in ten; on a busy machine it has needed fifty


def session(remote: str, state: Path, session_id: str | None = None) -> SparkSession:
    """A Connect session of its own on the engine, in which `cloudFiles` is a source; the caller stops it."""
    from pyspark.sql.connect.session import SparkSession

    # pyspark prints each failed statement, with both stack traces, besides raising it: once is enough
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)

    spark: SparkSession = SparkSession.builder.remote(session_url(remote, session_id)).create()
    be_patient(spark, PATIENCE_SECONDS)
    register(spark, state)
    return spark


def be_patient(spark: SparkSession, seconds: float) -> None:
    """Let a session's calls wait that long for a server that is not there; then they fail.

    It asks once a second: by default it would be up to a minute asleep after the server is back.
    """
    from pyspark.sql.connect.client.retries import DefaultPolicy

    # The waits: 50, 200 and 800 ms, then a second each.
    spark.client.set_retry_policies([DefaultPolicy(max_retries=2 + math.ceil(seconds), max_backoff=1000)])


def session_url(remote: str, session_id: str | None = None) -> str:
    """The connection string for a session; any process can release it later by its id."""
    return f"{remote}/;user_id={USER_ID}" + (f";session_id={session_id}" if session_id else "")


class NotebookExit(BaseException):
    """Raised by dbutils.notebook.exit: ends the run with success; `except Exception` does not catch it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class WidgetError(KeyError):
    """Raised when a widget is read that has neither a value nor a default."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"InputWidgetNotDefined: no widget and no job parameter is called {self.name!r}"


class SecretError(RuntimeError):
    """Raised when the workspace refuses a secret or has none of that name."""


class Widgets:
    """dbutils.widgets: a run's parameters first, then the defaults that the code gives."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._given = dict(values)
        self._defaults: dict[str, str] = {}

    def text(self, name: str, defaultValue: str, label: str | None = None) -> None:
        self._defaults[name] = str(defaultValue)

    def dropdown(self, name: str, defaultValue: str, choices: list[str], label: str | None = None) -> None:
        if defaultValue not in choices:
            raise ValueError(f"The default {defaultValue!r} of widget {name!r} is not one of its choices")
        self.text(name, defaultValue, label)

    def combobox(self, name: str, defaultValue: str, choices: list[str], label: str | None = None) -> None:
        self.text(name, defaultValue, label)

    def multiselect(self, name: str, defaultValue: str, choices: list[str], label: str | None = None) -> None:
        self.dropdown(name, defaultValue, choices, label)

    def get(self, name: str) -> str:
        values = self.getAll()
        if name not in values:
            raise WidgetError(name)
        return values[name]

    def getAll(self) -> dict[str, str]:
        return {**self._defaults, **self._given}

    def getArgument(self, name: str, defaultValue: str | None = None) -> str:
        if defaultValue is not None and name not in self.getAll():
            return defaultValue
        return self.get(name)

    def remove(self, name: str) -> None:
        self._defaults.pop(name, None)

    def removeAll(self) -> None:
        self._defaults.clear()


class SecretScope(NamedTuple):
    """A scope of secrets, as listScopes gives it."""

    name: str

    def getName(self) -> str:
        return self.name


class SecretMetadata(NamedTuple):
    """A secret's name, as list gives it; never its value."""

    key: str


class Secrets:
    """dbutils.secrets: values over the workspace's API with the run's token; never in logs."""

    def __init__(self, host: str, token: str, redactor: Redactor) -> None:
        self._host = host.rstrip("/")
        self._token = token
        self._redactor = redactor

    def get(self, scope: str, key: str) -> str:
        return self.getBytes(scope, key).decode("utf-8")

    def getBytes(self, scope: str, key: str) -> bytes:
        answer = self._call("/api/2.0/secrets/get", scope=scope, key=key)
        value = base64.b64decode(answer["value"])
        self._redactor.hide(value.decode("utf-8", errors="replace"))
        return value

    def list(self, scope: str) -> list[SecretMetadata]:
        answer = self._call("/api/2.0/secrets/list", scope=scope)
        return [SecretMetadata(secret["key"]) for secret in answer.get("secrets", [])]

    def listScopes(self) -> builtins.list[SecretScope]:
        answer = self._call("/api/2.0/secrets/scopes/list")
        return [SecretScope(scope["name"]) for scope in answer.get("scopes", [])]

    def _call(self, path: str, **query: str) -> Any:
        request = urllib.request.Request(
            f"{self._host}{path}?{urllib.parse.urlencode(query)}",
            headers={"Authorization": f"Bearer {self._token}"},
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes past any proxy
        try:
            with direct.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", errors="replace")
            raise SecretError(f"The workspace answered {error.code} to {path} {query}: {text}") from error


class Redactor:
    """Replaces the secrets that were read by [REDACTED] in what a run prints."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def hide(self, value: str) -> None:
        if value.strip():
            self._values.add(value)

    def clean(self, text: str) -> str:
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, REDACTED)
        return text


class RedactedStream:
    """A text stream that never lets a secret through whole."""

    def __init__(self, stream: IO[str], redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor

    def write(self, text: str) -> int:
        self._stream.write(self._redactor.clean(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class FileInfo(NamedTuple):
    """One entry of a folder, as dbutils.fs.ls gives it; a folder's path and name end with a slash."""

    path: str
    name: str
    size: int
    modificationTime: int

    def isDir(self) -> bool:
        return self.name.endswith("/")

    def isFile(self) -> bool:
        return not self.isDir()


class FileSystem:
    """dbutils.fs on paths of this machine, bare or with the prefix `file:` or `dbfs:`."""

    def ls(self, path: str) -> list[FileInfo]:
        prefix, local = _split(path)
        if not local.exists():
            raise FileNotFoundError(f"No such file or directory: {path}")
        entries = sorted(local.iterdir()) if local.is_dir() else [local]
        return [self._info(prefix, entry) for entry in entries]

    @staticmethod
    def _info(prefix: str, entry: Path) -> FileInfo:
        status = entry.stat()
        slash = "/" if entry.is_dir() else ""
        size = 0 if slash else status.st_size
        return FileInfo(f"{prefix}{entry}{slash}", entry.name + slash, size, status.st_mtime_ns // 1_000_000)

    def head(self, file: str, maxBytes: int = 65536) -> str:
        with _split(file)[1].open("rb") as content:
            return content.read(maxBytes).decode("utf-8", errors="replace")

    def put(self, file: str, contents: str, overwrite: bool = False) -> bool:
        path = _split(file)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if overwrite else "x", encoding="utf-8") as target:
            target.write(contents)
        return True

    def cp(self, source: str, dest: str, recurse: bool = False) -> bool:
        origin, target = _split(source)[1], _split(dest)[1]
        if origin.is_dir():
            if not recurse:
                raise IsADirectoryError(f"{source} is a directory: recurse=True copies it")
            shutil.copytree(origin, target, dirs_exist_ok=True)
            return True
        target = target / origin.name if target.is_dir() else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, target)
        return True

    def mv(self, source: str, dest: str, recurse: bool = False) -> bool:
        origin, target = _split(source)[1], _split(dest)[1]
        if origin.is_dir() and not recurse:
            raise IsADirectoryError(f"{source} is a directory: recurse=True moves it")
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(origin, target)
        return True

    def rm(self, dir: str, recurse: bool = False) -> bool:
        path = _split(dir)[1]
        if not path.exists() and not path.is_symlink():
            return False
        if not path.is_dir() or path.is_symlink():
            path.unlink()
        elif recurse:
            shutil.rmtree(path)
        else:
            path.rmdir()
        return True

    def mkdirs(self, dir: str) -> bool:
        _split(dir)[1].mkdir(parents=True, exist_ok=True)
        return True


def _split(path: str) -> tuple[str, Path]:
    """The prefix as it was written, and the path on this machine."""
    for prefix in ("file:", "dbfs:"):
        if path.startswith(prefix):
            return prefix, Path("/" + path.removeprefix(prefix).lstrip("/"))
    if ":" in path.split("/")[0]:
        raise ValueError(f"dbutils.fs of the local workspace reads paths of this machine, not {path}")
    return "", Path(path)


class Notebook:
    """dbutils.notebook: exit ends the run; run is not there."""

    def exit(self, value: str) -> NoReturn:
        raise NotebookExit(str(value))

    def run(
        self, path: str, timeout_seconds: int = 0, arguments: Mapping[str, str] | None = None
    ) -> NoReturn:
        raise NotImplementedError(
            "dbutils.notebook.run is not in the local workspace: make the notebook a task or a job of its own"
        )


class DBUtils:
    """The part of dbutils that jobs use; whatever else is asked for is an AttributeError that names it."""

    def __init__(self, widgets: Mapping[str, str], host: str, token: str, redactor: Redactor) -> None:
        self.widgets = Widgets(widgets)
        self.secrets = Secrets(host, token, redactor)
        self.fs = FileSystem()
        self.notebook = Notebook()

    def help(self) -> None:
        lines = [
            f"dbutils.{name}: {(type(part).__doc__ or '').splitlines()[0]}"
            for name, part in vars(self).items()
        ]
        sys.stdout.write("\n".join(lines) + os.linesep)
