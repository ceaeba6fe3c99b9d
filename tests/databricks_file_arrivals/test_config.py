"""What a deployment sets counts, and what it leaves is the option's default."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.config_options import MOST_ASSET_EVENTS, OPTIONS, STARTS_PER_SECOND


def test_defaults_count_until_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__FILE_ARRIVALS__LINGER")
    assert {o.name: number(o) for o in OPTIONS} == {o.name: o.default for o in OPTIONS}
    monkeypatch.setenv("AIRFLOW__FILE_ARRIVALS__STARTS_PER_SECOND", "2.5")
    monkeypatch.setenv("AIRFLOW__FILE_ARRIVALS__MOST_ASSET_EVENTS", "7")
    assert (number(STARTS_PER_SECOND), number(MOST_ASSET_EVENTS)) == (2.5, 7)
