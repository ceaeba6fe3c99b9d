"""Asset events are added to the aliases that an operator has, and their number has a limit that is told."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest
from airflow import DAG

from databricks_file_arrivals.compat import Asset, AssetAlias
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.outlets import announce, arrived_in
from tests.airflow_versions import outlet_events, told_by_alias

LOG = "main.ingest.file_log"


def rows(count: int, status: Status = Status.TRIGGERED) -> list[LogRow]:
    return [
        LogRow(status=status, consumer="c", claim_id="i", epoch=1, directory=f"/in/{n}", file_count=1)
        for n in range(count)
    ]


def told(outlets: list[object], found: list[LogRow], **options: bool) -> dict[str, list[str]]:
    """The URIs that each alias was told of."""
    context: Any = {"outlet_events": outlet_events()}
    announce(context, outlets, LOG, found, **options)
    return told_by_alias(context["outlet_events"])


def test_a_dag_is_scheduled_on_a_directory_by_the_uri_of_its_events() -> None:
    asset = arrived_in(LOG, "s3://bucket/new orders/")
    assert asset.uri == "file-arrivals://main.ingest.file_log/s3%3A//bucket/new%20orders"
    assert DAG("on_files", schedule=[asset], start_date=datetime(2026, 1, 1)).timetable is not None
    assert Asset(uri=asset.uri).uri == asset.uri, "Airflow's own form is the same"
    with pytest.raises(BadInput):
        arrived_in(LOG, "orders")


def test_each_alias_is_told_and_nothing_else() -> None:
    uris = ["file-arrivals://main.ingest.file_log/in/0", "file-arrivals://main.ingest.file_log/in/1"]
    assert told([AssetAlias("a"), Asset("other"), AssetAlias("b")], rows(2)) == {"a": uris, "b": uris}
    assert told([Asset("other")], rows(2)) == {}


def test_runs_that_were_awaited_are_told_of_at_their_end() -> None:
    ended = rows(1, Status.SUCCEEDED)
    assert told([AssetAlias("a")], ended) == {}
    assert len(told([AssetAlias("a")], ended, awaited=True)["a"]) == 1


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AIRFLOW__FILE_ARRIVALS__MOST_ASSET_EVENTS", "3")
    with caplog.at_level(logging.WARNING, logger="databricks_file_arrivals"):
        assert len(told([AssetAlias("a")], rows(5))["a"]) == 3
    assert "3 directories have an asset event, and 2 have none, from /in/3 on" in caplog.text
