"""The streams as the signal volume and the arrival log show them; what is wrong with a pointer is named."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import WorkspaceUnavailable
from databricks_file_arrivals.core.signals import SignalVolume, StreamPointer
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import Answer, Call, run
from databricks_file_arrivals.workspace.watch import StreamWatch
from local_workspace.testing import RunningWorkspace
from tests.airflow_side import Log, Signals


class Watched:
    """A watch that counts its calls, with a clock that is set by hand."""

    def __init__(
        self,
        log: Log,
        signals: Signals | None,
        reconcile_every: float = 3600.0,
        hook: FileArrivalsHook | None = None,
        **more: bool,
    ) -> None:
        volume = SignalVolume.parse(signals.path) if signals else None
        self.seconds = 0.0
        self.calls: list[str] = []
        self.rows: Mapping[str, Any] = {}
        self._hook = hook or log.hook
        self._watch = StreamWatch(log.names, volume, reconcile_every, lambda: self.seconds, **more)

    def look(self, seconds: float = 2.0) -> tuple[dict[str, int], int, list[str]]:
        """The newest batches, how often the tables were asked, and the calls of one look."""
        self.seconds += seconds
        self.calls = []
        found = run(self._watch.look(self._hook.warehouse_id), self._call)
        self.rows = found.consumers or {}
        return dict(found.newest), found.reconciled, self.calls

    def _call(self, request: Call) -> Answer:
        self.calls.append(request.endpoint.split("/Volumes")[0])
        return self._hook.call(request)


LIST, READ, SQL = "2.0/fs/directories", "2.0/fs/files", "2.0/sql/statements"


def test_a_poll_is_one_call_and_one_or_two_for_a_pointer_that_was_written(
    log: Log, new_signals: Callable[[], Signals]
) -> None:
    signals = new_signals()
    watched = Watched(log, signals)
    signals.point(log, "a", 3)
    assert watched.look() == ({"a": 3}, 0, [LIST, READ])
    assert watched.look() == ({"a": 3}, 0, [LIST, READ]), "a second may hold two writes: it is read again"
    assert watched.look() == ({"a": 3}, 0, [LIST])
    signals.point(log, "b", 0)
    assert watched.look() == ({"a": 3, "b": 0}, 0, [LIST, READ])
    signals.point(log, "a", 2)
    assert watched.look()[0]["a"] == 3, "a batch is never taken back"
    (signals.folder / "streams" / "a.json").unlink()
    assert watched.look()[0] == {"a": 3, "b": 0}


def test_the_first_look_asks_the_tables_where_that_is_wanted(
    log: Log, new_signals: Callable[[], Signals]
) -> None:
    signals = new_signals()
    signals.point(log, "old", 0)
    stream = log.land({"/in/a": 1})  # its pointer was lost
    watched = Watched(log, signals, reconcile_first=True)
    newest, reconciled, _ = watched.look()
    assert (newest[stream], newest["old"], reconciled) == (0, 0, 1)
    watched.look()
    assert watched.look()[1:] == (1, [LIST])


def test_without_a_volume_two_statements_tell_of_streams_and_of_all_consumers(log: Log) -> None:
    consumer = log.consumer()
    watched = Watched(log, None)
    stream = log.land({"/in/a": 1})
    before = watched.look()
    assert before[0][stream] == 0 and before[1:] == (0, [SQL, SQL])
    assert watched.rows[consumer][0]["cursor"].keys() == before[0].keys() - {stream}
    log.land({"/in/a": 1}, stream)
    log.land({"/in/a": 1}, stream)
    other = log.land({"/in/a": 1})
    for _ in range(2):
        assert watched.look() == ({**before[0], stream: 2, other: 0}, 0, [SQL, SQL])


def test_a_pointer_whose_reading_failed_is_read_again(
    log: Log, new_signals: Callable[[], Signals], databricks: RunningWorkspace, hook: FileArrivalsHook
) -> None:
    signals = new_signals()
    signals.point(log, "a", 3)
    watched = Watched(log, signals, hook=FileArrivalsHook(retry_limit=1))
    for _ in range(3):
        with (
            databricks.faults.added("error", "GET /api/2.0/fs/files/*", status=503, principal="alice"),
            pytest.raises(WorkspaceUnavailable),
        ):
            watched.look()
    assert watched.look() == ({"a": 3}, 0, [LIST, READ])


def test_the_log_is_named_in_any_case(log: Log, new_signals: Callable[[], Signals]) -> None:
    signals = new_signals()
    text = StreamPointer(str(log.names.log).upper(), "a", 1).text()
    (signals.folder / "streams" / "a.json").write_text(text)
    assert Watched(log, signals).look() == ({"a": 1}, 0, [LIST, READ])


def test_a_lost_pointer_is_late_until_the_tables_are_asked_and_named(
    log: Log, new_signals: Callable[[], Signals], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "databricks_file_arrivals.workspace.watch")
    signals = new_signals()
    watched = Watched(log, signals, reconcile_every=60.0)
    stream = log.land({"/in/a": 1})
    signals.point(log, "other", 0)
    assert watched.look()[0] == {"other": 0}
    newest, reconciled, calls = watched.look(60)
    assert newest[stream] == 0 and reconciled == 1 and calls == [LIST, READ, SQL, LIST]
    assert f"batch 0 of stream {stream} is logged, and its pointer is not there" in caplog.text
    assert watched.look(30)[2] == [LIST]
    signals.point(log, stream, 0)
    watched.look()
    log.land({"/in/a": 1}, stream)
    assert watched.look(60)[1] == 2
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line.startswith(f"batch 1 of stream {stream} is logged, and its pointer says 0")
    assert watched.look(60)[2] == [LIST, SQL], "it is named once"


@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        ("torn", "is torn: it is not JSON"),
        ("foreign", "is of another log, main.x.y"),
        ("empty", "holds no pointer"),
        ("missing", "cannot be read: .*signal_volume"),
        ("forbidden", "cannot be read: .*READ VOLUME"),
    ],
)
def test_what_is_wrong_is_named_once_and_the_tables_are_asked_at_once(
    log: Log,
    new_signals: Callable[[], Signals],
    admin: Any,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    named: str,
) -> None:
    signals = new_signals()
    stream = log.land({"/in/a": 1})
    file = signals.folder / "streams" / f"{stream}.json"
    if trouble == "torn":
        file.write_text('{"log_table": "ma')
    elif trouble == "foreign":
        file.write_text('{"log_table": "main.x.y", "stream_id": "s", "batch_id": 1}')
    elif trouble == "missing":
        file.parent.rmdir()
    elif trouble == "forbidden":
        change = {"principal": "account users", "remove": ["READ_VOLUME", "WRITE_VOLUME"]}
        path = f"/api/2.1/unity-catalog/permissions/volume/{signals.full_name}"
        admin.api_client.do("PATCH", path, body={"changes": [change]})
    watched = Watched(log, signals)
    with caplog.at_level(logging.WARNING):
        newest, reconciled, calls = watched.look()
        assert newest[stream] == 0 and reconciled == 1 and calls[-1] == SQL
        assert watched.look()[1] == 1 and SQL not in watched.calls, "not at every look"
    (line,) = [r.getMessage() for r in caplog.records if r.name.endswith("watch")]
    assert "the tables are asked" in line
    assert re.search(named, line), line
