"""The options' defaults are those that the code has."""

from __future__ import annotations

from databricks_file_arrivals.core.config_options import OPTIONS, STARTS_PER_SECOND
from databricks_file_arrivals.workspace import jobs


def test_defaults() -> None:
    assert STARTS_PER_SECOND.default == jobs.STARTS_PER_SECOND
    assert all(option.default == int(option.default) for option in OPTIONS if option.whole)
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
