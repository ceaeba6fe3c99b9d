"""The log's tables over SQL: what is read and written to plan, claim and record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from databricks_file_arrivals.core.deployment import MISSING, Sql, make_consumer
from databricks_file_arrivals.core.errors import (
    BadInput,
    ConsumerDoubled,
    FileArrivalsError,
    LedgerError,
    StatementFailed,
    TableDiffers,
    TableMissing,
)
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Range, Status
from databricks_file_arrivals.core.planning import Arrivals
from databricks_file_arrivals.core.tables import SCHEMA_VERSION, TRIGGER_LOG, VERSION_PROPERTY, Names

_PAGE = 500  # rows of one read; each may name many directories
_CHUNK = 1_000_000  # characters of rows in one statement
_STATUSES = frozenset(status.value for status in Status)  # rows of another status are of a newer version
_WRITTEN = tuple(c for c in TRIGGER_LOG.columns if c.name != "recorded_at")
_SCHEMA = ", ".join(f"{c.name} {c.type.replace(':', ': ')}" for c in _WRITTEN)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer's row."""

    consumer: str
    epoch: int
    claim_id: str | None
    cursor: Mapping[str, int]
    open_from: int
    next_due: datetime | None
    overdue: bool
    """Whether `next_due` has passed, by the warehouse's clock."""
    now: datetime
    """That clock."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that a consumer has not claimed."""

    stream_id: str
    batch_id: int
    directories: int


class Ledger:
    """The tables of one log. Every method is one statement or a few; all raise StatementFailed or
    TableMissing."""

    def __init__(self, sql: Sql, names: Names) -> None:
        self.names = names
        self._sql = sql

    def _query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        try:
            return self._sql.query(statement, parameters)
        except StatementFailed as error:
            raise table_missing(error, self.names) from error

    def check_version(self) -> None:
        """Raise TableMissing or TableDiffers unless the log is one that this version can work with."""
        found = {r["key"]: r["value"] for r in self._query(f"SHOW TBLPROPERTIES {self.names.log.sql}")}
        version = found.get(VERSION_PROPERTY)
        if version != str(SCHEMA_VERSION):
            raise TableDiffers(
                [f"{self.names.log}: the schema version is {version or 'not set'}, not {SCHEMA_VERSION}"],
                "Run `file-arrivals deploy`: it says what differs, and --upgrade adds what is missing.",
            )

    def consumer(self, consumer: str) -> Consumer | None:
        """The row of a consumer, or None. Raises ConsumerDoubled."""
        return read_consumer(self._query(*ask_consumer(self.names, consumer)), self.names, consumer)

    def make_consumer(self, consumer: str, start_from: str | Mapping[str, int]) -> None:
        """Make a consumer's row unless it is there.

        It starts at the newest batches ("latest"), at none ("earliest"), or at a cursor: {stream_id: the last
        batch that it has not to see}. Raises BadInput.
        """
        if isinstance(start_from, Mapping):
            cursor = {str(stream): int(batch) for stream, batch in start_from.items()}
        elif start_from == "earliest":
            cursor = {}
        elif start_from == "latest":
            newest = self._query(
                "SELECT stream_id, max(batch_id) AS batch_id "
                f"FROM {self.names.arrivals.sql} GROUP BY stream_id"
            )
            cursor = {row["stream_id"]: row["batch_id"] for row in newest}
        else:
            raise BadInput(
                f"start_from is {start_from!r}: write 'latest', 'earliest' or {{stream_id: batch_id}}."
            )
        _repeated(lambda: make_consumer(self._sql, self.names, consumer, cursor))

    def new_batches(self, cursor: Mapping[str, int]) -> list[Batch]:
        """The batches after the cursor, of each stream in order."""
        newer, bound = newer_than(cursor)
        rows = self._query(
            "SELECT stream_id, batch_id, count(DISTINCT directory) AS directories "
            f"FROM {self.names.arrivals.sql} WHERE {newer} "
            "GROUP BY stream_id, batch_id ORDER BY stream_id, batch_id",
            bound,
        )
        return [Batch(r["stream_id"], r["batch_id"], r["directories"]) for r in rows]

    def arrivals(self, after: Mapping[str, int], up_to: Mapping[str, int]) -> list[Arrivals]:
        """The arrivals between two cursors, aggregated by parent directory where the data is."""
        bound: dict[str, Any] = {}
        parts = []
        for i, (stream, last) in enumerate(sorted(up_to.items())):
            bound |= {f"s{i}": stream, f"a{i}": after.get(stream, -1), f"b{i}": last}
            parts.append(f"(stream_id = :s{i} AND batch_id > :a{i} AND batch_id <= :b{i})")
        rows = self._query(
            f"""SELECT stream_id, root, directory, min(batch_id) AS first_batch, max(batch_id) AS last_batch,
  count(*) AS file_count, sum(coalesce(file_size, 0)) AS total_bytes,
  min(logged_at) AS first_at, max(logged_at) AS last_at
FROM {self.names.arrivals.sql} WHERE {" OR ".join(parts)} GROUP BY stream_id, root, directory""",
            bound,
        )
        return [Arrivals(**row) for row in rows]

    def mapping(self) -> WorkflowMapping:
        """The mapping table as it is now."""
        return WorkflowMapping.read(self._query(f"SELECT * FROM {self.names.mapping.sql}"))

    def is_closed(self, row: Consumer) -> bool:
        """Whether the consumer's current claim has its CLAIMED row, or there is no claim yet."""
        return row.claim_id is None or bool(
            self._query(
                f"SELECT 1 AS closed FROM {self.names.log.sql} WHERE consumer = :consumer AND epoch = :epoch "
                f"AND claim_id = :claim_id AND status = '{Status.CLAIMED}' LIMIT 1",
                {"consumer": row.consumer, "epoch": row.epoch, "claim_id": row.claim_id},
            )
        )

    def open_rows(self, row: Consumer, *, with_claim: bool) -> list[LogRow]:
        """All rows of requests that had an error since `open_from`, and, with it, of the current claim's
        requests.

        They are read in pages: a result may not be larger than an inline one can be.
        """
        since = "consumer = :consumer AND epoch >= :open_from"
        failed = f"SELECT trigger_id FROM {self.names.log.sql} WHERE {since} AND status = '{Status.ERROR}'"
        wanted = (
            f"(claim_id = :claim_id OR trigger_id IN ({failed}))"
            if with_claim
            else f"trigger_id IN ({failed})"
        )
        bound = {"consumer": row.consumer, "open_from": min(row.open_from, row.epoch)}
        if with_claim:
            bound["claim_id"] = row.claim_id or ""
        return [
            read_log_row(r)
            for r in self._pages(f"SELECT * FROM {self.names.log.sql} WHERE {since} AND {wanted}", bound)
            if r["status"] in _STATUSES
        ]

    def _pages(self, statement: str, bound: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The rows of a statement by `trigger_id`, all of one trigger_id in one page."""
        last = ""
        while True:
            page = self._query(
                f"{statement} AND trigger_id > :last ORDER BY trigger_id LIMIT {_PAGE}",
                {**bound, "last": last},
            )
            if len(page) < _PAGE:
                yield from page
                return
            cut = page[-1]["trigger_id"]
            whole = [r for r in page if r["trigger_id"] != cut]
            if not whole:
                raise LedgerError(
                    f"{self.names.log} has {_PAGE} rows and more of the request {cut}: remove all but one"
                )
            yield from whole
            last = whole[-1]["trigger_id"]

    def append(self, rows: Iterable[LogRow]) -> None:
        """Append rows to the trigger log, in as few statements as their size allows."""
        columns = ", ".join(c.name for c in _WRITTEN)
        for chunk in _chunks([write_log_row(row) for row in rows]):
            self._query(
                f"INSERT INTO {self.names.log.sql} ({columns}, recorded_at) "
                f"SELECT {columns}, current_timestamp() "
                f"FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<{_SCHEMA}>>')))",
                {"rows": chunk},
            )

    def statuses(self, claim_id: str, epoch: int) -> list[tuple[Status, str | None]]:
        """The status and trigger_id of every row of a claim, as the table has them: what is read back."""
        rows = self._query(
            f"SELECT status, trigger_id FROM {self.names.log.sql} "
            "WHERE epoch = :epoch AND claim_id = :claim_id",
            {"epoch": epoch, "claim_id": claim_id},
        )
        return [(Status(row["status"]), row["trigger_id"]) for row in rows]

    def swap(self, row: Consumer, claim_id: str, cursor: Mapping[str, int]) -> None:
        """Try once to take the next epoch. Whether it was taken only the row itself can tell: read it."""
        self._query(
            f"UPDATE {self.names.consumers.sql} SET epoch = :next, claim_id = :claim_id, "
            "cursor = from_json(:cursor, 'MAP<STRING,BIGINT>'), next_due = current_timestamp(), "
            "updated_at = current_timestamp() WHERE consumer = :consumer AND epoch = :epoch",
            {
                "next": row.epoch + 1,
                "claim_id": claim_id,
                "cursor": json.dumps(dict(cursor)),
                "consumer": row.consumer,
                "epoch": row.epoch,
            },
        )

    def settle(self, consumer: str, epoch: int, next_due: datetime | None, open_from: int) -> None:
        """Set when to look again and from where, unless another claim has been won since."""
        statement, parameters = (
            f"UPDATE {self.names.consumers.sql} SET next_due = CAST(:next_due AS TIMESTAMP), "
            "open_from = :open_from, updated_at = current_timestamp() "
            "WHERE consumer = :consumer AND epoch = :epoch",
            {
                "next_due": next_due.isoformat() if next_due else None,
                "open_from": open_from,
                "consumer": consumer,
                "epoch": epoch,
            },
        )
        _repeated(lambda: self._query(statement, parameters))


def newer_than(cursor: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """The condition for arrivals after a cursor, and its parameters: literal values, by which Delta skips
    files."""
    bound: dict[str, Any] = {}
    parts, known = [], []
    for i, (stream, batch) in enumerate(sorted(cursor.items())):
        bound |= {f"s{i}": stream, f"b{i}": batch}
        parts.append(f"(stream_id = :s{i} AND batch_id > :b{i})")
        known.append(f":s{i}")
    # Not "true": Spark reads `FROM t WHERE (true)` as the alias WHERE with a column of the name true.
    parts.append(f"stream_id NOT IN ({', '.join(known)})" if known else "1 = 1")
    return f"({' OR '.join(parts)})", bound


def ask_consumer(names: Names, consumer: str) -> tuple[str, dict[str, Any]]:
    """The statement that reads a consumer, by the warehouse's clock, and its parameters."""
    return (
        "SELECT *, coalesce(next_due <= current_timestamp(), false) AS overdue, current_timestamp() AS now "
        f"FROM {names.consumers.sql} WHERE consumer = :consumer",
        {"consumer": consumer},
    )


def read_consumer(rows: Sequence[Mapping[str, Any]], names: Names, consumer: str) -> Consumer | None:
    """A consumer from what `ask_consumer` gave, or None. Raises ConsumerDoubled."""
    if len(rows) > 1:
        raise ConsumerDoubled(consumer, str(names.consumers), len(rows))
    if not rows:
        return None
    row = rows[0]
    return Consumer(
        row["consumer"],
        row["epoch"],
        row["claim_id"],
        {stream: int(batch) for stream, batch in (row["cursor"] or {}).items()},
        row["open_from"] if row["open_from"] is not None else 0,
        row["next_due"],
        row["overdue"],
        row["now"],
    )


def table_missing(error: StatementFailed, names: Names) -> FileArrivalsError:
    """The same failure, as TableMissing where a table of the log, or the mapping table, is what is
    missing."""
    if error.condition.split(".")[0] not in MISSING:
        return error
    said = str(error).replace("`", "")
    candidates = (names.mapping, names.arrivals, names.streams, names.consumers, names.log)
    found = next((name for name in candidates if str(name).rsplit(".", 1)[-1] in said), names.log)
    return TableMissing(str(found))


def _repeated(statement: Callable[[], object]) -> None:
    """Execute a statement that other consumers' changes of the same small table may conflict with."""
    Retrying(
        stop=stop_after_attempt(5),
        wait=wait_random_exponential(max=4),
        retry=retry_if_exception(lambda error: getattr(error, "retryable", False)),
        reraise=True,
    )(statement)


def write_log_row(row: LogRow) -> str:
    """A row as JSON, for `from_json` with the table's types."""
    values: dict[str, Any] = {}
    for column in _WRITTEN:
        value = getattr(row, column.name)
        if isinstance(value, Status):
            value = value.value
        elif isinstance(value, datetime):
            value = value.isoformat()
        elif column.name == "directories" and value is not None:
            value = {parent: {"after": r.after, "up_to": r.up_to} for parent, r in value.items()}
        if value is not None:
            values[column.name] = value
    return json.dumps(values, ensure_ascii=False)


def read_log_row(values: Mapping[str, Any]) -> LogRow:
    """A row of the trigger log; columns that this version does not know are left alone."""
    known = {f.name for f in fields(LogRow)}
    row = LogRow(**{k: v for k, v in values.items() if k in known and k not in ("status", "directories")},
                 status=Status(values["status"]))  # fmt: skip
    ranges = values.get("directories")
    excluded = values.get("excluded_patterns")
    return replace(
        row,
        directories=None
        if ranges is None
        else {parent: Range(int(r["after"]), int(r["up_to"])) for parent, r in ranges.items()},
        excluded_patterns=None if excluded is None else tuple(excluded),
    )


def _chunks(rows: Sequence[str]) -> Iterable[str]:
    """JSON arrays of rows, each of a size that a statement may have."""
    chunk: list[str] = []
    size = 0
    for row in rows:
        if chunk and size + len(row) > _CHUNK:
            yield f"[{','.join(chunk)}]"
            chunk, size = [], 0
        chunk.append(row)
        size += len(row)
    if chunk:
        yield f"[{','.join(chunk)}]"
