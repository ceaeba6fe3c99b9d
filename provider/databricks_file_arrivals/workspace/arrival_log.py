"""The arrival log over SQL: what has arrived, aggregated where the data is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from databricks_file_arrivals.core.planning import Arrivals, Gap, Wanted
from databricks_file_arrivals.core.tables import like
from databricks_file_arrivals.workspace.log_rows import chunks
from databricks_file_arrivals.workspace.log_tables import LogTables

_PAGE = 10_000  # directories in one result
_LOGGED = "coalesce(logged_at, TIMESTAMP '1970-01-01')"  # who edits the log away waits for nothing
TOTALS = (
    "min(batch_id) AS first_batch, max(batch_id) AS last_batch, count(*) AS file_count, "
    f"sum(coalesce(file_size, 0)) AS total_bytes, min({_LOGGED}) AS first_at, max({_LOGGED}) AS last_at"
)
TOTALLED = ("first_batch", "last_batch", "file_count", "total_bytes", "first_at", "last_at")
PLACE = "stream_id: STRING, directory: STRING, after: BIGINT, up_to: BIGINT"
IN_PLACE = (
    "a.stream_id = w.stream_id AND a.directory = w.directory AND a.batch_id > w.after "
    "AND a.batch_id <= w.up_to"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that a consumer has not claimed."""

    stream_id: str
    batch_id: int
    directories: int
    stream_lag: timedelta = timedelta()
    """The longest time from the last change of a file to its being logged."""


class ArrivalLog(LogTables):
    """The arrival log, which the stream writes and nobody here."""

    def new_batches(self, cursor: Mapping[str, int]) -> list[Batch]:
        """The batches after the cursor, of each stream in order."""
        newer, bound = newer_than(cursor)
        rows = self._query(
            "SELECT stream_id, batch_id, count(DISTINCT directory) AS directories, "
            "max(unix_millis(logged_at) - unix_millis(modified_at)) AS lag "
            f"FROM {self.names.arrivals.sql} WHERE {newer} "
            "GROUP BY stream_id, batch_id ORDER BY stream_id, batch_id",
            bound,
        )
        return [
            Batch(r["stream_id"], r["batch_id"], r["directories"], timedelta(milliseconds=r["lag"] or 0))
            for r in rows
        ]

    def arrivals(self, after: Mapping[str, int], up_to: Mapping[str, int]) -> list[Arrivals]:
        """The arrivals between two cursors, aggregated by parent directory where the data is.

        They are read in pages: one batch may have more directories than an inline result can hold.
        """
        where, bound = between({stream: (after.get(stream, -1), last) for stream, last in up_to.items()})
        found: list[Arrivals] = []
        stream = directory = ""
        while True:
            rows = self._query(
                f"SELECT stream_id, max(root) AS root, directory, {TOTALS} FROM {self.names.arrivals.sql} "
                f"WHERE {where} AND (stream_id > :last OR (stream_id = :last AND directory > :below)) "
                f"GROUP BY stream_id, directory ORDER BY stream_id, directory LIMIT {_PAGE}",
                {**bound, "last": stream, "below": directory},
            )
            found += [
                Arrivals(after=after.get(r["stream_id"], -1), up_to=up_to[r["stream_id"]], **r) for r in rows
            ]
            if len(rows) < _PAGE:
                return found
            stream, directory = found[-1].stream_id, found[-1].directory

    def picks(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str, int], dict[str | None, Arrivals]]:
        """How many files of each of these arrivals each pattern picks, and how many none does."""
        known = {(w.arrivals.stream_id, w.arrivals.directory, w.arrivals.after): w.arrivals for w in wanted}
        found: dict[tuple[str, str, int], dict[str | None, Arrivals]] = {}
        asked = [json.dumps({**_place(w.arrivals), "patterns": w.patterns}) for w in wanted]
        where, bound = between(_windows(w.arrivals for w in wanted))
        for chunk in chunks(asked):
            rows = self._query(
                f"""SELECT stream_id, directory, after, pattern, {TOTALS} FROM (
  SELECT *, explode(CASE WHEN size(hits) = 0 THEN array(CAST(NULL AS STRING)) ELSE hits END) AS pattern FROM (
    SELECT a.*, w.after,
      filter(w.patterns, p -> substring_index(a.path, '/', -1) LIKE {like("p")}) AS hits
    FROM (SELECT * FROM {self.names.arrivals.sql} WHERE {where}) a JOIN (
      SELECT inline(from_json(:wanted, 'ARRAY<STRUCT<{PLACE}, patterns: ARRAY<STRING>>>'))
    ) w ON {IN_PLACE})
) GROUP BY stream_id, directory, after, pattern""",
                {"wanted": chunk, **bound},
            )
            for row in rows:
                place = (row["stream_id"], row["directory"], row["after"])
                totals = {name: row[name] for name in TOTALLED}
                found.setdefault(place, {})[row["pattern"]] = replace(known[place], **totals)
        return found

    def occupied(self, gaps: Sequence[Gap]) -> frozenset[Gap]:
        """Those of the gaps in which the arrival log has files."""
        found = set()
        where, bound = between(_windows(gaps))
        for chunk in chunks([json.dumps(gap._asdict()) for gap in gaps]):
            rows = self._query(
                f"""SELECT DISTINCT w.* FROM (SELECT * FROM {self.names.arrivals.sql} WHERE {where}) a
JOIN (SELECT inline(from_json(:wanted, 'ARRAY<STRUCT<{PLACE}>>'))) w ON {IN_PLACE}""",
                {"wanted": chunk, **bound},
            )
            found |= {Gap(r["stream_id"], r["directory"], r["after"], r["up_to"]) for r in rows}
        return frozenset(found)


def newer_than(cursor: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """The condition for arrivals after a cursor, and its parameters: literal values, by which Delta skips
    files."""
    bound: dict[str, Any] = {}
    parts, known = [], []
    for i, (stream, batch) in enumerate(sorted(cursor.items())):
        bound |= {f"s{i}": stream, f"b{i}": batch}
        parts.append(f"(stream_id = :s{i} AND batch_id > :b{i})")
        known.append(f":s{i}")
    # Not "true": Spark reads `FROM t WHERE (true)` as the alias WHERE with a column of the name true.
    # Nor NOT IN: of a list Delta skips no files, of each <> it does.
    parts.append(" AND ".join(f"stream_id <> {name}" for name in known) if known else "1 = 1")
    return f"({' OR '.join(parts)})", bound


def between(windows: Mapping[str, tuple[int, int]]) -> tuple[str, dict[str, Any]]:
    """The condition for the batches of each stream after one and up to another, and its parameters: literal
    values, by which Delta skips files."""
    bound: dict[str, Any] = {}
    parts = []
    for i, (stream, (after, up_to)) in enumerate(sorted(windows.items())):
        bound |= {f"s{i}": stream, f"a{i}": after, f"b{i}": up_to}
        parts.append(f"(stream_id = :s{i} AND batch_id > :a{i} AND batch_id <= :b{i})")
    return f"({' OR '.join(parts)})", bound


def _windows(places: Iterable[Arrivals | Gap]) -> dict[str, tuple[int, int]]:
    """All batches that the places are in, by stream."""
    windows: dict[str, tuple[int, int]] = {}
    for place in places:
        after, up_to = windows.get(place.stream_id, (place.after, place.up_to))
        windows[place.stream_id] = (min(after, place.after), max(up_to, place.up_to))
    return windows


def _place(a: Arrivals) -> dict[str, Any]:
    return Gap(a.stream_id, a.directory, a.after, a.up_to)._asdict()
