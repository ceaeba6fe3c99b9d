"""What tests have to say differently to the supported versions of Airflow. The product's own differences are
in compat.py."""

from __future__ import annotations

import importlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import airflow

VERSION = tuple(int(part) for part in airflow.__version__.split(".")[:2])
"""Major and minor: what pytest.mark.skipif compares, with the reason why a feature is not there."""


def load_dags(file: Path) -> dict[str, Any]:
    """The DAGs of a file by their ids, found as Airflow finds them; import errors fail the test."""
    bag = _dag_bag()(str(file))
    assert not bag.import_errors, bag.import_errors
    return dict(bag.dags)


def load_dag(file: Path) -> Any:
    """The one DAG of a file."""
    (dag,) = load_dags(file).values()
    return dag


def _dag_bag() -> Any:
    # It moved in 3.2.
    place = "airflow.dag_processing.dagbag" if VERSION >= (3, 2) else "airflow.models.dagbag"
    return importlib.import_module(place).DagBag


def run_dag(dag: Any, **given: Any) -> Any:
    """Run a DAG whole, in this process: its DAG run, ended. `given` is what `dag.test` takes in all
    versions."""
    date = "logical_date" if VERSION >= (3, 0) else "execution_date"
    return dag.test(**{date: datetime.now(timezone.utc)}, **given)
