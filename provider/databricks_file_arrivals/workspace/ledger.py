"""The log's tables over SQL: what is read and written to plan, claim and record."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from databricks_file_arrivals.core.deployment import make_consumer, orphaned, row_deleted
from databricks_file_arrivals.core.errors import (
    BadInput,
    ConsumerDoubled,
    LedgerError,
    TableDiffers,
)
from databricks_file_arrivals.core.expectations import Seen
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, trigger_ids
from databricks_file_arrivals.core.planning import RunKey
from databricks_file_arrivals.core.tables import REQUEST, SCHEMA_VERSION, VERSION_PROPERTY, Names
from databricks_file_arrivals.workspace.log_rows import SCHEMA, WRITTEN, chunks, read_log_row, write_log_row
from databricks_file_arrivals.workspace.log_tables import LogTables

FAILING = (Status.ERROR, Status.NOT_RUN)
"""States that are tried again."""

ENDED = (Status.NOT_RUN, Status.FAILED, Status.SUCCEEDED)
"""States of runs that are over."""

TAKEN_ON = (Status.PLANNED, Status.TRIGGERED, Status.ERROR)
"""What a task writes of the requests that it has to do with: it planned them, started them, or tried to."""

TASK = ("dag_id", "dag_run_id", "task_id")
"""What a task of a DAG run is known by in its rows, whichever try wrote them."""

_SEEN_LATE = timedelta(minutes=10)
"""Rows have the time at which their statement began, and are seen when it has ended: this much later."""

_STARTED = (Status.TRIGGERED, Status.ERROR)
"""What a start came to; who finishes another's claim writes these too."""

_PAGE = 500  # rows of one read; each may name many directories
_STATUSES = frozenset(status.value for status in Status)  # rows of another status are of a newer version


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
    updated_at: datetime | None = None
    """The time at which the last look at all that is open began."""

    @property
    def seen_up_to(self) -> datetime:
        """Rows that were recorded before this the last look has seen."""
        return (self.updated_at or self.now) - _SEEN_LATE


@dataclass(frozen=True, slots=True)
class Requested:
    """What the log has of one request, and the time by the warehouse's clock."""

    rows: tuple[LogRow, ...]
    now: datetime | None


class Ledger(LogTables):
    """The trigger log and the consumers: what was decided, and who may decide next."""

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
        batch that it has not to see}. Raises BadInput, and LedgerError for one whose row was deleted.
        """
        if orphaned(self._sql, self.names, consumer):
            raise LedgerError(row_deleted(self.names, consumer))
        if isinstance(start_from, Mapping):
            if not all(type(batch) is int for batch in start_from.values()):
                raise BadInput(f"start_from is {start_from!r}: its batches have to be whole numbers.")
            cursor = {str(stream): batch for stream, batch in start_from.items()}
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

    def mapping(self) -> WorkflowMapping:
        """The mapping table as it is now."""
        return WorkflowMapping.read(self._query(f"SELECT * FROM {self.names.mapping.sql}"))

    def open_rows(self, row: Consumer) -> list[LogRow]:
        """What is open: of the requests since `open_from` all rows of those that failed or are in a later
        attempt, the TRIGGERED rows of those that are not known to have ended, and the PLANNED rows of those
        that are left over: planned by a claim that is closed, and not started. Of the current claim its
        CLAIMED row, or all rows while it has none. And all rows of older requests of which a task that waits
        for its runs has made a later attempt since the last look.

        They are read in pages: a result may not be larger than an inline one can be.
        """
        # One scan with windows, not a subquery for each of the questions.
        wanted = f"""SELECT * FROM (
  SELECT *, bool_or(status IN ({_quoted(FAILING)})) OVER request AS has_failed,
    bool_or(status IN ({_quoted(ENDED)})) OVER request AS has_ended,
    bool_or(status <> '{Status.PLANNED}') OVER request AS has_begun,
    bool_or(status = '{Status.CLAIMED}') OVER (PARTITION BY claim_id) AS is_closed
  FROM {self.names.log.sql} WHERE consumer = :consumer
    AND (epoch >= :open_from OR (attempt > 1 AND recorded_at >= :since))
  WINDOW request AS (PARTITION BY trigger_id)
) WHERE attempt > 1 OR has_failed
  OR (status = '{Status.TRIGGERED}' AND NOT has_ended)
  OR (status = '{Status.PLANNED}' AND is_closed AND NOT has_begun)
  OR (claim_id = :claim_id AND (status = '{Status.CLAIMED}' OR NOT is_closed))"""
        open_from = min(row.open_from, row.epoch)
        bound = {
            "consumer": row.consumer,
            "open_from": open_from,
            "claim_id": row.claim_id or "",
            "since": row.seen_up_to,
        }
        rows = self._log_rows(wanted, bound)
        older = [r for r in rows if r.epoch < open_from]
        # All that they went through counts: after how long a time they are given up.
        return [r for r in rows if r.epoch >= open_from] + (self.whole(older) if older else [])

    def whole(self, rows: Sequence[LogRow]) -> list[LogRow]:
        """All rows of the requests that these rows are of, of one consumer and at least one."""
        wanted = {(row.claim_id, row.place) for row in rows}
        found = self._log_rows(
            f"SELECT * FROM {self.names.log.sql} WHERE consumer = :consumer "
            "AND epoch >= :oldest AND epoch <= :newest "
            "AND array_contains(from_json(:claims, 'ARRAY<STRING>'), claim_id) "
            "AND array_contains(from_json(:directories, 'ARRAY<STRING>'), directory)",
            {
                "consumer": rows[0].consumer,
                "oldest": min(row.epoch for row in rows),
                "newest": max(row.epoch for row in rows),
                "claims": json.dumps(sorted({row.claim_id for row in rows})),
                "directories": json.dumps(sorted({row.directory or "" for row in rows})),
            },
        )
        return [row for row in found if (row.claim_id, row.place) in wanted]

    def holds(self, row: Consumer) -> list[LogRow]:
        """The open holds, once the current claim is closed: of each key the rows of the newest epoch, where
        those are holds."""
        since = "consumer = :consumer AND epoch >= :open_from AND epoch <= :epoch"
        log = self.names.log.sql
        return self._log_rows(
            f"""SELECT * FROM (
  SELECT *, rank() OVER (PARTITION BY rule_id, stream_id, directory ORDER BY epoch DESC) AS newest,
    row_number() OVER (PARTITION BY trigger_id ORDER BY recorded_at) AS nth
  FROM {log} WHERE {since} AND rule_id IS NOT NULL AND replay_of IS NULL AND file_count > 0
    AND claim_id IN (SELECT claim_id FROM {log} WHERE {since} AND status = '{Status.CLAIMED}')
) WHERE newest = 1 AND nth = 1 AND status = '{Status.HELD}'""",
            {
                "consumer": row.consumer,
                "open_from": min(row.open_from, row.epoch),
                "epoch": row.epoch,
            },
        )

    def request(self, trigger_id: str) -> Requested:
        """All rows of a request, whatever the attempt, with the CLAIMED row of its claim; none when it is not
        in the log."""
        log = self.names.log.sql
        same = " AND ".join(f"l.{column} <=> r.{column}" for column in REQUEST)
        rows = self._query(
            f"""SELECT l.*, current_timestamp() AS now FROM {log} l LEFT SEMI JOIN (
  SELECT {", ".join(REQUEST)} FROM {log} WHERE epoch = :epoch AND trigger_id = :trigger_id
) r ON l.claim_id = r.claim_id AND (l.status = '{Status.CLAIMED}' OR ({same}))
WHERE l.epoch = :epoch""",
            {"epoch": int(trigger_id[:12], 16), "trigger_id": trigger_id},
        )
        found = tuple(read_log_row(r) for r in rows if r["status"] in _STATUSES)
        return Requested(found, rows[0]["now"] if rows else None)

    def of_task(self, consumer: str, task: Mapping[str, str], since: datetime) -> Requested:
        """All rows of the requests that a task of a DAG run has planned or started, in whatever try, of
        claims that are closed. `task` has its dag_id, dag_run_id and task_id; nothing of it is older than
        `since`."""
        mine = (
            f"consumer = :consumer AND recorded_at >= :since AND status IN ({_quoted(TAKEN_ON)}) "
            "AND dag_id = :dag_id AND dag_run_id = :dag_run_id AND task_id = :task_id"
        )
        log, bound = self.names.log.sql, {**task, "consumer": consumer, "since": since}
        (found,) = self._query(
            "SELECT min(epoch) AS first, max(epoch) AS up_to, current_timestamp() AS now "
            f"FROM {log} WHERE {mine}",
            bound,
        )
        if found["first"] is None:
            return Requested((), found["now"])
        same = " AND ".join(f"l.{column} <=> r.{column}" for column in REQUEST)
        within = "epoch >= :first AND epoch <= :up_to AND consumer = :consumer"
        rows = self._log_rows(
            f"""SELECT l.* FROM {log} l LEFT SEMI JOIN (
  SELECT DISTINCT {", ".join(REQUEST)} FROM {log} WHERE {mine}
) r ON {same} WHERE {within} AND claim_id IN (
  SELECT claim_id FROM {log} WHERE {within} AND status = '{Status.CLAIMED}'
)""",
            {**bound, "first": found["first"], "up_to": found["up_to"]},
        )
        return Requested(tuple(rows), found["now"])

    def last_starts(self, consumer: str, rule_ids: Iterable[str], since: datetime) -> dict[RunKey, datetime]:
        """When each of these rules last started a run for each directory, if that was after `since`."""
        started = f"'{Status.TRIGGERED}', '{Status.DRY_RUN}'"
        rows = self._query(
            f"""SELECT rule_id, directory, max(recorded_at) AS at FROM {self.names.log.sql}
WHERE consumer = :consumer AND recorded_at > :since AND status IN ({started})
  AND array_contains(from_json(:rules, 'ARRAY<STRING>'), rule_id) GROUP BY rule_id, directory""",
            {"consumer": consumer, "since": since, "rules": json.dumps(sorted(rule_ids))},
        )
        return {(r["rule_id"], r["directory"]): r["at"] for r in rows}

    def seen(self, consumer: str, rule_ids: Iterable[str], since: datetime) -> dict[RunKey, Seen]:
        """The last arrival of each directory of these rules, and when its silence was last told of."""
        rows = self._query(
            f"""SELECT rule_id, directory, max(last_arrival_at) AS arrived,
  max(CASE WHEN status = '{Status.OVERDUE}' THEN recorded_at END) AS overdue
FROM {self.names.log.sql} l LEFT SEMI JOIN (
  SELECT claim_id FROM {self.names.log.sql}
  WHERE consumer = :consumer AND recorded_at > :since AND status = '{Status.CLAIMED}'
) won ON l.claim_id = won.claim_id
WHERE consumer = :consumer AND recorded_at > :since
  AND array_contains(from_json(:rules, 'ARRAY<STRING>'), rule_id) GROUP BY rule_id, directory""",
            {"consumer": consumer, "since": since, "rules": json.dumps(sorted(rule_ids))},
        )
        return {(r["rule_id"], r["directory"]): Seen(r["arrived"], r["overdue"]) for r in rows}

    def replayed(self, consumer: str, requests: Iterable[LogRow]) -> frozenset[str]:
        """The trigger_ids of those of the requests that a claim has replayed, in this attempt or an earlier
        one."""
        ids = {each: row.trigger_id or "" for row in requests for each in trigger_ids(row)}
        return frozenset(ids[each] for each in self._replays(consumer, sorted(ids))) if ids else frozenset()

    def replays_by(self, consumer: str, task: Mapping[str, str]) -> frozenset[str]:
        """The trigger_ids of what a task of a DAG run has replayed in claims that count, in whatever try, and
        of the requests that it has made for that. `task` has its dag_id, dag_run_id and task_id."""
        rows = self._query(
            f"SELECT DISTINCT trigger_id, replay_of FROM {self.names.log.sql} WHERE {self._counts} "
            "AND replay_of IS NOT NULL AND dag_id = :dag_id AND dag_run_id = :dag_run_id "
            f"AND task_id = :task_id AND status NOT IN ({_quoted(_STARTED)})",
            {**task, "consumer": consumer},
        )
        return frozenset(row[key] for row in rows for key in ("trigger_id", "replay_of"))

    @property
    def _counts(self) -> str:
        """The condition for a consumer's rows that count: of claims that have a CLAIMED row, and of the
        current claim, whose runs may be starting right now."""
        return (
            f"consumer = :consumer AND claim_id IN (SELECT claim_id FROM {self.names.log.sql} "
            f"WHERE consumer = :consumer AND status = '{Status.CLAIMED}' "
            f"UNION SELECT claim_id FROM {self.names.consumers.sql} WHERE consumer = :consumer)"
        )

    def _replays(self, consumer: str, ids: Sequence[str]) -> Collection[str]:
        """Those of the trigger_ids that rows which count are a replay of."""
        rows = self._query(
            f"SELECT DISTINCT replay_of FROM {self.names.log.sql} WHERE {self._counts} AND epoch >= :first "
            "AND array_contains(from_json(:ids, 'ARRAY<STRING>'), replay_of)",
            {
                "consumer": consumer,
                "ids": json.dumps(ids),
                "first": min(int(trigger_id[:12], 16) for trigger_id in ids),
            },
        )
        return {r["replay_of"] for r in rows}

    def _log_rows(self, statement: str, bound: Mapping[str, Any]) -> list[LogRow]:
        return [read_log_row(r) for r in self._pages(statement, bound) if r["status"] in _STATUSES]

    def _pages(self, statement: str, bound: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The rows of a statement by `trigger_id`, all of one trigger_id in one page."""
        last = "-"  # before all hexadecimal digits, and after the empty text
        while True:
            page = self._query(
                f"SELECT * FROM ({statement}) WHERE coalesce(trigger_id, '.') > :last "
                f"ORDER BY coalesce(trigger_id, '.') LIMIT {_PAGE}",
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
            last = whole[-1]["trigger_id"] or "."

    def append(self, rows: Iterable[LogRow]) -> None:
        """Append rows to the trigger log, in as few statements as their size allows."""
        columns = ", ".join(c.name for c in WRITTEN)
        for chunk in chunks([write_log_row(row) for row in rows]):
            self._query(
                f"INSERT INTO {self.names.log.sql} ({columns}, recorded_at) "
                f"SELECT {columns}, current_timestamp() "
                f"FROM (SELECT inline(from_json(:rows, 'ARRAY<STRUCT<{SCHEMA}>>')))",
                {"rows": chunk},
            )

    def statuses(self, claims: Mapping[str, int]) -> list[tuple[str, Status, str | None]]:
        """Claim, status and trigger_id of every row of some claims, given with their epochs, as the table
        has them: what is read back."""
        rows = self._query(
            f"SELECT claim_id, status, trigger_id FROM {self.names.log.sql} "
            "WHERE epoch >= :first AND epoch <= :last "
            "AND array_contains(from_json(:claims, 'ARRAY<STRING>'), claim_id)",
            {"first": min(claims.values()), "last": max(claims.values()), "claims": json.dumps(list(claims))},
        )
        return [
            (r["claim_id"], Status(r["status"]), r["trigger_id"]) for r in rows if r["status"] in _STATUSES
        ]

    def swap(self, row: Consumer, claim_id: str, cursor: Mapping[str, int]) -> bool:
        """Try once to take the next epoch. True: it was taken. False: the row itself can tell; read it."""
        changed = self._query(
            f"UPDATE {self.names.consumers.sql} SET epoch = :next, claim_id = :claim_id, "
            "cursor = from_json(:cursor, 'MAP<STRING,BIGINT>'), next_due = current_timestamp() "
            "WHERE consumer = :consumer AND epoch = :epoch",
            {
                "next": row.epoch + 1,
                "claim_id": claim_id,
                "cursor": json.dumps(dict(cursor)),
                "consumer": row.consumer,
                "epoch": row.epoch,
            },
        )
        return len(changed) == 1 and changed[0].get("num_affected_rows") == 1

    def settle(
        self, consumer: str, epoch: int, next_due: datetime | None, open_from: int, at: datetime
    ) -> None:
        """Set when to look again and from where, unless another claim has been won since; `at` is when this
        look began."""
        statement, parameters = (
            f"UPDATE {self.names.consumers.sql} SET next_due = CAST(:next_due AS TIMESTAMP), "
            "open_from = :open_from, updated_at = CAST(:at AS TIMESTAMP) "
            "WHERE consumer = :consumer AND epoch = :epoch",
            {
                "next_due": next_due.isoformat() if next_due else None,
                "open_from": open_from,
                "at": at.isoformat(),
                "consumer": consumer,
                "epoch": epoch,
            },
        )
        _repeated(lambda: self._query(statement, parameters))

    def look_by(self, consumer: str, due: datetime) -> None:
        """Let an operator look at what is open at `due` or earlier. One that is looking now may set a later
        time: then it is seen with what arrives next."""
        _repeated(
            lambda: self._query(
                f"UPDATE {self.names.consumers.sql} SET next_due = least(next_due, CAST(:due AS TIMESTAMP)) "
                "WHERE consumer = :consumer",
                {"due": due.isoformat(), "consumer": consumer},
            )
        )


def ask_consumers(names: Names) -> tuple[str, dict[str, Any]]:
    """The statement that reads all consumers, by the warehouse's clock, and its parameters."""
    return (
        "SELECT *, coalesce(next_due <= current_timestamp(), false) AS overdue, current_timestamp() AS now "
        f"FROM {names.consumers.sql}",
        {},
    )


def ask_consumer(names: Names, consumer: str) -> tuple[str, dict[str, Any]]:
    """The same of one consumer."""
    statement, _ = ask_consumers(names)
    return f"{statement} WHERE consumer = :consumer", {"consumer": consumer}


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
        row["updated_at"],
    )


def _quoted(statuses: Iterable[Status]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


def _repeated(statement: Callable[[], object]) -> None:
    """Execute a statement that other consumers' changes of the same small table may conflict with."""
    Retrying(
        stop=stop_after_attempt(5),
        wait=wait_random_exponential(max=4),
        retry=retry_if_exception(lambda error: getattr(error, "retryable", False)),
        reraise=True,
    )(statement)
