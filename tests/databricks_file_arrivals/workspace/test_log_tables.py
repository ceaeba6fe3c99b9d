"""A missing table is named, whichever it is; another failure stays what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import StatementFailed, TableMissing
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.ledger import Ledger
from databricks_file_arrivals.workspace.log_tables import table_missing

NAMES = Names.of("main.ingest.file_log", "main.ingest.workflow_mapping")


class Failing:
    """Where every statement fails in one way."""

    def __init__(self, error: StatementFailed) -> None:
        self.error = error

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        raise self.error


@pytest.mark.parametrize("table", ["workflow_mapping", "file_log", "file_log_arrivals", "file_log_consumers"])
def test_a_missing_table_is_named(table: str) -> None:
    error = StatementFailed("FAILED", "TABLE_OR_VIEW_NOT_FOUND", f"no `main`.`ingest`.`{table}` here")
    found = table_missing(error, NAMES)
    assert isinstance(found, TableMissing) and found.table == f"main.ingest.{table}"
    with pytest.raises(TableMissing, match="file-arrivals deploy"):
        Ledger(Failing(error), NAMES).mapping()


def test_another_failure_stays_what_it_is() -> None:
    error = StatementFailed("FAILED", "DIVIDE_BY_ZERO", "x")
    with pytest.raises(StatementFailed) as raised:
        Ledger(Failing(error), NAMES).mapping()
    assert raised.value is error
