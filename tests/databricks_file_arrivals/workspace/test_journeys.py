"""The logs are asked about one file, however its path is spelled."""

from __future__ import annotations

import uuid

from databricks_file_arrivals.core.outcomes import LogRow, Range, Status
from databricks_file_arrivals.workspace.journeys import Journeys
from tests.airflow_side import Log


def test_arrivals_requests_and_who_is_behind(log: Log) -> None:
    place = f"/in/{uuid.uuid4().hex}"
    behind = log.consumer()
    stream = log.land({f"file:{place}": 2})
    ahead = log.consumer()
    journeys = Journeys(log.hook, log.names)
    (arrived,) = journeys.arrivals(f"dbfs:{place}/0-1.csv")
    assert (arrived.path, arrived.batch_id, arrived.stream_id) == (f"file:{place}/0-1.csv", 0, stream)
    assert behind in journeys.behind(arrived) and ahead not in journeys.behind(arrived)
    assert journeys.arrivals(f"{place}/0-2.csv") == []

    def row(trigger_id: str, pattern: str) -> LogRow:
        return LogRow(
            status=Status.HELD,
            consumer=ahead,
            claim_id=ahead,
            epoch=1,
            trigger_id=trigger_id,
            rule_id=pattern,
            stream_id=stream,
            directories={f"file:{place}": Range(-1, 0)},
            file_pattern=pattern,
            file_count=1,
            attempt=1,
        )

    closing = LogRow(status=Status.CLAIMED, consumer=ahead, claim_id=ahead, epoch=1)
    void = LogRow(status=Status.HELD, consumer=ahead, claim_id="void", epoch=2, stream_id=stream)
    log.ledger.append([row("t1", "*1.csv"), row("t0", "*0.csv"), closing, void])
    assert [found.trigger_id for found in journeys.outcomes(arrived)] == ["t1"]


def test_the_mapping_and_the_roots(log: Log) -> None:
    place = f"/in/{uuid.uuid4().hex}"
    log.map((place, "w", "Y"))
    log.hook.query(
        f"INSERT INTO {log.names.streams.sql} (stream_id, root, checkpoint) VALUES (:id, :root, '/c')",
        {"id": place, "root": place},
    )
    journeys = Journeys(log.hook, log.names)
    assert place in journeys.roots()
    assert place in [row["directory"] for row in journeys.mapping_rows()]
