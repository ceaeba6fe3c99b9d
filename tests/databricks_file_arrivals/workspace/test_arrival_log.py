"""What the arrival log says of arrivals, on real Delta."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.planning import Gap, Wanted
from databricks_file_arrivals.workspace import arrival_log as module
from databricks_file_arrivals.workspace.arrival_log import ArrivalLog, newer_than
from tests.airflow_side import Log

ODD = "/in/it's; DROP TABLE x;--\n\"`\\ %41 é 名 $'{a}"


@pytest.fixture(scope="session")
def arrival_log(log: Log) -> ArrivalLog:
    return ArrivalLog(log.hook, log.names)


def test_arrivals_between_cursors_are_aggregated_by_directory(log: Log, arrival_log: ArrivalLog) -> None:
    stream = log.land({ODD: 2, "/in/b": 1})
    log.land({ODD: 3}, stream)
    log.land({ODD: 5}, stream)
    found = {a.directory: a for a in arrival_log.arrivals({}, {stream: 1})}
    odd = found[ODD]
    assert (odd.after, odd.up_to, odd.first_batch, odd.last_batch, odd.file_count) == (-1, 1, 0, 1, 5)
    assert odd.total_bytes == 50 and found["/in/b"].file_count == 1
    assert [a.file_count for a in arrival_log.arrivals({stream: 1}, {stream: 2})] == [5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAGE", 1)
        pages = arrival_log.arrivals({}, {stream: 1})
    assert sorted(pages, key=lambda a: a.directory) == sorted(found.values(), key=lambda a: a.directory)
    row = log.ledger.consumer(log.consumer())
    assert row is not None
    batches = arrival_log.new_batches({**row.cursor, stream: 0})
    assert [(b.batch_id, b.directories) for b in batches] == [(1, 1), (2, 1)]
    gaps = [Gap(stream, directory, 0, 2) for directory in (ODD, "/in/b")]
    assert arrival_log.occupied(gaps) == {gaps[0]}


def test_files_are_told_apart_by_name(log: Log, arrival_log: ArrivalLog) -> None:
    names = ["a_1.csv", "ab1.csv", "b%.csv", "c.txt", "x\\y", "done"]
    stream = log.land_files({ODD: names})
    log.land_files({ODD: ["a_2.csv"], "/in/b": ["a_3.csv"]}, stream)
    (arrivals,) = (a for a in arrival_log.arrivals({}, {stream: 0}) if a.directory == ODD)
    patterns = ("*.csv", "?_*.csv", "b%.csv", "done", "nothing*", "x\\*")
    (picks,) = arrival_log.picks([Wanted(arrivals, patterns)]).values()
    assert {pattern: a.file_count for pattern, a in picks.items()} == {
        "*.csv": 3,
        "?_*.csv": 1,
        "b%.csv": 1,
        "done": 1,
        "x\\*": 1,
        None: 1,
    }
    assert picks["*.csv"].total_bytes == 30 and picks[None].up_to == 0


def test_the_condition_of_an_empty_cursor_is_no_bare_word() -> None:
    assert newer_than({}) == ("(1 = 1)", {})
