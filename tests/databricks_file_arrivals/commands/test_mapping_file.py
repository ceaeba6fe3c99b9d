"""Files of rows are read as the table has them, and bad ones are told with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from databricks_file_arrivals.commands.mapping_file import read
from databricks_file_arrivals.core.errors import BadInput

YAML = """\
# where files come from
- directory: /in/a
  workflow_name: load a
  settle_seconds: 300
  parameters: {source: "{directory}", n: 5, on: true}
- {directory: b, workflow_name: load b, active_ind: N, file_pattern: "*.csv", owner: ""}
"""
CSV = """\
directory,workflow_name,active_ind,file_pattern,settle_seconds,parameters,owner
/in/a,load a,,,300,"{""source"": ""{directory}"", ""n"": 5, ""on"": true}",

b,load b,N,*.csv
"""
ROWS = [
    {
        "directory": "/in/a",
        "workflow_name": "load a",
        "active_ind": "Y",
        "settle_seconds": 300,
        "parameters": {"source": "{directory}", "n": "5", "on": "true"},
    },
    {"directory": "b", "workflow_name": "load b", "active_ind": "N", "file_pattern": "*.csv"},
]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.yml", YAML), ("m.yaml", YAML), ("m.csv", CSV), ("bom.csv", "\ufeff" + CSV)],
)
def test_yaml_and_csv_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    # YAML reads a bare `on` as true: names of parameters are quoted there.
    assert read(write(tmp_path, name, text.replace(" on: true", ' "on": true'))) == ROWS


def test_no_rows_have_to_be_said(tmp_path: Path) -> None:
    assert read(write(tmp_path, "m.yml", "[]")) == []
    with pytest.raises(BadInput, match=r"\[\] is none"):
        read(write(tmp_path, "m.yml", ""))
    with pytest.raises(BadInput, match="name the columns"):
        read(write(tmp_path, "m.csv", ""))


GOOD = "- {directory: /in/a, workflow_name: w}\n"


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("m.yml", GOOD + "- {directory: /in/b}\n", 2, "workflow_name is null"),
        ("m.yml", GOOD + "\n- {directory: /in/b, workflow_name: w, min_files: -1}\n", 3, "min_files is -1"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow_name: w, min_files: some}\n", 2, "whole number"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow_name: w, when_queued: now}\n", 2, "when_queued"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow: w}\n", 2, "workflow is no column"),
        ("m.yml", GOOD + "- {directory: /in/b, last_change_user: me}\n", 2, "is set when"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow_name: 5}\n", 2, "put it in quotes"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow_name: w, parameters: x}\n", 2, "not JSON"),
        ("m.yml", GOOD + "- {directory: /in/b, workflow_name: w, parameters: {a: }}\n", 2, "parameter a"),
        (
            "m.yml",
            GOOD + "- {directory: /in/b, workflow_name: w, parameters: {trigger_id: x}}\n",
            2,
            "is set by",
        ),
        ("m.yml", GOOD + "- {directory: file:/in/a/, workflow_name: w}\n", 2, "on line 1"),
        ("m.yml", GOOD + "- {directory: /in/b, directory: /in/c}\n", 2, "directory stands twice"),
        ("m.yml", GOOD + "- just text\n", 2, "a row is columns"),
        ("m.yml", GOOD + "- {directory: [\n", 3, ""),
        ("m.csv", "directory,workflow_name\n/in/a,w\n/in/b,\n", 3, "workflow_name is null"),
        ("m.csv", 'directory,workflow_name,owner\n/in/a,w,"two\nlines"\n/in/b,,\n', 4, "workflow_name"),
        ("m.csv", "directory,workflow_name\n/in/a,w,x\n", 2, "3 cells"),
        ("m.csv", 'directory,workflow_name\n"/in/a,w\n', 2, "unexpected end"),
    ],
)
def test_bad_rows_are_told_with_their_line(
    tmp_path: Path, name: str, text: str, line: int, words: str
) -> None:
    with pytest.raises(BadInput) as told:
        read(write(tmp_path, name, text))
    assert f"{name}:{line}: " in str(told.value) and words in str(told.value)


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as told:
        read(write(tmp_path, "m.yml", "- {directory: /in/a}\n- {workflow_name: w}\n"))
    assert "m.yml:1:" in str(told.value) and "m.yml:2:" in str(told.value)
    assert "Nothing was changed" in str(told.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither"):
        read(write(tmp_path, "m.json", "[]"))
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path / "missing.yml")
