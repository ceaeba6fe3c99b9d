"""Wheels of a run: on its own path, and on that of the server's Python workers that run its functions."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession


class LibraryError(ValueError):
    """Raised when a library is not a wheel that can be used without installing it."""


def unpack(wheels: Sequence[str], folder: Path) -> list[Path]:
    """Unpack each wheel into a folder of its own and return these folders; only pure Python is accepted."""
    return [_unpack(Path(wheel), folder) for wheel in wheels]


def _unpack(wheel: Path, folder: Path) -> Path:
    if wheel.suffix != ".whl":
        raise LibraryError(f"The local workspace takes wheels as libraries, not {wheel}")
    if not wheel.is_file():
        raise LibraryError(f"There is no library {wheel}: build it, or mend the job's `libraries`")
    target = folder / wheel.stem
    with zipfile.ZipFile(wheel) as archive:
        metadata = next((name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")), None)
        if metadata is None:
            raise LibraryError(f"{wheel} is not a wheel: it has no .dist-info/WHEEL")
        if Parser().parsestr(archive.read(metadata).decode())["Root-Is-Purelib"] != "true":
            raise LibraryError(f"{wheel} has compiled parts: the local workspace takes pure Python only")
        archive.extractall(target)
    return target


def ship(spark: SparkSession, wheels: Sequence[str], folders: Sequence[Path], search: Sequence[str]) -> None:
    """Let the session's functions on the server import the wheels: UDFs by artifacts, foreachBatch by path.

    Spark gives artifacts to the workers of UDFs, but not to those of foreachBatch. These run on this machine
    too, so a function sent there takes along where to look (`search`); that is set before it is unpickled.
    """
    for wheel, folder in zip(wheels, folders, strict=True):
        archive = folder.with_name(f"{Path(wheel).stem}.zip")  # the name decides: Connect refuses a .whl
        shutil.copyfile(wheel, archive)
        spark.addArtifacts(str(archive), pyfile=True)
    _send_along([str(path) for path in search])


def _send_along(search: list[str]) -> None:
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter

    writer_class: Any = DataStreamWriter  # Any: a method is replaced
    original = writer_class.foreachBatch

    def foreach_batch(writer: Any, func: Callable[..., None]) -> Any:
        return original(writer, _Sent(func, search))

    foreach_batch.__doc__ = original.__doc__
    writer_class.foreachBatch = foreach_batch


class _Sent:
    """A function that is unpickled only after its folders are on the path."""

    def __init__(self, function: Callable[..., None], search: list[str]) -> None:
        self._function = function
        self._search = search

    def __call__(self, *arguments: Any) -> None:
        self._function(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from pyspark import cloudpickle

        return _receive, (self._search, cloudpickle.dumps(self._function))  # type: ignore[no-untyped-call]


def _receive(search: list[str], pickled: bytes) -> Any:
    from pyspark import cloudpickle

    sys.path[:0] = [folder for folder in search if folder not in sys.path]
    return cloudpickle.loads(pickled)
