"""What the stream job is told, checked: its parameters, Auto Loader's options, and the secrets in them.

Values of options never appear in a message, a log or a repr: any of them may be a secret. Names do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.tables import Names

PARAMETERS: Mapping[str, str] = {
    "monitored_directory": "The directory to watch, with all that is below it",
    "checkpoint_directory": "Where the stream keeps its progress; one for each stream, never shared",
    "workflow_mapping_table": "Table that maps directories to workflows",
    "log_table": "Trigger log; arrivals go to <log_table>_arrivals",
    "batch_interval": "Empty: what is there, then end. Else the pause between looks, such as 10 seconds",
    "signal_volume": "Where to say which batch is the newest, such as /Volumes/main/ingest/signals",
    "already_logged": "Files that another stream has logged: empty (refuse), skip or again",
    "cloudFiles_format": "Files are always listed as binaryFile",
    "cloudFiles_useNotifications": "true: file events instead of listings",
    "cloudFiles_maxFilesPerTrigger": "Most files in a batch",
    "cloudFiles_connectionString": "Azure: of the queue",
    "cloudFiles_subscriptionId": "Azure",
    "cloudFiles_resourceGroup": "Azure",
    "cloudFiles_tenantId": "Azure",
    "cloudFiles_queueName": "An existing queue",
    "pathGlobFilter": "Only files whose names match, such as *.csv",
    "modifiedAfter": "Only files changed after this time",
    "modifiedBefore": "Only files changed before this time",
}
"""The parameters that are known by name, in the order in which a notebook shows them. Any further
`cloudFiles_X` is Auto Loader's option `cloudFiles.X`."""

FILE_OPTIONS = ("pathGlobFilter", "modifiedAfter", "modifiedBefore")
CLOUD_FILES = "cloudFiles_"
FORMAT = "binaryFile"

SecretOf = Callable[[str, str], str]
"""From scope and key to the secret."""

_SECRET = re.compile(r"\{\{\s*secrets/([^/{}]+)/([^/{}]+?)\s*\}\}")
_UNITS = "(?:week|day|hour|minute|second|millisecond|microsecond)s?"
_INTERVAL = re.compile(rf"\s*(?:interval\s+)?\d+\s+{_UNITS}(?:\s+\d+\s+{_UNITS})*\s*", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[\]{}\\]")
# Shorter values stand in messages by chance ("true", "1000"). What came from a secret is hidden at any
# length.
_TELLING = 8


class AlreadyLogged(str, Enum):
    """What a new stream does about files that another stream has logged."""

    REFUSE = ""
    SKIP = "skip"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options for Auto Loader. Only their names show."""

    values: Mapping[str, str] = field(repr=False)
    hidden: frozenset[str] = field(repr=False, default=frozenset())

    @property
    def names(self) -> list[str]:
        return sorted(self.values)

    def redact(self, text: str) -> str:
        """The text without any value that could be a secret."""
        for value in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(value, "[REDACTED]")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """What a stream needs to know before it starts."""

    monitored_directory: str
    checkpoint: str
    names: Names
    interval: str = ""
    signal_volume: str = ""
    already_logged: AlreadyLogged = AlreadyLogged.REFUSE
    source: SourceOptions
    warnings: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """The monitored directory in its canonical form."""
        return paths.canonical(self.monitored_directory)

    @property
    def trigger(self) -> dict[str, bool | str]:
        """What Spark's `.trigger()` is given."""
        return {"processingTime": self.interval} if self.interval else {"availableNow": True}

    @classmethod
    def read(cls, parameters: Mapping[str, str], secret: SecretOf) -> StreamSettings:
        """The settings that these parameters mean. Raises BadInput, which names the parameter."""
        given = {name: (value or "").strip() for name, value in parameters.items()}
        root = _directory(given, "monitored_directory")
        checkpoint = _directory(given, "checkpoint_directory")
        if contains(paths.canonical(root), paths.canonical(checkpoint)):
            raise BadInput(
                f"checkpoint_directory {checkpoint} lies in monitored_directory {root}: the stream would "
                "log its own files as arrivals. Put it beside the monitored directory."
            )
        return cls(
            monitored_directory=root,
            checkpoint=checkpoint,
            names=Names.of(_required(given, "log_table"), given.get("workflow_mapping_table", "")),
            interval=_interval(given.get("batch_interval", "")),
            signal_volume=_signal_volume(given, root),
            already_logged=_already_logged(given.get("already_logged", "")),
            source=_source(given, secret),
            warnings=tuple(_warnings(given)),
        )


def contains(upper: str, lower: str) -> bool:
    """Whether a canonical directory is another one or holds it."""
    return upper == lower or lower.startswith(upper.rstrip("/") + "/")


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise BadInput(
            f"{name} is missing ({PARAMETERS[name]}). Set the widget of that name, or pass --{name}=..."
        )
    return given[name]


def _directory(given: Mapping[str, str], name: str) -> str:
    text = _required(given, name)
    if paths.is_relative(text):
        raise BadInput(
            f"{name} {text!r} is not absolute. Write a path such as /Volumes/main/ingest/landing, or a URI "
            "such as s3://bucket/landing."
        )
    if found := _GLOB.search(text):
        raise BadInput(
            f"{name} {text!r} holds {found[0]!r}, which Spark reads as a pattern. Name one directory; "
            "pathGlobFilter picks files by name."
        )
    return text


def _signal_volume(given: Mapping[str, str], root: str) -> str:
    """A directory that can be written as plain files are."""
    if not given.get("signal_volume"):
        return ""
    text = _directory(given, "signal_volume").rstrip("/")
    if not text.startswith("/"):
        raise BadInput(
            f"signal_volume {text!r} is a URI. Write a volume's path: /Volumes/main/ingest/signals."
        )
    if contains(paths.canonical(root), paths.canonical(text)):
        raise BadInput(
            f"signal_volume {text} lies in monitored_directory {root}: the stream would log its own pointers "
            "as arrivals. Put it on a volume of its own."
        )
    return text


def _interval(text: str) -> str:
    """The pause between looks as Spark understands it."""
    if text and not _INTERVAL.fullmatch(text):
        raise BadInput(
            f"batch_interval {text!r} is not a length of time. Write a number and a unit, such as "
            "'10 seconds' or '1 minute'; leave it empty to process what is there and end."
        )
    return text


def _already_logged(text: str) -> AlreadyLogged:
    try:
        return AlreadyLogged(text)
    except ValueError:
        raise BadInput(
            f"already_logged {text!r} is unknown. Leave it empty (refuse to start), or write skip or again."
        ) from None


def _warnings(given: Mapping[str, str]) -> list[str]:
    if given.get("cloudFiles_format", "").lower() in ("", FORMAT.lower()):
        return []
    return [
        "cloudFiles_format has no effect: files are always listed as binaryFile, and what is in them is "
        "never read. The started workflows read them in whatever format they have."
    ]


def _source(given: Mapping[str, str], secret: SecretOf) -> SourceOptions:
    options: dict[str, str] = {}
    secrets: set[str] = set()
    for name, value in given.items():
        if not value or name == "cloudFiles_format":
            continue
        if name.startswith(CLOUD_FILES):
            options["cloudFiles." + name[len(CLOUD_FILES) :]] = _resolve(name, value, secret, secrets)
        elif name in FILE_OPTIONS:
            options[name] = _resolve(name, value, secret, secrets)
    hidden = secrets | {value for value in options.values() if len(value) >= _TELLING}
    return SourceOptions({"cloudFiles.format": FORMAT, **options}, frozenset(hidden))


def _resolve(name: str, value: str, secret: SecretOf, found: set[str]) -> str:
    """The value with each `{{secrets/scope/key}}` in it replaced; what was put in is added to `found`."""

    def text_of(match: re.Match[str]) -> str:
        scope, key = match[1], match[2]
        try:
            text = secret(scope, key)
        except Exception as error:
            raise BadInput(
                f"{name} names the secret {scope}/{key}, which cannot be read ({type(error).__name__}). "
                "Check its name, and that this principal may READ the scope."
            ) from error
        if text:
            found.add(text)
        return text

    return _SECRET.sub(text_of, value)
