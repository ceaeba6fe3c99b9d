"""Numbers reach a StatsD server under their names. Those of a real task are in test_telling."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from databricks_file_arrivals import metrics
from databricks_file_arrivals.core.outcomes import LogRow, Status
from tests.airflow_versions import start_stats

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A StatsD server that Airflow is told to use; afterwards it uses none."""
    pytest.importorskip("statsd", reason="Airflow sends to StatsD with its extra statsd only")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(bound.getsockname()[1]))
        start_stats()
        yield bound
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
        start_stats()


def row(status: Status, **changes: Any) -> LogRow:
    return LogRow(status=status, consumer="default", claim_id="c", epoch=3, **changes)


def accepted(**changes: Any) -> LogRow:
    times = {"first_arrival_at": NOON, "job_trigger_time": NOON + timedelta(seconds=2.5)}
    return row(Status.TRIGGERED, **{"attempt": 1, **times, **changes})


def test_each_number_has_its_name(server: socket.socket) -> None:
    outcomes = [
        accepted(),
        row(Status.COALESCED),
        row(Status.UNMAPPED),
        row(Status.INACTIVE),
        row(Status.ERROR),
    ]
    metrics.record(outcomes, 12, "default", timedelta(seconds=7))
    with metrics.poll_time("main.ingest.file_log"):
        pass
    told = [server.recv(1024).decode() for _ in range(8)]
    assert told.pop().startswith("airflow.file_arrivals.poll_time:0.")
    assert told == [
        "airflow.file_arrivals.arrivals:12|c",
        "airflow.file_arrivals.starts:1|c",
        "airflow.file_arrivals.coalesced:1|c",
        "airflow.file_arrivals.unmapped:2|c",
        "airflow.file_arrivals.errors:1|c",
        "airflow.file_arrivals.lag:2500.000000|ms",
        "airflow.file_arrivals.stream_lag:7000.000000|ms",
    ]


def test_lag_is_that_of_first_runs_only() -> None:
    others = [
        accepted(attempt=2),
        accepted(replay_of="x"),
        accepted(first_arrival_at=None),
        row(Status.SUCCEEDED, first_arrival_at=NOON, job_trigger_time=NOON),
    ]
    assert metrics.lags([*others, accepted()]) == [2500.0]
