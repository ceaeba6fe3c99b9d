"""Other DAGs are told of each directory once, by a URI that Airflow takes and that is the same for all who
write it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.asset_events import (
    LONGEST_URI,
    RUNS_NAMED,
    asset_events,
    asset_uri,
    sanitize_uri,
)
from databricks_file_arrivals.core.errors import BadInput, BadTableName
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.core.paths import canonical

LOG = "main.ingest.file_log"


def row(status: Status, directory: str | None = "/in/a", **changes: Any) -> LogRow:
    columns: dict[str, Any] = {"claim_id": "c", "epoch": 3, "rule_id": "r1", "file_count": 2, "attempt": 1}
    return LogRow(status=status, consumer="default", directory=directory, **{**columns, **changes})


@pytest.mark.parametrize(
    ("directory", "uri"),
    [
        ("/in/orders", "file-arrivals://main.ingest.file_log/in/orders"),
        ("dbfs:/in//orders/", "file-arrivals://main.ingest.file_log/in/orders"),
        ("s3://b/new orders", "file-arrivals://main.ingest.file_log/s3%3A//b/new%20orders"),
        ("/in/a?b#c%20d", "file-arrivals://main.ingest.file_log/in/a%3Fb%23c%2520d"),
        ("/größe", "file-arrivals://main.ingest.file_log/gr%C3%B6%C3%9Fe"),
        ("/", "file-arrivals://main.ingest.file_log/"),
    ],
)
def test_a_directory_has_one_uri(directory: str, uri: str) -> None:
    assert asset_uri(LOG, directory) == asset_uri("`Main`.ingest.FILE_LOG", directory) == uri


@pytest.mark.parametrize("directory", ["", "orders", "orders/eu"])
def test_a_relative_directory_has_none(directory: str) -> None:
    with pytest.raises(BadInput, match="with its root"):
        asset_uri(LOG, directory)


def test_what_is_no_table_has_none() -> None:
    with pytest.raises(BadTableName):
        asset_uri("main ingest", "/in")


directories = st.text(st.characters(exclude_categories=["Cs"]), max_size=600).map(lambda text: f"/{text}")


@given(directories, directories)
def test_a_uri_is_ascii_short_enough_and_of_one_directory(one: str, other: str) -> None:
    uris = {canonical(d): asset_uri(LOG, d) for d in (one, other)}
    for directory, uri in uris.items():
        assert uri.isascii() and len(uri) <= LONGEST_URI
        if "~" not in uri:
            assert canonical(unquote(urlsplit(uri).path)) == canonical("/" + directory.lstrip("/"))
    assert len(set(uris.values())) == len(uris)


def test_long_ones_that_differ_at_their_end_differ() -> None:
    long = "/" + "ö" * 800
    assert len({asset_uri(LOG, long + "a"), asset_uri(LOG, long + "b"), asset_uri(LOG, long)}) == 3
    assert len(asset_uri(LOG, long)) <= LONGEST_URI


def test_the_sanitizer_takes_what_is_made_here_and_nothing_else() -> None:
    made = urlsplit(asset_uri(LOG, "s3://b/x"))
    assert sanitize_uri(made) is made
    with pytest.raises(ValueError, match="arrived_in"):
        sanitize_uri(urlsplit("file-arrivals:///in/orders"))


def test_one_event_for_each_directory_with_its_counts() -> None:
    rows = [
        row(Status.TRIGGERED, started_run_id=9, total_bytes=20),
        row(Status.ERROR, rule_id="r2", total_bytes=20),
        row(Status.TRIGGERED, stream_id="s2", started_run_id=4, file_count=5, total_bytes=50, epoch=4),
        row(Status.COALESCED, "/in/b"),
    ]
    (first, a), (second, b) = asset_events(rows)
    assert (first, second) == ("/in/a", "/in/b")
    assert a == {
        "directory": "/in/a",
        "consumer": "default",
        "epoch": 4,
        "error": 1,
        "triggered": 2,
        "files": 7,  # both workflows of the directory are told the first two
        "bytes": 70,
        "run_ids": "4,9",
        "runs": 2,
    }
    assert b["coalesced"] == 1 and not {"triggered", "error"} & set(b)


def test_no_status_is_called_as_another_part_of_an_event() -> None:
    ((_, extra),) = asset_events([row(Status.TRIGGERED)])
    assert {status.value.lower() for status in Status} & set(extra) == {"triggered"}


def test_run_ids_are_few() -> None:
    ((_, extra),) = asset_events(row(Status.TRIGGERED, started_run_id=n, rule_id=str(n)) for n in range(50))
    assert (len(extra["run_ids"].split(",")), extra["runs"]) == (RUNS_NAMED, 50)


@pytest.mark.parametrize(
    "silent",
    [
        row(Status.HELD),
        row(Status.UNMAPPED),
        row(Status.DRY_RUN),
        row(Status.SUCCEEDED),
        row(Status.OVERDUE, file_count=None),
        row(Status.TRIGGERED, attempt=2),
        row(Status.CLAIMED, None),
    ],
)
def test_what_tells_of_no_new_files_is_no_event(silent: LogRow) -> None:
    assert asset_events([silent]) == []
