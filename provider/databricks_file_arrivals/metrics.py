"""Numbers for Airflow's stats, wherever they are sent: StatsD, Datadog or OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import timedelta

from databricks_file_arrivals.compat import Stats
from databricks_file_arrivals.core.notices import STATUSES, Kind
from databricks_file_arrivals.core.outcomes import LogRow, Status

ARRIVALS = "file_arrivals.arrivals"
LAG = "file_arrivals.lag"
STREAM_LAG = "file_arrivals.stream_lag"
STARTS = "file_arrivals.starts"
COALESCED = "file_arrivals.coalesced"
UNMAPPED = "file_arrivals.unmapped"
ERRORS = "file_arrivals.errors"
POLL_TIME = "file_arrivals.poll_time"

_COUNTED: Mapping[str, frozenset[Status]] = {
    STARTS: frozenset({Status.TRIGGERED}),
    COALESCED: frozenset({Status.COALESCED}),
    UNMAPPED: STATUSES[Kind.UNMAPPED],
    ERRORS: STATUSES[Kind.ERROR],
}


def record(rows: Iterable[LogRow], files: int, consumer: str, stream_lag: timedelta | None = None) -> None:
    """Tell what came of one operator's pass.

    :param rows: the outcomes
    :param files: how many files it claimed that no outcome had before
    :param stream_lag: the longest time from the last change of one of them to its being logged
    """
    rows, tags = list(rows), {"consumer": consumer}
    counts = {name: sum(row.status in statuses for row in rows) for name, statuses in _COUNTED.items()}
    for name, count in {ARRIVALS: files, **counts}.items():
        if count:
            Stats.incr(name, count, tags=tags)
    for milliseconds in lags(rows):
        Stats.timing(LAG, milliseconds, tags=tags)
    if stream_lag is not None:
        Stats.timing(STREAM_LAG, stream_lag.total_seconds() * 1000, tags=tags)


def lags(rows: Iterable[LogRow]) -> list[float]:
    """Milliseconds from the logging of the first file of each request to the acceptance of its first run."""
    return [
        (row.job_trigger_time - row.first_arrival_at).total_seconds() * 1000
        for row in rows
        if row.status is Status.TRIGGERED
        and (row.attempt or 1) == 1
        and row.replay_of is None
        and row.job_trigger_time is not None
        and row.first_arrival_at is not None
    ]


@contextmanager
def poll_time(log_table: str) -> Generator[None]:
    """Tell how long one look for arrivals takes, when it succeeds."""
    begun = time.perf_counter()
    yield
    Stats.timing(POLL_TIME, (time.perf_counter() - begun) * 1000, tags={"log_table": log_table})
