"""What can go wrong, in words that say what to do next.

FileArrivalsError
├── BadInput                 a name, option or value that cannot be used
│   └── BadTableName
├── ChangedSince             what was looked at is not as it was any more
├── DeploymentError
│   ├── TableMissing         a table that `deploy` has not made yet
│   └── TableDiffers         a table of another shape or schema version
├── LedgerError
│   ├── ConsumerDoubled      more than one row for a consumer
│   └── ClaimContended       other operators took the epoch again and again        (retryable)
├── ArrivedFilesError        a request whose files are not what its row says
├── SignalTorn               a pointer file that is not whole
├── StreamRefused            a checkpoint or root with which the stream must not start
└── WorkspaceError           Databricks answered with an error, or not at all
    ├── WorkspaceUnavailable no answer, or 429 or 5xx after the client's own tries (retryable)
    ├── NotAuthenticated     401
    ├── Refused              403 or another 4xx: the same call will not succeed again
    ├── WarehouseMissing     no warehouse is named, or there is none of that id
    └── StatementFailed      a SQL statement ended as FAILED, CANCELED or CLOSED
"""

from __future__ import annotations

from collections.abc import Sequence


class FileArrivalsError(Exception):
    """The root of all errors of this package. `retryable`: the same call may succeed later, unchanged."""

    retryable = False


class BadInput(FileArrivalsError):
    """Raised when a name, an option or a value cannot be used as it is."""


class BadTableName(BadInput):
    """Raised when a text does not name a table: one to three parts, joined by dots."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} does not name a table: {reason}. Write catalog.schema.table, such as "
            "main.ingest.file_log."
        )


class ChangedSince(FileArrivalsError):
    """Raised when what was looked at, and was to be acted on, is not as it was any more. Nothing was
    done."""


class DeploymentError(FileArrivalsError):
    """Raised when the tables are not as this version needs them."""


class TableMissing(DeploymentError):
    """Raised when a table is not there."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"The table {table} does not exist, or is not visible to this principal. Create the tables with "
            "`file-arrivals deploy` or with deploy_framework(workflow_mapping_table, log_table)."
        )


class TableDiffers(DeploymentError):
    """Raised when tables exist but differ from what this version needs. `differences` has a line for each."""

    def __init__(self, differences: Sequence[str], remedy: str) -> None:
        self.differences = tuple(differences)
        super().__init__(
            "\n  - ".join(["These tables are not as this version needs them:", *differences]) + f"\n{remedy}"
        )


class LedgerError(FileArrivalsError):
    """Raised when the ledger's tables hold what the protocol cannot go on from."""


class ConsumerDoubled(LedgerError):
    """Raised when a consumer has more than one row."""

    def __init__(self, consumer: str, table: str, rows: int) -> None:
        self.consumer, self.table, self.rows = consumer, table, rows
        super().__init__(
            f"The consumer {consumer!r} has {rows} rows in {table}, and must have one. Delete all but the "
            "row with the highest epoch."
        )


class ClaimContended(LedgerError):
    """Raised when other operators of this consumer won the epoch every time. Nothing was started by this
    one."""

    retryable = True

    def __init__(self, consumer: str, tries: int) -> None:
        self.consumer, self.tries = consumer, tries
        super().__init__(
            f"Another operator took the epoch of the consumer {consumer!r} {tries} times while this one "
            "planned. Nothing is lost; give each DAG a consumer of its own, or set max_active_runs=1."
        )


class ArrivedFilesError(FileArrivalsError):
    """Raised when a request is not in the log, or the arrival log has other than its `file_count` files."""


class SignalTorn(FileArrivalsError):
    """Raised when a pointer file is not what the stream or an operator writes: half of it, or another's."""


class StreamRefused(FileArrivalsError):
    """Raised when a stream must not start with this checkpoint or root, because arrivals would be lost or
    doubled."""


class WorkspaceError(FileArrivalsError):
    """Raised when Databricks answers with an error, or not at all."""


class WorkspaceUnavailable(WorkspaceError):
    """Raised when there is no answer, or still a 429 or 5xx after the client's own tries."""

    retryable = True


class NotAuthenticated(WorkspaceError):
    """Raised when the workspace does not accept the connection's credentials (401)."""


class Refused(WorkspaceError):
    """Raised when a call is refused (4xx). `code` is the workspace's error code, such as
    PERMISSION_DENIED."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"{code or status}: {message}")


class WarehouseMissing(WorkspaceError):
    """Raised when no SQL warehouse is named, or when there is none of that id."""


class StatementFailed(WorkspaceError):
    """Raised when a statement did not succeed. `condition` is Spark's error condition, such as
    DIVIDE_BY_ZERO, or ""."""

    def __init__(self, state: str, condition: str, message: str, retryable: bool = False) -> None:
        self.state, self.condition, self.retryable = state, condition, retryable
        super().__init__(f"The statement ended as {state}: {message}")
