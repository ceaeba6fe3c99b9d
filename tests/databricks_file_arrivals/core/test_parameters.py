"""What a run is told: what its job declares, with placeholders filled in, and never another trigger_id."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from databricks_file_arrivals.core.outcomes import LogRow, Status, trigger_id
from databricks_file_arrivals.core.parameters import PLACEHOLDERS, problem, retold, told

KNOWN = {"trigger_id": "0" * 64, "consumer": "default", "log_table": "log"}
ROW = LogRow(
    status=Status.PLANNED,
    consumer="default",
    claim_id="c1",
    epoch=3,
    directory="/in/{odd} orders",
    table_name="{odd} orders",
    workflow_name="load",
    trigger_id="0" * 64,
    stream_id="s",
    from_batch=1,
    to_batch=2,
    file_count=4,
    total_bytes=5,
    first_arrival_at=datetime(2026, 1, 5, tzinfo=timezone.utc),
)


def test_every_placeholder_is_filled_in() -> None:
    text = "|".join(f"{{{name}}}" for name in PLACEHOLDERS)
    filled = told(ROW, {"p": text}, frozenset({"p"}), {**KNOWN, "log_table": "main.ingest.log"})["p"].split(
        "|"
    )
    assert dict(zip(PLACEHOLDERS, filled, strict=True)) == {
        "directory": "/in/{odd} orders",
        "table_name": "{odd} orders",
        "workflow_name": "load",
        "file_count": "4",
        "total_bytes": "5",
        "file_pattern": "*",
        "first_arrival_at": "2026-01-05T00:00:00+00:00",
        "last_arrival_at": "",
        "stream_id": "s",
        "from_batch": "1",
        "to_batch": "2",
        "consumer": "default",
        "trigger_id": "0" * 64,
        "log_table": "main.ingest.log",
    }


@pytest.mark.parametrize(
    ("text", "as_told"),
    [
        ("{{job.run_id}}", "{{job.run_id}}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{unknown}", "{unknown}"),
        ("{file_count}{file_count}", "44"),
        ("", ""),
    ],
)
def test_other_braces_stay(text: str, as_told: str) -> None:
    assert told(ROW, {"p": text}, frozenset({"p"}), KNOWN) == {"p": as_told}


def test_a_rule_s_own_value_goes_before_the_usual_one_but_never_before_the_identity() -> None:
    own = {"directory": "mine", "trigger_id": "x", "log_table": "x", "undeclared": "x"}
    declared = frozenset({"directory", "file_count", "trigger_id", "log_table"})
    assert told(ROW, own, declared, KNOWN) == {
        "directory": "mine",
        "file_count": "4",
        "trigger_id": "0" * 64,
        "log_table": "log",
    }


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, ""),
        ({"a": "{directory}{{x}}"}, ""),
        ({"a": "{Directory}"}, "unknown placeholder {Directory}"),
        ({"a": None}, "null"),
        ({"log_table": "x"}, "set by this package"),
    ],
)
def test_problems_are_named(parameters: dict[str, str | None], word: str) -> None:
    assert word in problem(parameters) and bool(word) == bool(problem(parameters))


def test_another_attempt_is_told_its_own_identity_wherever_the_old_one_stood() -> None:
    row = replace(ROW, job_parameters={"trigger_id": "0" * 64, "p": f"x{'0' * 64}y", "q": "z"})
    identity = trigger_id(row, 2)
    again = retold(row, identity)
    assert again.trigger_id == identity
    assert again.job_parameters == {"trigger_id": identity, "p": f"x{identity}y", "q": "z"}
    assert retold(replace(ROW, job_parameters=None), identity).job_parameters is None
