"""Files that arrived, as other DAGs are told of them: a URI for each directory, and what an event says."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, quote

from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.paths import canonical, is_relative
from databricks_file_arrivals.core.tables import TableName

SCHEME = "file-arrivals"
LONGEST_URI = 1_500
"""Characters; Airflow takes no more for an asset."""
RUNS_NAMED = 20
"""How many run ids an event has at most."""

ARRIVED = frozenset({Status.TRIGGERED, Status.COALESCED, Status.ERROR, Status.NO_SUCH_WORKFLOW})
"""Outcomes that tell of new files. Not among them: what still waits, and what became of a run later."""
ENDED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.NOT_RUN})
"""Outcomes that tell of files that a task waited for until their job was done with them."""

_HASH = 32
_CUT_ESCAPE = re.compile("%[0-9A-F]?$")


def asset_uri(log_table: str, directory: str) -> str:
    """The URI of the files that arrive in a directory of a log. Raises BadTableName or BadInput.

    The table's name is told in lower case, as Databricks compares it; the directory is canonical and
    percent-encoded. One that is too long ends in a hash of the whole.

    >>> asset_uri("main.ingest.file_log", "s3://bucket/in/new orders/")
    'file-arrivals://main.ingest.file_log/s3%3A//bucket/in/new%20orders'
    """
    if not directory or is_relative(directory):
        raise BadInput(
            f"{directory!r} is no absolute directory: write it with its root, as the trigger log has it."
        )
    log = quote(str(TableName.parse(log_table)).lower(), safe="")
    uri = f"{SCHEME}://{log}/{quote(canonical(directory).lstrip('/'), safe='/', errors='surrogatepass')}"
    if len(uri) <= LONGEST_URI:
        return uri
    whole = hashlib.sha256(uri.encode()).hexdigest()[:_HASH]
    return f"{_CUT_ESCAPE.sub('', uri[: LONGEST_URI - _HASH - 1])}~{whole}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """The URI as it is. Raises ValueError for one that `asset_uri` cannot have made: nothing would arrive in
    it."""
    if not uri.netloc or not uri.path.startswith("/"):
        raise ValueError(
            f"{uri.geturl()} is no {SCHEME} URI: write arrived_in(log_table, directory) for the asset."
        )
    return uri


def asset_events(rows: Iterable[LogRow], *, awaited: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """For each directory that files arrived in, in their order: what its event says.

    Counts of each status that occurs, in lower case, files and bytes, the first run ids as text, and the
    newest epoch. No value is a list or a mapping: Airflow before 3.1.3 hashes them where an alias has the
    event, and would fail the task. A request of several attempts has told of its files at the first; where
    its run was `awaited`, at its end.
    """
    found: dict[str, list[LogRow]] = {}
    for row in rows:
        told = row.status in (ENDED if awaited else ARRIVED) and (awaited or (row.attempt or 1) == 1)
        if told and row.directory and row.file_count:
            found.setdefault(row.directory, []).append(row)
    return [(directory, _extra(found[directory])) for directory in sorted(found)]


def _extra(rows: list[LogRow]) -> dict[str, Any]:
    runs = sorted({row.started_run_id for row in rows if row.started_run_id is not None})
    # Each workflow of a directory is told the same files; several requests of one have files of their own.
    files: Counter[str | None] = Counter()
    size: Counter[str | None] = Counter()
    for row in rows:
        files[row.rule_id] += row.file_count or 0
        size[row.rule_id] += row.total_bytes or 0
    return {
        "directory": rows[0].directory,
        "consumer": rows[0].consumer,
        "epoch": max(row.epoch for row in rows),
        **dict(sorted(Counter(row.status.value.lower() for row in rows).items())),
        "files": max(files.values()),
        "bytes": max(size.values()),
        "run_ids": ",".join(map(str, runs[:RUNS_NAMED])),
        "runs": len(runs),
    }
