"""The stream job's entry: the same file runs as a notebook and as a Python task."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import SparkSession

from databricks_file_arrivals.core.errors import BadInput
from file_arrivals_stream.options import CLOUD_FILES, PARAMETERS, StreamSettings
from file_arrivals_stream.spark_sql import current_session
from file_arrivals_stream.stream import run_stream

PACKAGE = "file_arrivals_stream"


def run_job(arguments: Sequence[str], spark: SparkSession | None = None, dbutils: Any = None) -> None:
    """Run the stream with `--name=value` arguments or, when there are none, with the notebook's widgets."""
    log_to_output()
    spark = spark or current_session()
    dbutils = dbutils or find_dbutils(spark)
    parameters = job_parameters(arguments, dbutils)

    def secret(scope: str, key: str) -> str:
        if dbutils is None:
            raise BadInput("There is no dbutils here, and so no secrets.")
        return str(dbutils.secrets.get(scope=scope, key=key))

    run_stream(spark, StreamSettings.read(parameters, secret), dbutils)


def log_to_output() -> None:
    """Let this package's log lines show in the run's output. The root logger, Py4J's too, stays as it is."""
    logger = logging.getLogger(PACKAGE)
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False


def find_dbutils(spark: SparkSession) -> Any:
    """Databricks' dbutils, or None outside of Databricks."""
    try:
        from pyspark.dbutils import DBUtils  # type: ignore[import-not-found]  # of Databricks' own PySpark
    except ImportError:
        return None
    return DBUtils(spark)


def job_parameters(arguments: Sequence[str], dbutils: Any) -> dict[str, str]:
    """The parameters of this run: its arguments if it has any of ours, else its widgets."""
    # A notebook's kernel has arguments of its own, which begin with a file or with -f.
    if arguments and arguments[0].startswith("--"):
        return parse_arguments(arguments)
    if dbutils is None:
        raise BadInput("There are neither arguments nor widgets. Pass --monitored_directory=... and so on.")
    return widget_values(dbutils.widgets)


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """`--name=value` or `--name value`, as a dictionary. Raises BadInput for a name that is not known."""
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.removeprefix("--").partition("=")
        name = name.replace("cloudFiles.", CLOUD_FILES, 1)
        if not argument.startswith("--") or not _known(name):
            # What is not a name may be a value, and values are not shown.
            shown = f"--{name}" if argument.startswith("--") else "An argument without a name"
            raise BadInput(f"{shown} is not a parameter of the stream. Known: {_listed()}.")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise BadInput(f"--{name} has no value. Write --{name}=VALUE.")
            value = following
        found[name] = value
    return found


def widget_values(widgets: Any) -> dict[str, str]:
    """The values of the notebook's widgets, which are made if they are not there."""
    for name in PARAMETERS:
        widgets.text(name, "")
    found = {name: str(widgets.get(name)) for name in PARAMETERS}
    # Only getAll tells of widgets that are not known by name; older runtimes do not have it.
    further: Mapping[str, Any] = widgets.getAll() if hasattr(widgets, "getAll") else {}
    return found | {name: str(value) for name, value in further.items() if _known(name)}


def _known(name: str) -> bool:
    return name in PARAMETERS or (name.startswith(CLOUD_FILES) and name != CLOUD_FILES)


def _listed() -> str:
    return ", ".join([*PARAMETERS, f"{CLOUD_FILES}..."])
