"""Airflow can read what the provider says of itself, and it is true."""

from __future__ import annotations

import configparser
import importlib.util
import json
from pathlib import Path

import airflow
import jsonschema

from databricks_file_arrivals import __version__
from databricks_file_arrivals.provider_info import get_provider_info

REPOSITORY = Path(__file__).resolve().parents[2]


def test_airflow_accepts_it() -> None:
    schema = json.loads(Path(airflow.__file__).with_name("provider_info.schema.json").read_text("utf-8"))
    jsonschema.validate(get_provider_info(), schema)


def test_name_and_version_are_those_of_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    info = get_provider_info()
    assert info["package-name"] == setup["metadata"]["name"]
    assert info["versions"] == [__version__]


def test_the_modules_that_it_names_are_there() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        (group,) = info[kind]
        assert group["python-modules"] == [f"databricks_file_arrivals.{kind}"]
        assert importlib.util.find_spec(group["python-modules"][0]) is not None


def test_it_brings_no_connection_type() -> None:
    assert not {"connection-types", "hook-class-names"} & set(get_provider_info())
