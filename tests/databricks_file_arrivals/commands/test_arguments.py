"""Arguments mean what they say."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

import pytest

from databricks_file_arrivals.commands.arguments import moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-31", datetime(2026, 5, 31, tzinfo=timezone.utc)),
        ("2026-05-31T14:00Z", datetime(2026, 5, 31, 14, tzinfo=timezone.utc)),
        ("2026-05-31T14:00+02:00", datetime(2026, 5, 31, 12, tzinfo=timezone.utc)),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, expected: datetime) -> None:
    assert moment(text) == expected


def test_other_texts_are_no_times() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'yesterday' is no time"):
        moment("yesterday")
