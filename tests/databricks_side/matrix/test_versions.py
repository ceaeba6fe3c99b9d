"""The matrix covers what setup.cfg promises, and a name chooses what it says."""

from __future__ import annotations

import configparser
import re

import pytest
from demo.processes import DemoError
from demo.stage import REPOSITORY
from matrix.versions import VERSIONS, chosen


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_floors_of_setup_cfg_are_tried() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    floors = dict(re.findall(r"^(\S+)>=(\S+)$", setup["options"]["install_requires"], re.MULTILINE))
    lowest = min(VERSIONS, key=lambda version: numbers(version.airflow))
    assert lowest.airflow.startswith(floors["apache-airflow"])
    provider = min((version.databricks for version in VERSIONS), key=numbers)
    assert provider.startswith(floors["apache-airflow-providers-databricks"])


def test_each_minor_release_is_there_and_three_run_whole() -> None:
    assert {version.airflow.rpartition(".")[0] for version in VERSIONS} == {
        "2.11",
        "3.0",
        "3.1",
        "3.2",
        "3.3",
    }
    assert [version.airflow for version in VERSIONS if version.end_to_end] == ["2.11.2", "3.0.6", "3.3.1"]


def test_a_name_chooses_all_that_begin_with_it() -> None:
    assert [version.airflow for version in chosen(["2.11", "3.3.1"])] == ["2.11.0", "2.11.2", "3.3.1"]
    assert chosen([]) == list(VERSIONS)
    with pytest.raises(DemoError, match=r"3\.30: not in the matrix"):
        chosen(["3.3", "3.30"])


def test_the_docs_name_these_versions() -> None:
    text = (REPOSITORY / "docs" / "install.md").read_text()
    table = re.findall(r"^\| (\d[\d.]+) \| (3\.\d+) \| (\d[\d.]+) \| (\w+) \|$", text, re.MULTILINE)
    assert table == [(v.airflow, v.python, v.databricks, v.where) for v in VERSIONS]
