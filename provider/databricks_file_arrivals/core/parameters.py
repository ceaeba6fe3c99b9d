"""What a started job is told: its rule's own parameters, placeholders filled in, and the request's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from databricks_file_arrivals.core.outcomes import LogRow

OURS = ("trigger_id", "log_table")
"""Names that no rule may set: a job finds its files by them."""

LIMIT = 10_000
"""How many bytes of parameters a run may be told. The Jobs API's limit is 10 KB."""

# Doubled braces are Databricks' own ({{job.run_id}}) and stay as they are.
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")

_VALUES: Mapping[str, Callable[[LogRow], object]] = {
    "directory": lambda row: row.directory,
    "table_name": lambda row: row.table_name,
    "workflow_name": lambda row: row.workflow_name,
    "file_count": lambda row: row.file_count,
    "total_bytes": lambda row: row.total_bytes,
    "file_pattern": lambda row: row.file_pattern or "*",
    "first_arrival_at": lambda row: row.first_arrival_at.isoformat() if row.first_arrival_at else "",
    "last_arrival_at": lambda row: row.last_arrival_at.isoformat() if row.last_arrival_at else "",
    "stream_id": lambda row: row.stream_id,
    "from_batch": lambda row: row.from_batch,
    "to_batch": lambda row: row.to_batch,
}
PLACEHOLDERS = (*_VALUES, "consumer", "trigger_id", "log_table")
"""What may stand in braces in a rule's parameters."""


def problem(parameters: Mapping[str, str | None]) -> str:
    """Why a rule's parameters cannot be used, or ""."""
    for name, value in parameters.items():
        if value is None:
            return f"parameters: {name} is null"
        if name in OURS:
            return f"parameters: {name} is set by this package: give yours another name"
        for found in _PLACEHOLDER.findall(value):
            if found not in PLACEHOLDERS:
                known = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
                return f"parameters: {name} has the unknown placeholder {{{found}}}; there are {known}"
    return ""


def told(
    row: LogRow, parameters: Mapping[str, str], declared: frozenset[str], identity: Mapping[str, str]
) -> dict[str, str]:
    """The parameters of the run of a request: only those that its job declares.

    `identity` has what the row may not have yet: its trigger_id, its consumer and the log_table.

    Of a row of the directory /in/a with two files, `{"source": "{directory}/"}` and a job that declares
    source and file_count make `{"file_count": "2", "source": "/in/a/"}`.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] in identity:
            return identity[found[1]]
        # A stored text may hold braces that a directory's name brought there.
        return _text(_VALUES[found[1]](row)) if found[1] in _VALUES else found[0]

    everything: dict[str, object] = {"directory": row.directory, "file_count": row.file_count}
    for name, text in parameters.items():
        everything[name] = _PLACEHOLDER.sub(value, text)
    everything |= {name: identity[name] for name in OURS}
    return {name: _text(everything[name]) for name in sorted(declared & everything.keys())}


def retold(row: LogRow, trigger_id: str) -> LogRow:
    """A stored request under another `trigger_id`, with what its run is told of it."""
    old, parameters = row.trigger_id, row.job_parameters
    if old and parameters is not None:
        parameters = {name: value.replace(old, trigger_id) for name, value in parameters.items()}
    return replace(row, trigger_id=trigger_id, job_parameters=parameters)


def _text(value: object) -> str:
    return "" if value is None else str(value)
