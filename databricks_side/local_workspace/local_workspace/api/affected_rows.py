"""How many rows an INSERT wrote. Databricks tells it as the statement's result, open-source Delta does not.

Each INSERT is run with a mark of its own in Delta's commit metadata; the commit that carries the mark says
how many rows it wrote. So another writer's commit is never counted, and an INSERT of no row, which commits
nothing, counts none.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

MARK_SETTING = "spark.databricks.delta.commitInfo.userMetadata"
COLUMNS = ("num_affected_rows", "num_inserted_rows")
_RECENT_COMMITS = 20
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\s+"""
    r"""|(?P<name>`(?:[^`]|``)*`|[^\W\d]\w*|\d\w*)"""
    r"""|(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<mark>:[^\W\d]\w*)|(?P<other>.)""",
    re.DOTALL,
)


def insert_target(statement: str, parameters: dict[str, Any]) -> str | None:
    """The table that an INSERT writes to, as the statement names it; None for any other statement.

    >>> insert_target("/* x */ insert into table main.a.`b c` values (1)", {})
    'main.a.`b c`'
    """
    tokens = list(_tokens(statement))
    words = [token.upper() for token in tokens]
    begin = _after_into(words)
    if begin is None:
        return None
    if words[begin : begin + 1] == ["TABLE"]:
        begin += 1
    if words[begin : begin + 2] == ["IDENTIFIER", "("]:
        return _named(tokens[begin + 2], parameters)
    end = begin + 1
    while words[end : end + 1] == ["."]:
        end += 2
    return "".join(tokens[begin:end]) or None


def _after_into(words: list[str]) -> int | None:
    """Where the name begins after INSERT … INTO or OVERWRITE, outside of all parentheses."""
    if not words or words[0] not in ("INSERT", "WITH"):
        return None
    depth, inserting = 0, False
    for index, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word == "INSERT":
            inserting = True
        elif depth == 0 and inserting and word in ("INTO", "OVERWRITE"):
            return index + 1
    return None


def _tokens(statement: str) -> Iterator[str]:
    for match in _TOKEN.finditer(statement):
        if match.lastgroup is not None:
            yield match[0]


def _named(token: str, parameters: dict[str, Any]) -> str | None:
    """The name inside IDENTIFIER(…), where it is a literal or a parameter."""
    if token.startswith(":"):
        value = parameters.get(token[1:])
        return None if value is None else str(value)
    return token[1:-1] if token[:1] in "'\"" else None


def inserted_rows(spark: "SparkSession", folder: Path, target: str, mark: str) -> int | None:
    """The rows of the commit that carries the mark, 0 if there is none; None if the table is not Delta."""
    from pyspark.errors import AnalysisException

    metrics = _recent_commit(_likely_log(folder, target), mark)
    if metrics is None:
        try:
            metrics = _history(spark, target, mark)
        except AnalysisException:
            # The rows are written, and only Delta keeps a history that says how many.
            return None
    return int((metrics or {}).get("numOutputRows", 0))


def _likely_log(folder: Path, target: str) -> Path:
    """Where a managed table's log stands. A guess that cannot mislead: only the mark in it is believed."""
    names = [name.strip("`").lower() for name in target.split(".")]
    schema, table = (names[-2] if len(names) > 1 else "default"), names[-1]
    base = folder / "warehouse" if schema == "default" else folder / "warehouse" / f"{schema}.db"
    return base / table / "_delta_log"


def _recent_commit(log: Path, mark: str) -> dict[str, Any] | None:
    for commit in sorted(log.glob("*.json"), reverse=True)[:_RECENT_COMMITS]:
        for line in commit.read_text().splitlines():
            info = json.loads(line).get("commitInfo") if '"commitInfo"' in line else None
            if info is not None and info.get("userMetadata") == mark:
                metrics: dict[str, Any] = info.get("operationMetrics", {})
                return metrics
    return None


def _history(spark: "SparkSession", target: str, mark: str) -> dict[str, Any] | None:
    from pyspark.sql.connect import functions as F

    rows = (
        spark.sql(f"DESCRIBE HISTORY {target}")
        .where(F.col("userMetadata") == mark)
        .select("operationMetrics")
        .limit(1)
        .collect()
    )
    return dict(rows[0][0] or {}) if rows else None
