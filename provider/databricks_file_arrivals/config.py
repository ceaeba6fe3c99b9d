"""Airflow's configuration, read when a task runs: an option may be a secret's or a command's."""

from __future__ import annotations

from databricks_file_arrivals.compat import conf
from databricks_file_arrivals.core.config_options import SECTION, Option


def number(option: Option) -> float:
    """What the deployment says, or the option's default."""
    if option.whole:
        return float(conf.getint(SECTION, option.name, fallback=int(option.default)))
    return float(conf.getfloat(SECTION, option.name, fallback=option.default))
