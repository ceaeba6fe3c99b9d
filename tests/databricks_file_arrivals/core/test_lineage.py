"""Directories, tables and jobs have the names that other tools give them, and no event grows without end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from databricks_file_arrivals.core.lineage import (
    EVENT_REQUESTS,
    Directory,
    Name,
    chunked,
    directories,
    directory_name,
    facet,
    job_name,
    jobs,
    table_name,
)
from databricks_file_arrivals.core.outcomes import LogRow, Status


def row(status: Status = Status.TRIGGERED, directory: str | None = "/in/a", **changes: Any) -> LogRow:
    return LogRow(status=status, consumer="default", claim_id="c", epoch=3, directory=directory, **changes)


@pytest.mark.parametrize(
    ("directory", "namespace", "name"),
    [
        ("s3://bucket/in/orders", "s3://bucket", "in/orders"),
        ("s3a://bucket/in", "s3://bucket", "in"),
        ("s3://bucket", "s3://bucket", "/"),
        ("gs://bucket/x", "gs://bucket", "x"),
        ("abfss://c@a.dfs.core.windows.net/x/y", "abfss://c@a.dfs.core.windows.net", "x/y"),
        ("wasbs://c@a.blob.core.windows.net/x", "wasbs://c@a.blob.core.windows.net", "x"),
        ("/Volumes/main/ingest/landing/orders", "dbfs://w.example", "/Volumes/main/ingest/landing/orders"),
        ("/mnt/in", "dbfs://w.example", "/mnt/in"),
    ],
)
def test_directories_are_named_by_their_storage(directory: str, namespace: str, name: str) -> None:
    assert directory_name(directory, "w.example") == Name(namespace, name)


def test_the_workspace_names_tables_and_jobs() -> None:
    assert table_name("main.a.b", "w.example") == Name("databricks://w.example", "main.a.b")
    assert job_name(7, "w.example") == Name("databricks://w.example", "jobs/7")
    assert directory_name("/in", "") == Name("file", "/in")


def test_several_workflows_of_a_directory_are_told_the_same_files() -> None:
    told = [
        row(rule_id="r1", file_count=2, total_bytes=20),
        row(rule_id="r1", file_count=3, total_bytes=30, stream_id="s2"),
        row(rule_id="r2", file_count=2, total_bytes=20),
        row(Status.DRY_RUN, "/in/dry", file_count=1),
        row(Status.CLAIMED, None),
    ]
    assert directories(told) == {"/in/a": Directory(5, 50)}


def test_jobs_are_those_that_were_started() -> None:
    told = [row(job_id=7, workflow_name="load", started_run_id=1), row(Status.ERROR, job_id=8)]
    assert jobs(told) == {7: "load"}


def test_a_large_claim_takes_several_small_events_and_says_what_it_leaves_out() -> None:
    rows = [
        row(directory=f"/in/{'x' * 200}/{n:05}", trigger_id=f"{n:064x}", workflow_name="load " * 10)
        for n in range(3 * EVENT_REQUESTS)
    ]
    chunks = chunked(rows, 2)
    assert [len(told) for told in chunks] == [EVENT_REQUESTS] * 2
    assert chunks[0][0].directory == rows[0].directory
    content = facet("main.a.b", "default", rows, chunks[0], EVENT_REQUESTS)
    assert content["counts"] == {"triggered": 3 * EVENT_REQUESTS}
    assert (len(content["requests"]), content["requestsLeftOut"]) == (EVENT_REQUESTS, EVENT_REQUESTS)
    assert len(json.dumps(content)) < 150_000


def test_who_decided_nothing_says_so_in_one_event() -> None:
    assert chunked([], 10) == [[]]
    assert facet("main.a.b", "default", [], [], 0)["epoch"] is None
