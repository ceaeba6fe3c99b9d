"""What a measurement leaves behind: a table to read and a JSON file to quote."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("apache-airflow", "apache-airflow-providers-databricks", "pyspark", "delta-spark")


def publish(name: str, title: str, rows: Sequence[Mapping[str, Any]], **facts: Any) -> None:
    """Print the rows, each a mapping of heading to value, and write them with `facts` and the machine."""
    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, justify="left" if isinstance(rows[0][heading], str) else "right")
    for row in rows:
        table.add_row(*("" if value is None else f"{value:,}" if type(value) is int else str(value)
                        for value in row.values()))  # fmt: skip
    Console(width=120).print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {"bench": name, **facts, "machine": machine(), "rows": [dict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "processors": os.cpu_count(),
        "load_before": round(_LOAD, 1),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


_LOAD = os.getloadavg()[0]  # as it is before the measurement begins: others may use the machine
