"""Patterns mean what they mean to Spark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql.connect.session import SparkSession

from local_workspace.globs import GlobError, glob_pattern

NAMES = [
    *(
        "a.csv",
        "b.csv",
        "ab.csv",
        "a.json",
        "A.CSV",
        "x{y}.csv",
        "a,b.csv",
        "[a].csv",
        "^.csv",
        "-.csv",
        "a+.csv",
    ),
    *("é.csv", "].csv"),
]
PATTERNS = [
    *("*.csv", "?.csv", "a*", "*", "a.csv", "[ab].csv", "[^a].csv", "[a-c]*.csv", "[a^].csv", "[\\-a].csv"),
    *("*.{csv,json}", "{a,b}.csv", "{a,{b,ab}}.*", "x\\{y\\}.csv", "\\[a\\].csv", "a,b.csv", "a+.csv"),
    *("?+.csv", "[a\\]].csv"),
]


def matching(glob: str) -> set[str]:
    return {name for name in NAMES if re.fullmatch(glob_pattern(glob), name, re.DOTALL)}


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.{csv,json}", set(NAMES) - {"A.CSV"}),
        ("[^a].csv", {"b.csv", "^.csv", "-.csv", "é.csv", "].csv"}),
        ("a.csv", {"a.csv"}),
        ("x\\{y\\}.csv", {"x{y}.csv"}),
        ("a,b.csv", {"a,b.csv"}),
    ],
)
def test_patterns(glob: str, expected: set[str]) -> None:
    assert matching(glob) == expected


def test_as_spark_does(spark: SparkSession, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text("x")
    for glob in PATTERNS:
        files = spark.read.format("binaryFile").option("pathGlobFilter", glob).load(str(tmp_path))
        assert matching(glob) == {row.path.rpartition("/")[2] for row in files.select("path").collect()}, glob


@pytest.mark.parametrize("glob", ["[a", "{a,b", "a\\", "[", "[^"])
def test_unclosed(glob: str) -> None:
    with pytest.raises(GlobError, match="The pattern"):
        glob_pattern(glob)


def test_a_newline_in_a_name() -> None:
    assert re.fullmatch(glob_pattern("a*.csv"), "a\nb.csv", re.DOTALL)
