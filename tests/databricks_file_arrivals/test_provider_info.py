"""Airflow can read what the provider says of itself, and it is true."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import json
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager

from databricks_file_arrivals import __version__
from databricks_file_arrivals.compat import Asset
from databricks_file_arrivals.core.asset_events import SCHEME
from databricks_file_arrivals.core.config_options import OPTIONS, SECTION
from databricks_file_arrivals.operators import (
    PlanRequestsOperator,
    RunWorkflowOperator,
    TriggerWorkflowsOperator,
)
from databricks_file_arrivals.provider_info import get_provider_info
from databricks_file_arrivals.replays import ReplayOperator
from tests.airflow_versions import VERSION

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
        assert f"databricks_file_arrivals.{kind}" in group["python-modules"]
        assert all(importlib.util.find_spec(module) is not None for module in group["python-modules"])


def test_all_that_it_names_can_be_imported() -> None:
    info = get_provider_info()
    (uris,) = info["asset-uris"]
    for path in (*info["extra-links"], uris["handler"]):
        module, name = path.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name)), path
    assert info["dataset-uris"] == info["asset-uris"]


def test_all_links_of_the_operators_are_registered() -> None:
    named = {
        f"{type(link).__module__}.{type(link).__name__}"
        for kind in (TriggerWorkflowsOperator, PlanRequestsOperator, RunWorkflowOperator, ReplayOperator)
        for link in kind.operator_extra_links
    }
    assert set(get_provider_info()["extra-links"]) == named


def test_airflow_lists_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the provider says, not with what the code falls back to."""
    monkeypatch.delenv("AIRFLOW__FILE_ARRIVALS__LINGER")
    if VERSION < (3, 2):  # there it takes only those that were looked for before
        ProvidersManager().initialize_providers_configuration()  # type: ignore[no-untyped-call]  # stock
    conf.load_providers_configuration()
    for option in OPTIONS:
        assert conf.getfloat(SECTION, option.name) == option.default
        assert conf.get_default_value(SECTION, option.name) == str(option.default)


def test_airflow_takes_its_assets_through_its_sanitizer() -> None:
    refuses = pytest.raises(ValueError, match="arrived_in")
    with refuses if VERSION >= (3, 0) else pytest.warns(UserWarning, match="arrived_in"):
        Asset(uri=f"{SCHEME}:///no-log")


def test_it_brings_no_connection_type() -> None:
    assert not {"connection-types", "hook-class-names"} & set(get_provider_info())
