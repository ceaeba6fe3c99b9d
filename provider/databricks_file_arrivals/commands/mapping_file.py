"""A mapping in a file: rows in YAML or CSV, each with the line that it begins on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.mapping_edit import AUDIT, COLUMNS
from databricks_file_arrivals.core.tables import MAPPING

_NUMBERS = tuple(c.name for c in MAPPING.columns if c.type == "BIGINT")
_ACTIVE = {True: "Y", False: "N"}


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row and where it stands."""

    line: int
    values: Mapping[str, Any]


class _BadRow(Exception):
    """Raised when a row cannot be read; the message says why."""


def read(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a file, all of them good. Raises BadInput, with a line for each row that is not.

    A row has the columns of the mapping table; `active_ind` is Y where it is not said. An empty cell, or a
    column that is not there, is null.
    """
    readers = {".yml": _yaml_rows, ".yaml": _yaml_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path} is neither .yml, .yaml nor .csv.")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    rows, bad = [], []
    for line, found in reader(path, text):
        try:
            rows.append(FileRow(line, _row(found)))
        except _BadRow as error:
            bad.append(f"{path}:{line}: {error}")
    bad += [f"{path}:{row.line}: {problem}" for row in rows if (problem := _problem(row.values))]
    bad += [f"{path}:{line}: {problem}" for line, problem in _twice(rows)]
    if bad:
        raise BadInput("\n  ".join(["Nothing was changed: the file has bad rows.", *bad]))
    return [row.values for row in rows]


def _problem(values: Mapping[str, Any]) -> str:
    """Why a row cannot be used, or ""."""
    return next((problem.reason for problem in WorkflowMapping.read([values]).problems), "")


def _twice(rows: list[FileRow]) -> Iterator[tuple[int, str]]:
    first: dict[tuple[str, str, str], int] = {}
    for row in rows:
        directory = paths.canonical(str(row.values.get("directory") or ""))
        key = (directory, row.values.get("file_pattern") or "", row.values.get("workflow_name") or "")
        if first.setdefault(key, row.line) != row.line:
            yield row.line, f"the same directory, file_pattern and workflow_name as on line {first[key]}"


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the mapping table has it."""
    unknown = [str(name) for name in found if name not in COLUMNS]
    if unknown:
        why = "is set when the file is applied" if unknown[0] in AUDIT else "is no column of a mapping"
        raise _BadRow(f"{unknown[0]} {why}; there are {', '.join(COLUMNS)}")
    row = {name: _value(name, value) for name, value in found.items()}
    row = {name: value for name, value in row.items() if value is not None}
    return {"active_ind": "Y", **row}


def _value(name: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if name in _NUMBERS:
        return _number(name, value)
    if name == "parameters":
        return _parameters(value)
    if name == "active_ind" and isinstance(value, bool):
        return _ACTIVE[value]
    if not isinstance(value, str):
        raise _BadRow(f"{name} is {value!r}, which is not text: put it in quotes")
    return value.strip()


def _number(name: str, value: Any) -> int:
    try:
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            return int(value)
    except ValueError:
        pass
    raise _BadRow(f"{name} is {value!r}, which is not a whole number")


def _parameters(value: Any) -> dict[str, str]:
    """Parameters, as a mapping or as its JSON text; numbers and truth values are written as JSON has them."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise _BadRow(f"parameters is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _BadRow(f"parameters is {value!r}: write names with values")
    texts = {}
    for name, each in value.items():
        if each is None or isinstance(each, (dict, list)):
            raise _BadRow(f"the parameter {name} is {each!r}, which is neither text nor a number")
        if not isinstance(each, (str, bool, int, float)):
            raise _BadRow(f"the parameter {name} is {each!r}: put it in quotes")
        texts[str(name)] = each if isinstance(each, str) else json.dumps(each)
    return texts


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if "directory" not in header:
            raise BadInput(f"{path}:1: the first line has to name the columns, directory among them.")
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(header):
                    raise BadInput(f"{path}:{line}: {len(cells)} cells, and {len(header)} columns are named.")
                yield line, dict(zip(header, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: {error}") from error


def _yaml_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import yaml  # type: ignore[import-untyped]  # its types are a package of their own

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.SequenceNode):
            raise BadInput(f"{path}: write a list of rows, each of them as `- directory: …`; [] is none.")
        for entry in node.value:
            line = entry.start_mark.line + 1
            if not isinstance(entry, yaml.MappingNode):
                raise BadInput(f"{path}:{line}: a row is columns with values, such as `directory: …`.")
            keys = [key.value for key, _ in entry.value]
            doubled = next((key for key in keys if keys.count(key) > 1), None)
            if doubled is not None:
                raise BadInput(f"{path}:{line}: {doubled} stands twice in one row.")
            yield line, loader.construct_mapping(entry, deep=True)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{path}:{line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: {error}") from error
    finally:
        loader.dispose()
