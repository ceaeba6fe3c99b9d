"""Parameters and columns of statements. That Spark takes and writes them so is tested in test_statements."""

from typing import Any

import pytest

from local_workspace.api.errors import InvalidParameter
from local_workspace.api.sql_values import ParameterError, bound, check_parameter, columns


@pytest.mark.parametrize(
    "kind", ["STRING", "int", "DECIMAL", "DECIMAL(10, 2)", "Timestamp_NTZ", "BIGINT", None]
)
def test_scalar_types_are_taken(kind: str | None) -> None:
    assert check_parameter({"name": "a", "type": kind, "value": "1"})["type"] == (kind or "STRING")


@pytest.mark.parametrize(
    "given",
    [
        "a", {}, {"name": ""}, {"name": "a", "value": 1}, {"name": "a", "type": "ARRAY<INT>"},
        {"name": "a", "type": 1}, {"name": "a", "type": "STRING; DROP"}, {"name": "a", "more": 1},
    ],
)  # fmt: skip
def test_others_are_refused(given: Any) -> None:
    with pytest.raises(InvalidParameter):
        check_parameter(given)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT", "x"),
        ("INT", "1.5"),
        ("BOOLEAN", "maybe"),
        ("DATE", "2024-02-30"),
        ("TIMESTAMP", "noon"),
        ("DECIMAL", "x"),
    ],
)
def test_a_value_that_is_none_of_its_type_is_an_error(kind: str, value: str) -> None:
    with pytest.raises(ParameterError, match="CAST_INVALID_INPUT"):
        bound([{"name": "a", "type": kind, "value": value}])


def test_columns_are_described_in_the_words_of_databricks() -> None:
    from pyspark.sql import types as t

    schema = t.StructType(
        [
            t.StructField("a", t.LongType()),
            t.StructField("b", t.DecimalType(12, 3)),
            t.StructField("c", t.ArrayType(t.StructType([t.StructField("Inner", t.ShortType())]))),
            t.StructField("a", t.TimestampNTZType()),
        ]
    )
    assert columns(schema) == [
        {"name": "a", "type_text": "BIGINT", "type_name": "LONG", "position": 0},
        {
            "name": "b", "type_text": "DECIMAL(12,3)", "type_name": "DECIMAL", "position": 1,
            "type_precision": 12, "type_scale": 3,
        },
        {"name": "c", "type_text": "ARRAY<STRUCT<Inner: SMALLINT>>", "type_name": "ARRAY", "position": 2},
        {"name": "a", "type_text": "TIMESTAMP_NTZ", "type_name": "TIMESTAMP", "position": 3},
    ]  # fmt: skip
