"""Which table an INSERT writes to, and what its commit says."""

import json
from pathlib import Path

import pytest

from local_workspace.api.affected_rows import _likely_log, _recent_commit, insert_target


@pytest.mark.parametrize(
    ("statement", "target"),
    [
        ("INSERT INTO t VALUES (1)", "t"),
        ("insert into table main.a.`b c` (x) select 1", "main.a.`b c`"),
        ("-- INSERT INTO x\n/* and\nmore */ INSERT OVERWRITE a.b SELECT 1", "a.b"),
        ("INSERT WITH SCHEMA EVOLUTION INTO a.b SELECT 1", "a.b"),
        (
            "WITH s AS (SELECT insert('a', 1, 1, 'b')) INSERT INTO main.x.`t``q` SELECT * FROM s",
            "main.x.`t``q`",
        ),
        ("INSERT INTO IDENTIFIER(:t) SELECT 1", "main.p.q"),
        ("INSERT INTO IDENTIFIER('a.b') SELECT 1", "a.b"),
        ("INSERT INTO größe VALUES (1)", "größe"),
        ("WITH s AS (SELECT 1) SELECT insert('a', 1, 1, 'INTO')", None),
        ("SELECT 'INSERT INTO t'", None),
        ("UPDATE t SET a = 1", None),
        ("MERGE INTO t USING s ON true WHEN NOT MATCHED THEN INSERT (a) VALUES (1)", None),
        ("CREATE TABLE t AS SELECT 1", None),
        ("", None),
    ],
)
def test_the_target_of_an_insert(statement: str, target: str | None) -> None:
    assert insert_target(statement, {"t": "main.p.q"}) == target


def test_only_the_commit_with_the_mark_counts(tmp_path: Path) -> None:
    for version, mark in enumerate(["other", "mine", "other"]):
        info = {"commitInfo": {"userMetadata": mark, "operationMetrics": {"numOutputRows": str(version)}}}
        (tmp_path / f"{version:020}.json").write_text('{"protocol": {}}\n' + json.dumps(info))
    assert _recent_commit(tmp_path, "mine") == {"numOutputRows": "1"}
    assert _recent_commit(tmp_path, "nobody") is None
    assert _recent_commit(tmp_path / "missing", "mine") is None


def test_where_the_log_of_a_managed_table_stands(tmp_path: Path) -> None:
    base = tmp_path / "warehouse"
    assert _likely_log(tmp_path, "main.Ingest.`T`") == base / "ingest.db" / "t" / "_delta_log"
    assert _likely_log(tmp_path, "t") == _likely_log(tmp_path, "main.default.t") == base / "t" / "_delta_log"
