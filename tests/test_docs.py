"""The docs name all that there is: columns, placeholders, statuses, options."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from databricks_file_arrivals.commands import mapping, replay
from databricks_file_arrivals.core.mapping_check import Kind
from databricks_file_arrivals.core.outcomes import Status
from databricks_file_arrivals.core.parameters import PLACEHOLDERS
from databricks_file_arrivals.core.tables import MAPPING

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
MAPPING_DOC = (DOCS / "mapping.md").read_text("utf-8")
RECOVERY_DOC = (DOCS / "recovery.md").read_text("utf-8")


def options(add: object, *command: str) -> list[str]:
    """The long options of a command that are its own."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add(commands)  # type: ignore[operator]  # each module's own
    for name in command:
        parser = next(a for a in parser._actions if isinstance(a.choices, dict)).choices[name]  # type: ignore[index]
    shared = {"--databricks-conn-id", "--warehouse-id", "--help"}
    found = [option for action in parser._actions for option in action.option_strings]
    return [option for option in found if option.startswith("--") and option not in shared]


@pytest.mark.parametrize("column", [c.name for c in MAPPING.columns])
def test_columns_of_the_mapping(column: str) -> None:
    assert f"`{column}`" in MAPPING_DOC


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholders(placeholder: str) -> None:
    assert f"`{{{placeholder}}}`" in MAPPING_DOC


@pytest.mark.parametrize("kind", list(Kind))
def test_findings(kind: Kind) -> None:
    assert f"| `{kind.value}` |" in MAPPING_DOC


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.CLAIMED])
def test_statuses(status: Status) -> None:
    assert f"`{status}`" in RECOVERY_DOC


def test_options() -> None:
    assert "--since" in options(replay.add, "replay")
    assert [o for o in options(replay.add, "replay") if o not in RECOVERY_DOC + MAPPING_DOC] == []
    assert [o for o in options(mapping.add, "mapping", "apply") if o not in MAPPING_DOC] == []


def test_quotes_of_dags_are_as_the_dags_are() -> None:
    documents = [REPOSITORY / "README.md", *DOCS.glob("*.md")]
    quotes = [
        file for path in documents for file in re.findall(r"<!-- (dags/\w+\.py): dag -->", path.read_text())
    ]
    assert set(quotes) == {f"dags/{path.name}" for path in (REPOSITORY / "dags").glob("*.py")}
    done = subprocess.run(
        [sys.executable, "docs/quotes.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, f"make quotes\n{done.stdout}{done.stderr}"
