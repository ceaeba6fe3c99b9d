"""What tests have to say differently to the supported versions of Airflow. The product's own differences are
in compat.py."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import pytest

from databricks_file_arrivals.compat import Stats

try:
    from airflow.sdk import BaseNotifier as BaseNotifier
except ImportError:  # Airflow 2
    from airflow.notifications.basenotifier import (  # type: ignore[import-not-found,no-redef]  # the same
        BaseNotifier as BaseNotifier,
    )

VERSION = tuple(int(part) for part in airflow.__version__.split(".")[:2])
"""Major and minor: what pytest.mark.skipif compares, with the reason why a feature is not there."""

STOCK = tuple(
    int(part) for part in importlib.metadata.version("apache-airflow-providers-databricks").split(".")[:2]
)
"""The same of the stock Databricks provider."""


listened = pytest.mark.skipif(
    importlib.util.find_spec("airflow.providers.openlineage") is None,
    reason="the OpenLineage provider is not installed with this Airflow",
)

NO_ANSWER: Any = SimpleNamespace(error=SimpleNamespace(value="API_SERVER_ERROR"), detail={"status_code": 500})
"""What an AirflowRuntimeError of 3.0 holds, when the API server does not answer. On Airflow 2 the class is
only there to be imported."""


def load_dags(file: Path) -> dict[str, Any]:
    """The DAGs of a file by their ids, found as Airflow finds them; import errors fail the test."""
    bag = _dag_bag()(str(file))
    assert not bag.import_errors, bag.import_errors
    return dict(bag.dags)


def load_dag(file: Path) -> Any:
    """The one DAG of a file."""
    (dag,) = load_dags(file).values()
    return dag


def store_dags(file: Path) -> None:
    """Let Airflow know all DAGs of a file. `dag.test` does that itself since 3.1."""
    if VERSION < (3, 0):
        _dag_bag()(str(file)).sync_to_db()
    elif VERSION < (3, 1):
        bundles = importlib.import_module("airflow.dag_processing.bundles.manager")
        bundles.DagBundlesManager().sync_bundles_to_db()
        _dag_bag()(str(file)).sync_to_db("written", None)  # the bundle of DAG_FOLDERS


def _dag_bag() -> Any:
    # It moved in 3.2.
    place = "airflow.dag_processing.dagbag" if VERSION >= (3, 2) else "airflow.models.dagbag"
    return importlib.import_module(place).DagBag


def run_dag(dag: Any, **given: Any) -> Any:
    """Run a DAG whole, in this process: its DAG run, ended. `given` is what `dag.test` takes in all
    versions."""
    date = "logical_date" if VERSION >= (3, 0) else "execution_date"
    if VERSION == (3, 0):
        _begin_tries_anew()
    return dag.test(**{date: datetime.now(timezone.utc)}, **given)


def _begin_tries_anew() -> None:
    """Let `dag.test` forget what a task waited for when it is tried again. 3.0 does not, whoever runs the
    task; what compat.py does about it goes by what `dag.test` of 3.0 leaves out of a resumed task."""
    place = importlib.import_module("airflow.sdk.definitions.dag")
    run_task = place._run_task
    if hasattr(run_task, "original"):
        return
    tries: dict[Any, int] = {}

    def run(*, ti: Any, **given: Any) -> Any:
        key = (*ti.key.primary, ti.map_index)
        if tries.setdefault(key, ti.try_number) != ti.try_number:
            tries[key] = ti.try_number
            ti.clear_next_method_args()
        return run_task(ti=ti, **given)

    run.original = run_task  # type: ignore[attr-defined]  # a mark
    place._run_task = run  # type: ignore[attr-defined]  # there it is


TIMES_PRINTED = 2 if VERSION < (3, 1) else 1
"""How often `dag.test` prints each line of a task's log."""


def stored(dag: Any) -> Any:
    """A DAG as the scheduler and the web pages have it."""
    place = importlib.import_module("airflow.serialization.serialized_objects")
    kind = place.DagSerialization if VERSION >= (3, 2) else place.SerializedDAG
    return kind.from_dict(kind.to_dict(dag))


def asset_tables() -> tuple[Any, Any]:
    """Where Airflow keeps the events of assets, and which DAGs are due for them."""
    if VERSION >= (3, 0):
        place = importlib.import_module("airflow.models.asset")
        return place.AssetEvent, place.AssetDagRunQueue
    place = importlib.import_module("airflow.models.dataset")
    return place.DatasetEvent, place.DatasetDagRunQueue


def outlet_events() -> Any:
    """What a task's context has under this name."""
    place = "airflow.sdk.execution_time.context" if VERSION >= (3, 0) else "airflow.utils.context"
    return importlib.import_module(place).OutletEventAccessors()


def told_by_alias(events: Any) -> dict[str, list[str]]:
    """The URIs that each alias was told of."""
    if VERSION >= (3, 0):
        return {key.name: [e.dest_asset_key.uri for e in events[key].asset_alias_events] for key in events}
    accessors = events._dict.values()  # its keys are a form of the aliases that it does not take itself
    return {a.raw_key.name: [e["dest_dataset_uri"] for e in a.dataset_alias_events] for a in accessors}


def start_stats() -> None:
    """Let Airflow's stats follow its configuration as it is now; they read it once."""
    if VERSION >= (3, 2):
        utils = importlib.import_module("airflow.sdk.observability.metrics.stats_utils")
        place = importlib.import_module("airflow.sdk.observability.stats")
        if VERSION >= (3, 3):
            place.initialize(factory=utils.get_stats_factory(), export_legacy_names=True)
        else:
            place.Stats.initialize(factory=utils.get_stats_factory(place.Stats))
        return
    both: tuple[Any, Any] = Stats, type(Stats)
    stats, kind = both
    stats.instance = kind.instance = None  # some versions keep the one, some the other
    del kind.factory
    kind.__init__(Stats)
