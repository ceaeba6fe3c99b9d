"""One task run: what happens in the process that the runner forks for it, until its result is written."""

from __future__ import annotations

import builtins
import json
import linecache
import os
import re
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, Any, cast

import numpy

from local_workspace import libraries
from local_workspace.records import ProcessRecord, write_json
from local_workspace.runtime import DBUtils, NotebookExit, RedactedStream, Redactor, session, session_url

NOTEBOOK_HEADER = "# Databricks notebook source"
MAGIC = re.compile(r"^# MAGIC %(\w+)")


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be run; the API writes it as spec.json before the run is started."""

    task_run_id: int
    kind: str
    file: str
    argv: list[str]
    widgets: dict[str, str]
    libraries: list[str]
    session_id: str
    host: str
    token: str
    env: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Spec:
        value = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: value[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, as result.json says it."""

    exit_code: int
    notebook_result: str | None = None
    error: str | None = None
    error_trace: str | None = None

    def write(self, folder: Path) -> None:
        write_json(folder / "result.json", {name: getattr(self, name) for name in self.__slots__})


def claim(folder: Path) -> bool:
    """Write this process down as the run's one process; False when another one was faster."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".pid.")
    with os.fdopen(handle, "w") as file:
        json.dump(ProcessRecord.of(os.getpid()).as_dict(), file)
    try:
        os.link(name, folder / "pid.json")  # fails when it is there: no run is ever started twice
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(name)


def main(folder: Path, state: Path, remote: str) -> int:
    """Run what spec.json says and write result.json; returns the exit code. For a fresh fork, redirected."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    numpy.random.seed()  # a fork has its parent's; Python's own `random` sees to itself
    redactor = Redactor()
    sys.stdout = cast(Any, RedactedStream(sys.stdout, redactor))
    sys.stderr = cast(Any, RedactedStream(sys.stderr, redactor))
    try:
        result = _execute(Spec.read(folder / "spec.json"), folder, state, remote, redactor)
    except (
        BaseException
    ) as error:  # of ours, not of the job: a spec that cannot be read, a library, no server
        result = _failed(error, redactor, hide_frames_of=None)
    sys.stdout.flush()
    sys.stderr.flush()
    result.write(folder)
    return result.exit_code


def redirect(log: Path) -> None:
    """stdout and stderr, of this process and of what it starts, go to the log; stdin is empty."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = _text(1)
    sys.stderr = _text(2)


def _text(descriptor: int) -> IO[str]:
    # line by line, so that the log can be followed; what cannot be encoded is escaped, never an error
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _execute(spec: Spec, folder: Path, state: Path, remote: str, redactor: Redactor) -> Result:
    os.environ.update(
        spec.env,
        DATABRICKS_HOST=spec.host,
        DATABRICKS_TOKEN=spec.token,
        SPARK_CONNECT_MODE_ENABLED="1",  # pyspark.sql.functions are Connect's
        SPARK_REMOTE=session_url(
            remote, spec.session_id
        ),  # SparkSession.builder.getOrCreate() is this session
    )
    redactor.hide(spec.token)
    folders = libraries.unpack(spec.libraries, folder / "libraries")
    search = [*map(str, folders), str(Path(spec.file).parent)]
    sys.path[:0] = search
    code = _compile(spec)
    spark = session(remote, state, spec.session_id)
    libraries.ship(spark, spec.libraries, folders, search)
    dbutils = DBUtils(spec.widgets, spec.host, spec.token, redactor)
    for name, value in {"spark": spark, "dbutils": dbutils}.items():
        setattr(builtins, name, value)
    # The session is not stopped here: the runner releases it when this process has ended, however it ends.
    return _run(spec, code, {"spark": spark, "dbutils": dbutils}, redactor)


def _compile(spec: Spec) -> CodeType:
    source = Path(spec.file).read_text(encoding="utf-8")
    if spec.kind == "notebook_task":
        _check_notebook(source, spec.file)
    return compile(source, spec.file, "exec", dont_inherit=True)


def _check_notebook(source: str, file: str) -> None:
    """A notebook in source format is Python: only magic commands are not, and they are refused by name."""
    lines = source.splitlines()
    if not lines or lines[0].strip() != NOTEBOOK_HEADER:
        raise ValueError(f"{file} is not a notebook in source format: line 1 is not {NOTEBOOK_HEADER!r}")
    for number, line in enumerate(lines, start=1):
        magic = MAGIC.match(line)
        if magic and magic[1] not in ("md", "md-sandbox", "python"):
            raise NotImplementedError(
                f"The magic command %{magic[1]} (line {number} of {file}) is not in the local workspace; "
                "use Python: imports, spark.sql, or a library of the task"
            )


def _run(spec: Spec, code: CodeType, names: dict[str, Any], redactor: Redactor) -> Result:
    """Execute the job's code as a program, as `__main__`."""
    main_module = ModuleType("__main__")
    main_module.__dict__.update(names, __file__=spec.file)
    sys.modules["__main__"] = main_module
    sys.argv = [spec.file, *spec.argv]
    linecache.checkcache(spec.file)
    try:
        exec(code, main_module.__dict__)
    except NotebookExit as exit_call:
        return Result(0, notebook_result=exit_call.value)
    except SystemExit as exit_call:
        return _exited(exit_call)
    except BaseException as error:
        return _failed(error, redactor, hide_frames_of=__file__)
    return Result(0)


def _exited(exit_call: SystemExit) -> Result:
    if exit_call.code is None or exit_call.code == 0:
        return Result(0)
    if isinstance(exit_call.code, int):
        return Result(exit_call.code & 0xFF or 1, error=f"SystemExit: {exit_call.code}")
    sys.stderr.write(f"{exit_call.code}\n")
    return Result(1, error=f"SystemExit: {exit_call.code}")


def _failed(error: BaseException, redactor: Redactor, hide_frames_of: str | None) -> Result:
    """The job's traceback without our own frames, in the log and in the result."""
    frames = error.__traceback__
    while frames and hide_frames_of and frames.tb_frame.f_code.co_filename == hide_frames_of:
        frames = frames.tb_next
    trace = redactor.clean("".join(traceback.format_exception(type(error), error, frames)))
    sys.stderr.write(trace)
    return Result(1, error=redactor.clean(f"{type(error).__name__}: {error}"), error_trace=trace)
