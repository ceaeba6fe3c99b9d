"""Names, statements and views: quoted, complete, and saying what the design says."""

from __future__ import annotations

import re
import uuid
from dataclasses import fields

import pytest

from databricks_file_arrivals.core.errors import BadTableName
from databricks_file_arrivals.core.outcomes import LogRow, Status, trigger_id
from databricks_file_arrivals.core.tables import MAPPING, TRIGGER_LOG, Names, TableName, like, wanted_file
from tests.airflow_side import Log


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("main.ingest.file_log", "`main`.`ingest`.`file_log`"),
        (" `main`. `in-gest`.log ", "`main`.`in-gest`.`log`"),
        ("ingest.log", "`ingest`.`log`"),
        ("log", "`log`"),
        ("main.ingest.größe", "`main`.`ingest`.`größe`"),
    ],
)
def test_a_name_is_quoted(text: str, sql: str) -> None:
    name = TableName.parse(text)
    assert name.sql == sql
    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("a..b", "one of its parts is empty"),
        ("a.b.", "one of its parts is empty"),
        ("a.b.c.d", "more than three parts"),
        ("a; DROP TABLE b", "';' cannot stand in a name"),
        ("a b", "' ' cannot stand in a name"),
        ("a`b", "'`' cannot stand in a name"),
        ("a'--", '"\'" cannot stand in a name'),
        ("a\nb", r"'\\n' cannot stand in a name"),
        ("${var.table}", r"'\$' cannot stand in a name"),
    ],
)
def test_what_is_no_name_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BadTableName, match=rf"{reason}.*Write catalog\.schema\.table"):
        TableName.parse(text)


def test_all_names_derive_from_the_logs() -> None:
    names = Names.of("main.ingest.file_log", "main.ref.mapping")
    assert [str(name) for name, _ in names.tables()] == [
        "main.ingest.file_log_arrivals",
        "main.ingest.file_log_streams",
        "main.ingest.file_log",
        "main.ingest.file_log_consumers",
    ]
    assert str(names.arrived_files) == "main.ingest.file_log_arrived_files"
    assert str(names.mapping) == "main.ref.mapping"


def test_the_logs_columns_are_a_rows_fields() -> None:
    assert {column.name for column in TRIGGER_LOG.columns} == {field.name for field in fields(LogRow)}


def test_the_seeds_columns_come_first() -> None:
    assert [c.name for c in MAPPING.columns if not c.optional] == [
        *("directory", "workflow_name", "active_ind", "last_change_user", "last_updated_ts")
    ]
    assert [c.name for c in TRIGGER_LOG.columns[:5]] == [
        *("directory", "table_name", "workflow_name", "run_id", "job_trigger_time")
    ]


NAMES = ("a.csv", "ab.csv", "A.csv", "a%b", "a_b", "axb", "back\\slash", "new\nline", "q'\"", "東京", "")


def meant(name: str, pattern: str) -> bool:
    """What a pattern means: `*` any text, `?` any one character, all else itself."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c) or re.escape(c) for c in pattern), name, re.DOTALL) is not None


def test_patterns_are_no_more_than_stars_and_question_marks(log: Log) -> None:
    patterns = ("*.csv", "?.csv", "a%b", "a_b", "*\\*", "*\n*", "q'\"", "??", "*", "", "[a]*", "東?")
    rows = ", ".join(f"(:n{i}, :p{j})" for i in range(len(NAMES)) for j in range(len(patterns)))
    values = {f"n{i}": n for i, n in enumerate(NAMES)} | {f"p{j}": p for j, p in enumerate(patterns)}
    found = log.hook.query(
        f"SELECT name, pattern, name LIKE {like('pattern')} AS hit FROM VALUES {rows} AS t(name, pattern)",
        values,
    )
    assert len(found) == len(NAMES) * len(patterns)
    wrong = [(r["name"], r["pattern"]) for r in found if r["hit"] != meant(r["name"], r["pattern"])]
    assert wrong == []


def test_a_file_is_wanted_by_its_name_alone(log: Log) -> None:
    """Directories do not matter, and neither pattern is needed."""
    found = log.hook.query(
        f"""SELECT path FROM VALUES ('/x.csv/a.json'), ('/in/b.csv'), ('/in/tmp.csv') AS a(path) CROSS JOIN (
  SELECT '*.csv' AS file_pattern, array('tmp*', 'x') AS excluded_patterns) r WHERE {wanted_file("a", "r")}"""
    )
    assert [row["path"] for row in found] == ["/in/b.csv"]
    every = log.hook.query(
        f"""SELECT path FROM VALUES ('/in/b.csv') AS a(path) CROSS JOIN (
  SELECT CAST(NULL AS STRING) AS file_pattern, CAST(NULL AS ARRAY<STRING>) AS excluded_patterns) r
  WHERE {wanted_file("a", "r")}"""
    )
    assert len(every) == 1


COLUMNS = (
    "directory",
    "rule_id",
    "stream_id",
    "from_batch",
    "to_batch",
    "attempt",
    "trigger_id",
    "file_count",
)


def record(log: Log, consumer: str, *rows: tuple[str, int, Status, dict[str, object]]) -> None:
    """Append rows to the trigger log in one commit: claim, epoch, status, and what else they have."""
    values: dict[str, object] = {"consumer": consumer}
    lines = []
    for n, (claim, epoch, status, more) in enumerate(rows):
        row = {"claim_id": claim, "epoch": epoch, "status": str(status), "file_count": 1, **more}
        names = ("claim_id", "epoch", "status", *COLUMNS)
        values |= {f"{name}{n}": row[name] for name in names if name in row}
        lines.append(", ".join([":consumer", *(f":{name}{n}" if name in row else "NULL" for name in names)]))
    log.hook.query(
        f"INSERT INTO {log.names.log.sql} (consumer, claim_id, epoch, status, {', '.join(COLUMNS)}) "
        f"VALUES ({'), ('.join(lines)})",
        values,
    )


def seen(log: Log, view: str, consumer: str, *columns: str) -> list[tuple[object, ...]]:
    rows = log.hook.query(
        f"SELECT {', '.join(columns)} FROM {log.names.log.derive(view).sql} "
        "WHERE consumer = :consumer ORDER BY ALL",
        {"consumer": consumer},
    )
    return [tuple(row.values()) for row in rows]


def test_latest_is_the_state_of_each_request(log: Log) -> None:
    """Highest attempt, then highest rank; rows of claims that were never won count for nothing."""
    name = f"latest-{uuid.uuid4().hex[:8]}"
    a: dict[str, object] = {
        "directory": "/a",
        "rule_id": "r",
        "stream_id": "s",
        "from_batch": 0,
        "to_batch": 1,
    }
    b = a | {"directory": "/b"}
    record(
        log,
        name,
        ("won", 1, Status.TRIGGERED, a | {"attempt": 1}),
        ("won", 1, Status.PLANNED, a | {"attempt": 1}),
        ("won", 1, Status.ERROR, a | {"attempt": 1}),
        ("won", 1, Status.PLANNED, a | {"attempt": 1}),
        ("won", 1, Status.NOT_RUN, b | {"attempt": 1}),
        ("won", 1, Status.PLANNED, b | {"attempt": 2}),
        ("void", 1, Status.PLANNED, a | {"attempt": 9}),
    )
    assert seen(log, "_latest", name, "status") == [], "no claim of these was won yet"
    record(log, name, ("won", 1, Status.CLAIMED, {}))
    assert seen(log, "_latest", name, "directory", "status", "attempt") == [
        ("/a", "TRIGGERED", 1),
        ("/b", "PLANNED", 2),
    ]


def test_held_is_what_the_newest_epoch_of_a_key_holds(log: Log) -> None:
    name = f"held-{uuid.uuid4().hex[:8]}"
    key: dict[str, object] = {"rule_id": "r", "stream_id": "s"}
    decided = [
        ("/kept", 1, Status.HELD, 1),
        ("/replaced", 1, Status.HELD, 1),
        ("/replaced", 2, Status.HELD, 5),
        ("/ended", 1, Status.HELD, 1),
        ("/ended", 2, Status.PLANNED, 1),
        ("/overdue", 1, Status.HELD, 2),
        ("/overdue", 3, Status.OVERDUE, 0),
    ]
    record(
        log,
        name,
        *((f"c{epoch}", epoch, Status.CLAIMED, {}) for epoch in (1, 2, 3)),
        *(
            (f"c{epoch}", epoch, status, key | {"directory": d, "to_batch": epoch, "file_count": count})
            for d, epoch, status, count in decided
        ),
    )
    assert seen(log, "_held", name, "directory", "file_count") == [
        ("/kept", 1),
        ("/overdue", 2),
        ("/replaced", 5),
    ]
    assert seen(log, "_latest", name, "directory", "status", "file_count") == [
        ("/ended", "PLANNED", 1),
        ("/kept", "HELD", 1),
        ("/overdue", "HELD", 2),
        ("/overdue", "OVERDUE", 0),
        ("/replaced", "HELD", 5),
    ], "a hold that was replaced or ended is no request any more"


def test_lag_is_what_waits_for_each_consumer(log: Log) -> None:
    stream = log.land({"/in/lag": 2})
    log.land({"/in/lag": 3}, stream)
    log.hook.query(
        f"INSERT INTO {log.names.streams.sql} (stream_id, root, checkpoint) VALUES (:stream, '/in', '/c')",
        {"stream": stream},
    )
    behind, ahead = f"behind-{stream}", f"ahead-{stream}"
    log.ledger.make_consumer(behind, "earliest")
    log.ledger.make_consumer(ahead, "latest")
    columns = ("stream_id", "claimed_batch", "newest_waiting_batch", "waiting_files")
    assert (stream, None, 1, 5) in seen(log, "_lag", behind, *columns)
    assert (stream, 1, None, 0) in seen(log, "_lag", ahead, *columns)


def test_unmapped_is_what_no_rule_meant(log: Log) -> None:
    name = f"unmapped-{uuid.uuid4().hex[:8]}"
    row = LogRow(status=Status.UNMAPPED, consumer=name, claim_id="c", epoch=1, directory="/u")
    identity = {"directory": "/u", "trigger_id": trigger_id(row, 1), "attempt": 1}
    record(log, name, ("c", 1, Status.UNMAPPED, identity), ("c", 1, Status.CLAIMED, {}))
    assert seen(log, "_unmapped", name, "directory", "file_count") == [("/u", 1)]
