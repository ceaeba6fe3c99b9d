"""The files of a volume: found by their path, never outside of it, and replaced whole or not at all."""

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from local_workspace.api.errors import InvalidParameter, NoSuchFile, PathTaken

_VOLUMES = "Volumes"
# A file that is being sent stands beside its place under a name that Spark passes over.
_DRAFT = re.compile(r"\.draft-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class VolumePath:
    """A path of the Files API: the volume's name and what is below it."""

    volume: str
    below: tuple[str, ...]

    @classmethod
    def parse(cls, path: str) -> "VolumePath":
        """From the decoded path without its first slash; a directory's may end with one."""
        parts = path.strip("/").split("/")
        if "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise InvalidParameter(f"{'/' + path!r} is not a valid path: no part of it may be empty, . or ..")
        if parts[0] != _VOLUMES or len(parts) < 4:
            raise InvalidParameter(
                f"{'/' + path!r} is not a path in a volume, /Volumes/<catalog>/<schema>/<volume>/..."
            )
        return cls(".".join(parts[1:4]), tuple(parts[4:]))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory."""

    name: str
    is_directory: bool
    size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """The folder of a volume."""

    root: Path

    def resolve(self, below: tuple[str, ...]) -> Path:
        """Where a path leads, all links followed. Raises NoSuchFile where that is outside of the volume."""
        root = os.path.realpath(self.root)
        found = os.path.realpath(os.path.join(root, *below))
        if os.path.commonpath((root, found)) != root:
            raise NoSuchFile(f"{'/'.join(below)!r} leads out of the volume.")
        return Path(found)

    def open(self, below: tuple[str, ...]) -> BinaryIO:
        """The file, for reading; who has it open reads what it was, whatever replaces it."""
        try:
            return self.resolve(below).open("rb")
        except OSError as error:
            raise _missing("file", below, error) from error

    def entries(self, below: tuple[str, ...], after: str, most: int) -> tuple[list[Entry], bool]:
        """At most so many entries of a directory in the order of their names, and whether more follow."""
        try:
            with os.scandir(self.resolve(below)) as scanned:
                found = sorted((each for each in scanned if each.name > after), key=lambda each: each.name)
        except OSError as error:
            raise _missing("directory", below, error) from error
        entries: list[Entry] = []
        for each in found:
            if len(entries) > most:
                break
            if (entry := self._entry(below, each)) is not None:
                entries.append(entry)
        return entries[:most], len(entries) > most

    def _entry(self, below: tuple[str, ...], found: "os.DirEntry[str]") -> Entry | None:
        """An entry, unless it is none of the volume's: a draft, gone meanwhile, or a link to elsewhere."""
        if _DRAFT.fullmatch(found.name):
            return None
        try:
            if found.is_symlink():
                self.resolve((*below, found.name))
            status = found.stat()
        except (FileNotFoundError, NoSuchFile):
            return None
        modified = status.st_mtime_ns // 1_000_000
        return Entry(found.name, found.is_dir(), status.st_size, modified)

    def require_directory(self, below: tuple[str, ...]) -> None:
        """Raises NoSuchFile unless there is such a directory."""
        if not self.resolve(below).is_dir():
            raise _missing("directory", below)

    def make_directory(self, below: tuple[str, ...]) -> None:
        """The directory is there, with all above it."""
        try:
            self.resolve(below).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(below, error) from error

    def delete_directory(self, below: tuple[str, ...]) -> None:
        """The directory is gone; one with anything in it is refused, and the volume's own."""
        if not below:
            raise InvalidParameter("A volume's own directory cannot be deleted; delete the volume.")
        folder = self.resolve(below)
        try:
            names = os.listdir(folder)
            if not all(_DRAFT.fullmatch(name) for name in names):
                raise _not_empty()
            for name in names:
                # Nobody has been told of what a killed process left; an upload under way is answered 404.
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()
        except OSError as error:
            raise _missing("directory", below, error) from error

    def delete(self, below: tuple[str, ...]) -> None:
        """The file is gone."""
        try:
            self.resolve(below).unlink()
        except OSError as error:
            raise _missing("file", below, error) from error

    @contextlib.contextmanager
    def draft(self, below: tuple[str, ...]) -> Iterator["Draft"]:
        """A file to be, in a directory that is made if it is missing; away with it unless it is kept."""
        target = self.resolve(below)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path = target.with_name(f".draft-{uuid.uuid4().hex}")
            with path.open("xb") as file:
                try:
                    yield Draft(target, path, file)
                finally:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(below, error) from error


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is being sent."""

    target: Path
    path: Path
    file: BinaryIO

    def keep(self, overwrite: bool) -> None:
        """From now on it stands at its place, whole; without `overwrite` only where nothing stood."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if not overwrite:
            os.link(self.path, self.target)
        else:
            os.replace(self.path, self.target)


def _missing(what: str, below: tuple[str, ...], error: OSError | None = None) -> Exception:
    """What the API answers where a file or directory is not there to be read or deleted."""
    if error is None or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return NoSuchFile(f"The {what} being accessed is not found: {'/'.join(below)!r}.")
    return _refused(below, error)


def _refused(below: tuple[str, ...], error: OSError) -> Exception:
    """What the API answers where the machine refuses to make or delete a file or directory."""
    path = "/".join(below)
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return PathTaken(f"There is something at {path!r}, or a file where a directory is to be, already.")
    if error.errno == errno.ENOENT:
        return NoSuchFile(f"The directory of {path!r} was deleted meanwhile.")
    if error.errno == errno.ENOTEMPTY:
        return _not_empty()
    if error.errno == errno.ENAMETOOLONG:
        return InvalidParameter(f"{path!r} is not a valid path: {error.strerror}.")
    return RuntimeError(f"{path!r}: {error.strerror}")


def _not_empty() -> InvalidParameter:
    """The answer to who deletes a directory with something in it; clients look at its reason."""
    return InvalidParameter("The directory being deleted is not empty.", "FILES_API_DIRECTORY_IS_NOT_EMPTY")
