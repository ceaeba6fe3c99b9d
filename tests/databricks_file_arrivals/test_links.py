"""A task leaves pages where its links look for them, and none where there is none. What the UI makes of them
is in test_telling."""

from __future__ import annotations

from typing import Any

import pytest

from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.links import (
    DatabricksJobLink,
    DatabricksRunLink,
    TriggerLogLink,
    link_log,
    link_run,
)

STARTED = LogRow(status=Status.TRIGGERED, consumer="c", claim_id="i", epoch=1, job_id=7, started_run_id=9)


class Left:
    """What a task instance was given to keep."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.kept[key] = value


@pytest.mark.parametrize(
    ("workspace", "table", "kept"),
    [
        ("https://w", "main.ingest.log", {"trigger_log_page": "https://w/explore/data/main/ingest/log"}),
        ("https://w", "ingest.log", {}),
        ("", "main.ingest.log", {}),
    ],
)
def test_the_page_of_the_log(workspace: str, table: str, kept: dict[str, str]) -> None:
    left = Left()
    link_log({"ti": left}, workspace, table)  # type: ignore[typeddict-item]  # all that it asks of a task
    assert left.kept == kept


def test_the_pages_of_a_run() -> None:
    left = Left()
    link_run({"ti": left}, "https://w", STARTED)  # type: ignore[typeddict-item]  # the same
    assert left.kept == {
        DatabricksRunLink().xcom_key: "https://w/jobs/7/runs/9",
        DatabricksJobLink().xcom_key: "https://w/jobs/7",
    }


def test_each_link_has_a_name_and_a_key_of_its_own() -> None:
    links = (DatabricksRunLink(), DatabricksJobLink(), TriggerLogLink())
    assert len({link.name for link in links}) == len({link.xcom_key for link in links}) == 3
