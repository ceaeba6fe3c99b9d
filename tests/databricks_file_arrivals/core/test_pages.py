"""People are sent to pages that are there, or nowhere."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.pages import job_page, run_page, table_page

HOST = "https://w.example"


def test_pages_of_a_job_and_its_run() -> None:
    assert job_page(HOST, 7) == "https://w.example/jobs/7"
    assert run_page(HOST, 7, 9) == "https://w.example/jobs/7/runs/9"


def test_without_a_host_a_job_or_a_run_there_is_no_page() -> None:
    assert [job_page("", 7), job_page(HOST, None), run_page("", 7, 9), run_page(HOST, 7, None)] == [""] * 4
    assert run_page(HOST, None, 9) == ""


@pytest.mark.parametrize(
    ("table", "page"),
    [
        ("main.ingest.file_log", "https://w.example/explore/data/main/ingest/file_log"),
        ("`main`.in-gest.größe", "https://w.example/explore/data/main/in-gest/gr%C3%B6%C3%9Fe"),
        ("ingest.file_log", ""),
        ("file_log", ""),
        ("a.b.c.d", ""),
        ("", ""),
    ],
)
def test_a_table_has_a_page_where_its_catalog_is_known(table: str, page: str) -> None:
    assert table_page(HOST, table) == page
    assert table_page("", table) == ""
