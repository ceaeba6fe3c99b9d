"""SQL statements: accepted, run on threads of their own, their results kept for an hour."""

import logging
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_workspace.api import affected_rows, sql_values
from local_workspace.api.errors import DoesNotExist, PermissionDenied
from local_workspace.api.principals import Principal
from local_workspace.api.spark_sessions import SparkSessions, engine_lost, error_text
from local_workspace.state import now_ms

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

log = logging.getLogger(__name__)

MAX_INLINE_BYTES = 25 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
KEEP_RESULTS_SECONDS = 3600.0
CONCURRENT = 8
INTERRUPT_SECONDS = 0.1
MOST_TOLD = 10_000

Row = list[str | None]


@dataclass(frozen=True, slots=True)
class StatementRequest:
    """What a client asks to be run."""

    statement: str
    parameters: list[dict[str, Any]] = field(default_factory=list)
    schema: str | None = None
    row_limit: int | None = None
    byte_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a statement that succeeded."""

    columns: list[dict[str, Any]]
    chunks: list[list[Row]]
    truncated: bool


@dataclass(slots=True)
class Statement:
    """A statement and what became of it. Fields change under `lock` only, and the state goes forward only."""

    statement_id: str
    owner: str
    request: StatementRequest
    state: str = "PENDING"
    result: Result | None = None
    error: dict[str, str] | None = None
    sql_state: str | None = None
    ended_at: float | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    session: "SparkSession | None" = None
    done: "Future[None]" = field(default_factory=Future)
    left: threading.Event = field(
        default_factory=threading.Event
    )  # its thread has nothing to do with it any more
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, session: "SparkSession") -> bool:
        """Mark it running, unless it was cancelled before."""
        with self.lock:
            if self.state != "PENDING":
                return False
            self.state, self.session, self.started_ms = "RUNNING", session, now_ms()
            return True

    def end(self, state: str, result: Result | None = None, error: dict[str, str] | None = None) -> None:
        """Mark it over; what came first stays."""
        with self.lock:
            if self.ended_at is not None:
                return
            self.state, self.result, self.error = state, result, error
            self.ended_at, self.ended_ms, self.session = time.monotonic(), now_ms(), None
        self.done.set_result(None)


class ResultTooLarge(Exception):
    """Raised when an inline result has more than 25 MiB and the client gave no byte_limit."""


class Statements:
    """The statements of this process; a statement of an earlier process is unknown."""

    def __init__(self, folder: Path, sessions: SparkSessions) -> None:
        self._folder = folder
        self._sessions = sessions
        self._threads = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="statement")
        self._statements: dict[str, Statement] = {}

    def submit(self, caller: Principal, request: StatementRequest, *, held: bool = False) -> Statement:
        """Accept a statement; `done` of the answer tells when it is over. A held one waits for `begin`."""
        self._forget_old()
        statement = Statement(str(uuid.uuid4()), caller.name, request)
        statement.done.set_running_or_notify_cancel()  # who stops waiting for it does not cancel it
        self._statements[statement.statement_id] = statement
        if not held:
            self.begin(statement)
        return statement

    def begin(self, statement: Statement) -> None:
        """Let a statement have its turn; one that was cancelled meanwhile does not run."""
        self._threads.submit(self._run, statement)

    def find(self, caller: Principal, statement_id: str) -> Statement:
        """A statement of the caller's own."""
        statement = self._statements.get(statement_id)
        if statement is None:
            raise DoesNotExist(f"The statement {statement_id} was not found.")
        if statement.owner != caller.name and not caller.is_admin:
            raise PermissionDenied(f"User {caller.name} did not run the statement {statement_id}.")
        return statement

    def busy(self, principal: str | None, since: int) -> list[dict[str, Any]]:
        """When the warehouse was at work, by statement: the newest that did not end before `since`."""
        begun = [
            {
                "statement_id": each.statement_id,
                "principal": each.owner,
                "started_at": each.started_ms,
                "ended_at": each.ended_ms,
            }
            for each in list(self._statements.values())
            if each.started_ms is not None
            and (each.ended_ms is None or each.ended_ms >= since)
            and principal in (None, each.owner)
        ]
        return begun[-MOST_TOLD:]

    def cancel(self, statement: Statement) -> None:
        """Stop a statement that is not over; its state is CANCELED from now on."""
        session = statement.session
        statement.end("CANCELED")
        if session is not None:
            threading.Thread(target=_interrupt, args=(statement, session), daemon=True).start()

    def stop(self) -> None:
        """Cancel what runs, and take no more."""
        for statement in list(self._statements.values()):
            if statement.ended_at is None:
                self.cancel(statement)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget_old(self) -> None:
        """Drop the rows of results that nobody has fetched for an hour: the statement is then CLOSED."""
        limit = time.monotonic() - KEEP_RESULTS_SECONDS
        for statement in list(self._statements.values()):
            if statement.ended_at is not None and statement.ended_at < limit and statement.result is not None:
                statement.state, statement.result = "CLOSED", None

    def _run(self, statement: Statement) -> None:
        from pyspark.errors import PySparkException

        try:
            with self._sessions.one() as spark:
                try:
                    if statement.begin(spark):
                        statement.end("SUCCEEDED", self._execute(spark, statement))
                finally:
                    statement.left.set()
        except PySparkException as error:
            statement.sql_state = error.getSqlState()
            code = "TEMPORARILY_UNAVAILABLE" if engine_lost(error) else "BAD_REQUEST"
            statement.end("FAILED", error={"error_code": code, "message": error_text(error)})
        except (sql_values.ParameterError, ResultTooLarge) as error:
            statement.end("FAILED", error={"error_code": "BAD_REQUEST", "message": str(error)})
        except Exception as error:
            # A thread of the pool has nobody above it: without this the client would wait for ever.
            log.exception("statement %s", statement.statement_id)
            statement.end(
                "FAILED",
                error={"error_code": "INTERNAL_ERROR", "message": f"{type(error).__name__}: {error}"},
            )

    def _execute(self, spark: "SparkSession", statement: Statement) -> Result:
        request = statement.request
        if request.schema is not None:
            spark.catalog.setCurrentDatabase(request.schema)
        values = {parameter["name"]: parameter["value"] for parameter in request.parameters}
        target = affected_rows.insert_target(request.statement, values)
        mark = f"statement {statement.statement_id}"
        if target is not None:
            spark.conf.set(affected_rows.MARK_SETTING, mark)
        frame = spark.sql(request.statement, sql_values.bound(request.parameters) or None)
        if target is not None:
            return _insert_result(affected_rows.inserted_rows(spark, self._folder, target, mark))
        schema = frame.schema
        if request.row_limit is not None:
            frame = frame.limit(request.row_limit + 1)
        return _collected(sql_values.as_strings(frame, schema), schema, request)


def _interrupt(statement: Statement, session: "SparkSession") -> None:
    """Interrupt what runs until nothing does: an interrupt that comes before the operation begins is lost."""
    from pyspark.errors import PySparkException

    while not statement.left.wait(INTERRUPT_SECONDS):
        try:
            session.interruptAll()
        except PySparkException as error:
            # The session was released meanwhile, or the engine is gone: then nothing of it runs any more.
            log.info("statement %s: %s", statement.statement_id, error_text(error))
            return


def _insert_result(count: int | None) -> Result:
    from pyspark.sql.types import LongType, StructType

    schema = StructType()
    for name in affected_rows.COLUMNS:
        schema.add(name, LongType())
    text = None if count is None else str(count)
    return Result(sql_values.columns(schema), [[[text, text]]], False)


def _collected(frame: Any, schema: "StructType", request: StatementRequest) -> Result:
    """The rows in chunks, as far as the limits allow; nothing beyond them is held in memory."""
    described = sql_values.columns(schema)
    chunks: list[list[Row]] = []
    total = in_chunk = count = 0
    for row in frame.toLocalIterator() if schema.fields else ():
        if count == request.row_limit:
            return Result(described, chunks, True)
        size = sum(len(value.encode()) for value in row if value is not None) + 4 * len(row)
        total += size
        if request.byte_limit is not None and total > request.byte_limit:
            return Result(described, chunks, True)
        if total > MAX_INLINE_BYTES:
            raise ResultTooLarge(
                "Inline byte limit exceeded. Statements executed with disposition=INLINE can have a result "
                f"size of at most {MAX_INLINE_BYTES} bytes. Limit the rows, or give a byte_limit."
            )
        if not chunks or in_chunk + size > CHUNK_BYTES:
            chunks.append([])
            in_chunk = 0
        chunks[-1].append(list(row))
        in_chunk += size
        count += 1
    return Result(described, chunks, False)
