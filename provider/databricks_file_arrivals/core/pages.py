"""The pages of a workspace that people are sent to."""

from __future__ import annotations

from urllib.parse import quote

from databricks_file_arrivals.core.errors import BadTableName
from databricks_file_arrivals.core.tables import TableName


def job_page(workspace: str, job_id: int | None) -> str:
    """The page of a job; "" where there is none."""
    return f"{workspace}/jobs/{job_id}" if workspace and job_id is not None else ""


def run_page(workspace: str, job_id: int | None, run_id: int | None) -> str:
    """The page of a job's run; "" where there is none."""
    job = job_page(workspace, job_id)
    return f"{job}/runs/{run_id}" if job and run_id is not None else ""


def table_page(workspace: str, table: str) -> str:
    """The page of a table in Catalog Explorer; "" unless its name has a catalog and a schema.

    >>> table_page("https://w.example", "main.ingest.file_log")
    'https://w.example/explore/data/main/ingest/file_log'
    """
    try:
        parts = TableName.parse(table).parts
    except BadTableName:
        return ""
    if not workspace or len(parts) != 3:
        return ""
    return "/".join([workspace, "explore", "data", *(quote(part, safe="") for part in parts)])
