"""Whether there is something to plan: the one question of the sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databricks_file_arrivals.core.errors import StatementFailed
from databricks_file_arrivals.core.tables import Names
from databricks_file_arrivals.workspace.arrival_log import newer_than
from databricks_file_arrivals.workspace.exchange import Exchange
from databricks_file_arrivals.workspace.ledger import ask_consumer, read_consumer
from databricks_file_arrivals.workspace.log_tables import table_missing
from databricks_file_arrivals.workspace.statements import execute


def due(names: Names, consumer: str, *, warehouse_id: str) -> Exchange[str]:
    """Why an operator should run now, in words for the log; "" when there is no reason.

    Level-triggered: it stays so until an operator has claimed, whoever asks and however often. Raises
    TableMissing, ConsumerDoubled, and what the client raises.
    """
    try:
        return (yield from _due(names, consumer, warehouse_id))
    except StatementFailed as error:
        raise table_missing(error, names) from error


def _due(names: Names, consumer: str, warehouse_id: str) -> Exchange[str]:
    def query(statement: str, parameters: Mapping[str, Any]) -> Exchange[list[Mapping[str, Any]]]:
        result = yield from execute(statement, parameters, warehouse_id=warehouse_id)
        return list(result.rows)

    row = read_consumer((yield from query(*ask_consumer(names, consumer))), names, consumer)
    if row is None:
        return f"the consumer {consumer!r} has no row yet"
    if row.overdue:
        return f"something was to be looked at again at {row.next_due}"
    newer, bound = newer_than(row.cursor)
    found = yield from query(
        f"SELECT stream_id, batch_id FROM {names.arrivals.sql} WHERE {newer} LIMIT 1", bound
    )
    return f"batch {found[0]['batch_id']} of stream {found[0]['stream_id']} is not claimed" if found else ""
