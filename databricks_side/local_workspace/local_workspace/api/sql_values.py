"""SQL parameters in, SQL results out: the statement API's strings and Spark's types."""

import datetime
import decimal
import json
import re
from typing import TYPE_CHECKING, Any

from local_workspace.api.errors import InvalidParameter

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructType

# Milliseconds, as Databricks writes them; whoever needs microseconds casts to STRING in the statement.
_TIMESTAMP = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"
_TIMESTAMP_NTZ = "yyyy-MM-dd'T'HH:mm:ss.SSS"
_SCALARS = {
    "string": "string", "boolean": "boolean", "tinyint": "byte", "byte": "byte", "smallint": "short",
    "short": "short", "int": "integer", "integer": "integer", "bigint": "long", "long": "long", 
    "float": "float", "real": "float", "double": "double", "date": "date", "timestamp": "timestamp",
    "timestamp_ltz": "timestamp", "timestamp_ntz": "timestamp_ntz", "binary": "binary", "void": "void",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:decimal|dec|numeric)(?:\s*\(\s*(\d{1,2})\s*(?:,\s*(\d{1,2})\s*)?\))?")
_TYPE_NAMES = {
    "tinyint": "BYTE", "smallint": "SHORT", "int": "INT", "bigint": "LONG", "void": "NULL",
    "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip
_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


class ParameterError(Exception):
    """Raised when a parameter's text is no value of its type: the statement fails, the call does not."""


def check_parameter(given: Any) -> dict[str, Any]:
    """A parameter of the request, checked as far as the call depends on it."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
        raise InvalidParameter("Each of parameters has to be an object with a name.")
    if unknown := set(given) - {"name", "value", "type"}:
        raise InvalidParameter(f"Parameter {given['name']!r} has an unknown field {min(unknown)!r}.")
    type_name = given.get("type") or "STRING"
    if not isinstance(type_name, str) or _json_type(type_name) is None:
        raise InvalidParameter(
            f"Parameter {given['name']!r}: {type_name!r} is not a type that a parameter can have."
        )
    value = given.get("value")
    if value is not None and not isinstance(value, str):
        raise InvalidParameter(f"The value of parameter {given['name']!r} has to be a string or null.")
    return {"name": given["name"], "type": type_name, "value": value}


def _json_type(type_name: str) -> str | None:
    """A scalar type as Spark's JSON names it; None for any other type."""
    name = type_name.strip().lower()
    if match := _DECIMAL.fullmatch(name):
        return f"decimal({match[1] or 10},{match[2] or 0})"
    return _SCALARS.get(name)


def bound(parameters: list[dict[str, Any]]) -> "dict[str, Column]":
    """The parameters as typed literals for `spark.sql`."""
    return {parameter["name"]: _literal(parameter) for parameter in parameters}


def _literal(parameter: dict[str, Any]) -> "Column":
    from pyspark.sql.connect.column import Column
    from pyspark.sql.connect.expressions import LiteralExpression
    from pyspark.sql.types import _parse_datatype_json_string

    data_type = _parse_datatype_json_string(json.dumps(_json_type(parameter["type"])))
    text = parameter["value"]
    try:
        value = None if text is None else _parsed(text, data_type.typeName())
        return Column(LiteralExpression(value, data_type))
    except (ValueError, ArithmeticError, AssertionError) as error:
        raise ParameterError(
            f"[CAST_INVALID_INPUT] The value of parameter {parameter['name']!r} is no {parameter['type']}: "
            f"{text!r}"
        ) from error


def _parsed(text: str, type_name: str) -> Any:
    if type_name in ("byte", "short", "integer", "long"):
        return int(text)
    if type_name in ("float", "double"):
        return float(text)
    if type_name == "decimal":
        return decimal.Decimal(text)
    if type_name == "boolean":
        return _boolean(text)
    if type_name == "date":
        return datetime.date.fromisoformat(text)
    if type_name.startswith("timestamp"):
        return _timestamp(text, with_zone=type_name == "timestamp")
    return text.encode() if type_name == "binary" else text


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(text)


def _timestamp(text: str, with_zone: bool) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(text)
    if not with_zone:
        return value.replace(tzinfo=None)
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


def columns(schema: "StructType") -> list[dict[str, Any]]:
    """The columns of a result as the manifest describes them."""
    described = []
    for position, field in enumerate(schema.fields):
        text = field.dataType.simpleString()
        name = text.split("(")[0].split("<")[0].split(" ")[0]
        column: dict[str, Any] = {
            "name": field.name,
            "type_text": text if "<" in text else text.upper(),
            "type_name": _TYPE_NAMES.get(name, name.upper()),
            "position": position,
        }
        if "<" in text:
            column["type_text"] = _upper_types(field.dataType)
        if name == "decimal":
            precision, scale = text.removeprefix("decimal(").rstrip(")").split(",")
            column.update(type_precision=int(precision), type_scale=int(scale))
        described.append(column)
    return described


def _upper_types(data_type: "DataType") -> str:
    """The type in Databricks' spelling: words in capitals, names of fields as they are."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    if isinstance(data_type, ArrayType):
        return f"ARRAY<{_upper_types(data_type.elementType)}>"
    if isinstance(data_type, MapType):
        return f"MAP<{_upper_types(data_type.keyType)}, {_upper_types(data_type.valueType)}>"
    if isinstance(data_type, StructType):
        fields = (f"{field.name}: {_upper_types(field.dataType)}" for field in data_type.fields)
        return f"STRUCT<{', '.join(fields)}>"
    return data_type.simpleString().upper()


def as_strings(frame: "DataFrame", schema: "StructType") -> "DataFrame":
    """The frame with each column written as the statement API writes it; the words are Spark's own."""
    if not schema.fields:
        return frame
    unique = frame.toDF(*(f"c{position}" for position in range(len(schema.fields))))  # names may stand twice
    return unique.select(
        *(_text(f"c{position}", field.dataType) for position, field in enumerate(schema.fields))
    )


def _text(name: str, data_type: "DataType") -> "Column":
    from pyspark.sql.connect import functions as F

    column, kind = F.col(name), data_type.typeName()
    if kind == "timestamp":
        text = F.date_format(column, _TIMESTAMP)
    elif kind == "timestamp_ntz":
        text = F.date_format(column, _TIMESTAMP_NTZ)
    elif kind == "binary":
        text = F.base64(column)
    elif kind in ("array", "map", "struct", "variant"):
        text = F.to_json(column, {"ignoreNullFields": "false"})
    else:
        text = column.cast("string")
    return text.alias(name)
