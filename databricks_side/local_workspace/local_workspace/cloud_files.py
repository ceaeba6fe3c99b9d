"""The `cloudFiles` data source of the local workspace: Auto Loader's contract on a folder of this machine.

It lists (10,000 new files take a fraction of a second) and remembers what it saw in a journal (`journal`). An
offset names its journal, and a query's first batch makes one: so a new checkpoint sees all files of the root
again, a kept one goes on, and two queries on one root know nothing of each other. A file is delivered once,
as it was when it was seen: a replayed batch has the same paths, times and sizes, though files may change.

What differs from Databricks, each on purpose:

- `content` is not a column unless the option `local.content` is `true`: a Python source cannot see which
  columns are selected, so it would read every file. Selecting it is an error then, never a silent NULL.
- `_metadata` is an ordinary column: `select("*")` shows it.
- Options that steer notifications, queues and listing are accepted and have no effect, because listing needs
  none of it (`WITHOUT_EFFECT`); any other unknown `cloudFiles.*` option is refused by its name.
- With `includeExistingFiles=false` the first batch is empty: it is what remembers the files that were there.
- The load path is one folder: `*` and the like in it are not expanded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxFiles,
    SupportsTriggerAvailableNow,
)
from pyspark.sql.types import StructType

from local_workspace.globs import glob_pattern
from local_workspace.journal import Journal, SeenFile, list_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as ConnectSession

SCHEMA = "path string, modificationTime timestamp, length bigint"
METADATA = (
    "_metadata struct<file_path:string, file_name:string, file_size:bigint, file_block_start:bigint, "
    "file_block_length:bigint, file_modification_time:timestamp>"
)
WITH_EFFECT = (
    "cloudFiles.format",
    "cloudFiles.maxFilesPerTrigger",
    "cloudFiles.maxBytesPerTrigger",
    "cloudFiles.includeExistingFiles",
    "cloudFiles.allowOverwrites",
)
WITHOUT_EFFECT = (
    "cloudFiles.useNotifications",
    "cloudFiles.useManagedFileEvents",
    "cloudFiles.useIncrementalListing",
    "cloudFiles.backfillInterval",
    "cloudFiles.fetchParallelism",
    "cloudFiles.schemaLocation",
    "cloudFiles.validateOptions",
    "cloudFiles.connectionString",
    "cloudFiles.subscriptionId",
    "cloudFiles.resourceGroup",
    "cloudFiles.tenantId",
    "cloudFiles.clientId",
    "cloudFiles.clientSecret",
    "cloudFiles.queueName",
    "cloudFiles.queueUrl",
    "cloudFiles.region",
)
KNOWN = {name.lower(): name for name in (*WITH_EFFECT, *WITHOUT_EFFECT)}
COLUMNS = {
    content: ["path", "modificationTime", "length", *(["content"] if content else []), "_metadata"]
    for content in (False, True)
}
DEFAULT_MAX_FILES = 1000  # Auto Loader's
FILES_PER_PARTITION = 10_000
QUOTED = re.compile(
    r"[^A-Za-z0-9/!$&'()*+,;=:@._~\-\u00a1-\U0010ffff]"
    r"|[\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
)
BYTE_UNITS: dict[str, int] = {"": 1, **{unit: int(1024**n) for n, unit in enumerate("kmgtp", start=1)}}


class CloudFilesError(ValueError):
    """Raised when an option, the root or the journal does not let the stream go on; it names the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stream was asked for, checked. Values of options are never part of a message."""

    root: str
    journals: str
    pattern: str | None
    max_files: int
    max_bytes: int | None
    include_existing: bool
    allow_overwrites: bool
    modified_after_ms: int | None
    modified_before_ms: int | None
    content: bool

    @classmethod
    def parse(cls, options: Mapping[str, str], journals: str) -> Settings:
        """The checked settings; raises CloudFilesError for what is missing, unknown or makes no sense."""
        given = {name.lower(): value for name, value in options.items()}
        _refuse_unknown(given)
        glob = given.get("pathglobfilter")
        return cls(
            root=_root(given.get("path")),
            journals=journals,
            pattern=None if glob is None else glob_pattern(glob),
            max_files=_positive(given, "cloudFiles.maxFilesPerTrigger", int) or DEFAULT_MAX_FILES,
            max_bytes=_positive(given, "cloudFiles.maxBytesPerTrigger", _bytes),
            include_existing=_flag(given, "cloudFiles.includeExistingFiles", True),
            allow_overwrites=_flag(given, "cloudFiles.allowOverwrites", False),
            modified_after_ms=_moment(given, "modifiedAfter"),
            modified_before_ms=_moment(given, "modifiedBefore"),
            content=_flag(given, "local.content", False),
        )

    def columns(self) -> str:
        """The schema, as DDL."""
        return ", ".join([SCHEMA, *(["content binary"] if self.content else []), METADATA])


def _refuse_unknown(given: Mapping[str, str]) -> None:
    for name in given:
        if name.startswith("cloudfiles.") and name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f" Did you mean {KNOWN[near[0]]}?" if near else ""
            raise CloudFilesError(f"The local workspace's cloudFiles does not know the option {name}.{hint}")
    format_name = given.get("cloudfiles.format")
    if not format_name:
        raise CloudFilesError("The option cloudFiles.format is required; the local workspace has binaryFile.")
    if format_name.lower() != "binaryfile":
        raise CloudFilesError(
            f"cloudFiles.format is {format_name!r}: the local workspace lists files as binaryFile only. "
            "Use binaryFile and read the files by their paths."
        )


def _root(path: str | None) -> str:
    """The folder of this machine that the load path names, without a trailing slash."""
    if not path:
        raise CloudFilesError("cloudFiles needs the folder to watch: .load(path).")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", path)
    if scheme and scheme[1].lower() not in ("file", "dbfs"):
        raise CloudFilesError(f"The local workspace reads folders of this machine, not {scheme[1]}: {path}")
    local = re.sub(r"^(?:file|dbfs):(?://(?=/))?", "", path, flags=re.IGNORECASE)
    if not local.startswith("/"):
        raise CloudFilesError(f"The load path must be absolute: {path}")
    return local.rstrip("/") or "/"


def _flag(given: Mapping[str, str], name: str, default: bool) -> bool:
    value = given.get(name.lower())
    if value is None:
        return default
    if value.lower() not in ("true", "false"):
        raise CloudFilesError(f"The option {name} must be true or false.")
    return value.lower() == "true"


def _bytes(value: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([kmgtp]?)i?b?", value.strip().lower())
    if match is None:
        raise ValueError(value)
    number, unit = match.groups()
    return int(number) * BYTE_UNITS[unit]


def _positive(given: Mapping[str, str], name: str, parse: Callable[[str], int]) -> int | None:
    value = given.get(name.lower())
    if value is None:
        return None
    try:
        number = parse(value)
    except ValueError:
        number = 0
    if number <= 0:
        raise CloudFilesError(f"The option {name} must be a positive number.")
    return number


def _moment(given: Mapping[str, str], name: str) -> int | None:
    """Milliseconds since 1970; without a zone it is this machine's time, as for Spark's own file sources."""
    value = given.get(name.lower())
    if value is None:
        return None
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError:
        raise CloudFilesError(f"The option {name} must be a time like 2026-01-31T08:00:00.") from None


@dataclass(frozen=True)
class FileRange(InputPartition):
    """The files of one journal numbered above `after`, up to and with `up_to`."""

    journal: str
    after: int
    up_to: int


class FileStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Offsets are `{"journal": id, "seq": n}`; before a first file was seen they have no journal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._journal: Journal | None = None
        self._snapshot: list[SeenFile] | None = None  # what availableNow froze and no journal has yet
        self._cap: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_journal": None,
        }  # Spark pickles the reader for read(); an open database does not travel

    def initialOffset(self) -> dict[str, Any]:
        # The same for every process: when a first batch is replayed after a crash, its start is asked for
        # again, and its end says which journal has it.
        return {"seq": 0}

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxFiles(self._settings.max_files)

    def prepareForTriggerAvailableNow(self) -> None:
        self._snapshot = self._list()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        journal = self._open(start)
        first = "journal" not in start
        if self._cap is None:
            frozen = self._snapshot is not None
            files = self._snapshot if self._snapshot is not None else self._list()
            if first and not journal.exists():
                if self._settings.include_existing and not files:
                    return start
                journal.create(ignored=[] if self._settings.include_existing else files)
            top = journal.add(files, self._settings.allow_overwrites)
            if frozen:
                self._cap, self._snapshot = top, None
        else:
            top = self._cap
        seq = self._admit(journal, int(start["seq"]), top, limit)
        return {"journal": journal.id, "seq": seq}

    def _admit(self, journal: Journal, after: int, top: int, limit: ReadLimit) -> int:
        """How far this batch goes: all there is, or as many files as the limits allow."""
        if isinstance(limit, ReadAllAvailable):
            return max(after, top)
        files = limit.max_files if isinstance(limit, ReadMaxFiles) else self._settings.max_files
        up_to = min(top, after + files)
        if self._settings.max_bytes is not None and up_to > after:
            up_to = journal.up_to_bytes(after, up_to, self._settings.max_bytes)
        return max(after, up_to)

    def _open(self, start: dict[str, Any]) -> Journal:
        """The journal that the offset names; for a query's very first batch the one this reader begins."""
        if self._journal is None or self._journal.id != start.get("journal", self._journal.id):
            self._journal = Journal(self._settings.journals, start.get("journal"))
        if "journal" in start:
            self._require(self._journal, int(start["seq"]))
        return self._journal

    def _require(self, journal: Journal, seq: int) -> None:
        top = journal.top() if journal.exists() else None
        if top is None or top < seq:
            lost = "is gone" if top is None else f"ends at file {top}, the checkpoint is at {seq}"
            raise CloudFilesError(
                f"The journal of this checkpoint {lost}: {journal.path}. Going on would skip files silently. "
                f"Restore it, or start with a new checkpoint, which sees all of {self._settings.root} again."
            )

    def _list(self) -> list[SeenFile]:
        settings = self._settings
        try:
            files = list_files(settings.root, settings.pattern)
        except OSError as error:
            raise CloudFilesError(
                f"cloudFiles cannot read the folder {error.filename or settings.root}: {error.strerror}. "
                "Make it, or grant access; a load path with * or ? in it is not expanded here."
            ) from error
        after, before = settings.modified_after_ms, settings.modified_before_ms
        return [
            file
            for file in files
            if (after is None or file.modified_ms > after) and (before is None or file.modified_ms < before)
        ]

    def reportLatestOffset(self) -> dict[str, Any] | None:
        journal = self._journal
        return {"journal": journal.id, "seq": journal.top()} if journal and journal.exists() else None

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        if "journal" not in end:
            return []
        after, up_to = int(start["seq"]), int(end["seq"])
        self._require(Journal(self._settings.journals, end["journal"]), up_to)
        return [
            FileRange(end["journal"], first, min(first + FILES_PER_PARTITION, up_to))
            for first in range(after, up_to, FILES_PER_PARTITION)
        ]

    def read(self, partition: InputPartition) -> Iterator[Any]:
        assert isinstance(partition, FileRange)
        journal = Journal(self._settings.journals, partition.journal)
        size = 100 if self._settings.content else 10_000
        for files in journal.batches(partition.after, partition.up_to, size):
            yield _record_batch(files, self._settings.content)

    def stop(self) -> None:
        if self._journal is not None:
            self._journal.close()


def _record_batch(files: Sequence[SeenFile], content: bool) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]

    paths = pa.array(["file:" + file.path for file in files], pa.string())
    modified = pa.array([file.modified_ms * 1000 for file in files], pa.timestamp("us", "UTC"))
    sizes = pa.array([file.size for file in files], pa.int64())
    metadata = {
        "file_path": pa.array(["file:" + encoded(file.path) for file in files], pa.string()),
        "file_name": pa.array([encoded(file.path.rpartition("/")[2]) for file in files], pa.string()),
        "file_size": sizes,
        "file_block_start": pa.array([0] * len(files), pa.int64()),
        "file_block_length": sizes,
        "file_modification_time": modified,
    }
    columns = {"path": paths, "modificationTime": modified, "length": sizes}
    if content:
        columns["content"] = pa.array([Path(file.path).read_bytes() for file in files], pa.binary())
    columns["_metadata"] = pa.StructArray.from_arrays(list(metadata.values()), list(metadata))
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def encoded(path: str) -> str:
    """The path as a URI has it, quoted as java.net.URI does: letters beyond ASCII stay, spaces do not."""
    return QUOTED.sub(lambda match: quote(match[0], safe=""), path)


class CloudFiles(DataSource):
    """The source, registered under the name `cloudFiles` by `register`."""

    journals = ""

    @classmethod
    def name(cls) -> str:
        return "cloudFiles"

    def _settings(self) -> Settings:
        return Settings.parse(self.options, self.journals)

    def schema(self) -> str:
        return self._settings().columns()

    def streamReader(self, schema: StructType) -> FileStreamReader:
        settings = self._settings()
        if schema.fieldNames() != COLUMNS[settings.content]:
            raise CloudFilesError("cloudFiles lists files with a fixed schema: leave out .schema(...).")
        return FileStreamReader(settings)


def register(spark: SparkSession | ConnectSession, state: Path) -> None:
    """Make `spark.readStream.format("cloudFiles")` work in this session, classic or Connect."""
    journals = str(Path(state).resolve() / "cloud_files")
    # A class of its own: it travels to the Python workers by value, and brings the folder along.
    spark.dataSource.register(type("LocalCloudFiles", (CloudFiles,), {"journals": journals}))
