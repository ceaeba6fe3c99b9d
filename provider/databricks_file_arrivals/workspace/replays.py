"""Replays over the ledger: what is chosen, what would come of it, and the claim that does it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from databricks_file_arrivals.core import paths
from databricks_file_arrivals.core.deployment import Sql
from databricks_file_arrivals.core.errors import BadInput, ClaimContended, FileArrivalsError
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, trigger_ids
from databricks_file_arrivals.core.planning import Arrivals, Claim, Job, Picks, Route, route, wanted
from databricks_file_arrivals.core.replays import (
    RETRIED,
    Known,
    Selection,
    may_have_started,
    refusal,
    rerouted,
    restarted,
)
from databricks_file_arrivals.core.routing import Router
from databricks_file_arrivals.core.tables import Names, like
from databricks_file_arrivals.workspace.arrival_log import (
    IN_PLACE,
    PLACE,
    TOTALLED,
    TOTALS,
    ArrivalLog,
    between,
)
from databricks_file_arrivals.workspace.claims import Claimer, Options, Planned
from databricks_file_arrivals.workspace.exchange import run_all
from databricks_file_arrivals.workspace.jobs import CONNECTIONS, STARTS_PER_SECOND, Client, JobsApi, find_run
from databricks_file_arrivals.workspace.ledger import TASK, Consumer, Ledger
from databricks_file_arrivals.workspace.log_rows import chunks, read_log_row
from databricks_file_arrivals.workspace.log_tables import LogTables

MOST = 10_000
"""So many outcomes one replay may have."""

_CONTENDED = 5
_WHOLE_ID = 64
_KEYS = "id, a.stream_id, a.directory, after, up_to"
_NAME = "substring_index(a.path, '/', -1)"


class Workspace(Client, Sql, Protocol):
    """Who executes statements and makes calls: a hook."""


class ChosenOutcomes(LogTables):
    """What the logs hold of the outcomes that a person chose."""

    def chosen(self, selection: Selection) -> list[LogRow]:
        """The state of the chosen requests, the oldest first. Raises BadInput when they are too many."""
        where, bound = _conditions(selection)
        rows = self._query(
            f"SELECT * FROM {self.names.log.derive('_latest').sql} WHERE {where} "
            f"ORDER BY epoch, trigger_id LIMIT {MOST + 1}",
            bound,
        )
        if len(rows) > MOST:
            raise BadInput(f"These are more than {MOST:,} outcomes: choose fewer, by directory or by time.")
        known = {status.value for status in Status}
        return [read_log_row(r) for r in rows if r["status"] in known]

    def plans_dry_runs(self, consumer: str) -> bool:
        """Whether a consumer's requests are planned and never started."""
        return bool(
            self._query(
                f"SELECT 1 AS one FROM {self.names.log.sql} "
                f"WHERE consumer = :consumer AND status = '{Status.DRY_RUN}' LIMIT 1",
                {"consumer": consumer},
            )
        )

    def failures(self, rows: Sequence[LogRow]) -> dict[str, Known]:
        """By trigger_id, when each request, whatever the attempt, failed, and when it was planned."""
        failed = [row for row in rows if row.status in RETRIED]
        if not failed:
            return {}
        by_place: dict[object, list[LogRow]] = {}
        for each in Ledger(self._sql, self.names).whole(failed):
            by_place.setdefault((each.claim_id, each.place), []).append(each)
        return {_id(row): _failures(by_place[row.claim_id, row.place]) for row in failed}

    def routes(self, rows: Sequence[LogRow], mapping: WorkflowMapping) -> dict[str, tuple[Route, ...]]:
        """By trigger_id, where the files of outcomes go as the mapping is now. An outcome whose files the
        arrival log does not all have is not among them."""
        arrivals = self._arrivals(rows)
        router = Router(mapping)
        matches = {
            _id(row): [(a, router.match(a.directory, a.root)) for a in arrivals[_id(row)]] for row in rows
        }
        picks = self._picks(rows, {key: wanted(each) for key, each in matches.items()})
        return {
            _id(row): route(matches[_id(row)], picks.get(_id(row), {}))
            for row in rows
            if sum(a.file_count for a in arrivals[_id(row)]) == row.file_count
        }

    def _arrivals(self, rows: Sequence[LogRow]) -> dict[str, list[Arrivals]]:
        found: dict[str, list[Arrivals]] = {_id(row): [] for row in rows}
        asked = [place for row in rows for place in _places(row)]
        for r in self._totalled(
            rows, asked, "max(a.root) AS root", "id, a.stream_id, a.directory, after, up_to"
        ):
            found[r["id"]].append(Arrivals(**{k: v for k, v in r.items() if k != "id"}))
        return found

    def _picks(self, rows: Sequence[LogRow], asked: Mapping[str, Sequence[Any]]) -> dict[str, Picks]:
        """How many of the files each pattern picks, and how many none does."""
        known = {(key, w.arrivals.directory): w for key, each in asked.items() for w in each}
        places = [
            {**place, "patterns": known[place["id"], place["directory"]].patterns}
            for row in rows
            for place in _places(row)
            if (place["id"], place["directory"]) in known
        ]
        found: dict[str, dict[tuple[str, str, int], dict[str | None, Arrivals]]] = {}
        for r in self._totalled(rows, places, "", f"{_KEYS}, pattern"):
            picked = found.setdefault(r["id"], {})
            of_place = picked.setdefault((r["stream_id"], r["directory"], r["after"]), {})
            arrivals = known[r["id"], r["directory"]].arrivals
            of_place[r["pattern"]] = replace(arrivals, **{name: r[name] for name in TOTALLED})
        return {key: each for key, each in found.items()}

    def _totalled(
        self, rows: Sequence[LogRow], places: Sequence[Mapping[str, Any]], more: str, keys: str
    ) -> list[Mapping[str, Any]]:
        """Totals of the files of places, of each pattern if they have any, without what is excluded."""
        if not places:
            return []
        where, bound = between(_windows(rows))
        hits = f"filter(coalesce(w.patterns, array()), p -> {_NAME} LIKE {like('p')})"
        found: list[Mapping[str, Any]] = []
        for chunk in chunks([json.dumps(place) for place in places]):
            found += self._query(
                f"""SELECT {keys}, {f"{more}, " if more else ""}{TOTALS} FROM (
  SELECT *, explode(CASE WHEN size(hits) = 0 THEN array(CAST(NULL AS STRING)) ELSE hits END) AS pattern FROM (
    SELECT a.*, w.id, w.after, w.up_to, {hits} AS hits
    FROM (SELECT * FROM {self.names.arrivals.sql} WHERE {where}) a JOIN (
      SELECT inline(from_json(:wanted,
        'ARRAY<STRUCT<id: STRING, {PLACE}, excluded: ARRAY<STRING>, patterns: ARRAY<STRING>>>'))
    ) w ON {IN_PLACE} AND NOT exists(coalesce(w.excluded, array()), p -> {_NAME} LIKE {like("p")}))
) a GROUP BY {keys}""",
                {"wanted": chunk, **bound},
            )
        return found


def _id(row: LogRow) -> str:
    return row.trigger_id or ""


def _conditions(selection: Selection) -> tuple[str, dict[str, Any]]:
    """The condition for what was selected, and its parameters."""
    parts = ["consumer = :consumer", "trigger_id IS NOT NULL"]
    bound: dict[str, Any] = {"consumer": selection.consumer}
    if selection.trigger_ids:
        whole = all(len(each) == _WHOLE_ID for each in selection.trigger_ids)
        ids = "from_json(:ids, 'ARRAY<STRING>')"
        beginning = f"exists({ids}, beginning -> startswith(trigger_id, beginning))"
        parts.append(f"trigger_id IN (SELECT explode({ids}))" if whole else beginning)
        bound["ids"] = json.dumps(selection.trigger_ids)
    else:
        parts.append(f"status IN ({', '.join(repr(status.value) for status in selection.asked)})")
    if selection.directory is not None:
        parts.append("(directory = :directory OR startswith(directory, :below))")
        directory = paths.canonical(selection.directory)
        bound |= {"directory": directory, "below": directory.rstrip("/") + "/"}
    if selection.workflow is not None:
        parts.append("workflow_name = :workflow")
        bound["workflow"] = selection.workflow
    if selection.since is not None:
        parts.append("recorded_at >= :since")
        bound["since"] = selection.since
    if selection.until is not None:
        parts.append("recorded_at < :until")
        bound["until"] = selection.until
    return " AND ".join(parts), bound


def _failures(rows: Iterable[LogRow]) -> Known:
    rows = list(rows)
    failed = (row.recorded_at for row in rows if row.status in RETRIED)
    planned = (row.recorded_at for row in rows if row.status is Status.PLANNED)
    return Known(
        failed_at=tuple(at for at in failed if at is not None),
        planned_at=min((at for at in planned if at is not None), default=None),
    )


def _places(row: LogRow) -> list[dict[str, Any]]:
    return [
        {
            "id": row.trigger_id,
            "stream_id": row.stream_id,
            "directory": directory,
            "after": r.after,
            "up_to": r.up_to,
            "excluded": row.excluded_patterns or (),
        }
        for directory, r in (row.directories or {}).items()
    ]


def _windows(rows: Iterable[LogRow]) -> dict[str, tuple[int, int]]:
    """All batches that the rows are about, by stream."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        for r in (row.directories or {}).values():
            after, up_to = found.get(row.stream_id or "", (r.after, r.up_to))
            found[row.stream_id or ""] = (min(after, r.after), max(up_to, r.up_to))
    return found


@dataclass(frozen=True, slots=True)
class Replay:
    """A chosen outcome: the rows that replay it, or why it is left."""

    row: LogRow
    rows: tuple[LogRow, ...] = ()
    reason: str = ""

    @property
    def starts(self) -> tuple[LogRow, ...]:
        """The requests among the rows."""
        return tuple(row for row in self.rows if row.status is Status.PLANNED)


class Replayer(Claimer):
    """Drives outcomes again, as a claim of its own: the protocol of every claim, with the cursor as it is."""

    def __init__(
        self,
        workspace: Workspace,
        names: Names,
        options: Options,
        starts_per_second: float | None = STARTS_PER_SECOND,
    ) -> None:
        ledger, arrival_log = Ledger(workspace, names), ArrivalLog(workspace, names)
        jobs = JobsApi(workspace, starts_per_second=starts_per_second)
        super().__init__(ledger, arrival_log, jobs, options)
        self._workspace = workspace
        self._outcomes = ChosenOutcomes(workspace, names)

    def preview(self, selection: Selection) -> list[Replay]:
        """What `replay` would do now. Writes nothing."""
        return self._look(self._row(), selection)[1]

    def replay(self, selection: Selection) -> list[Replay]:
        """Start what can be started of the selection, once. Raises ClaimContended, and what the ledger and
        the Jobs API raise before the claim."""
        self._ledger.check_version()
        for _ in range(_CONTENDED):
            row = self._row()
            starts = self._starts()
            self.finish_last(row, starts)
            claim, looked = self._look(row, selection)
            rows = tuple(made for each in looked for made in each.rows)
            valid = partial(self._unchanged, selection, looked)
            if not rows or self.claim(row, starts, Planned(claim, rows, {}), None, valid):
                return looked
        raise ClaimContended(self._options.consumer, _CONTENDED)

    def _unchanged(self, selection: Selection, looked: Sequence[Replay]) -> bool:
        """Whether all that is to be replayed is still in the state that was looked at: a task that is tried
        again may have taken some of it on."""
        now = {(_id(row), row.status) for row in self._outcomes.chosen(selection)}
        return all((_id(each.row), each.row.status) in now for each in looked if each.rows)

    def _row(self) -> Consumer:
        consumer = self._options.consumer
        if self._ledger.consumer(consumer) is None:
            raise BadInput(f"There is no consumer {consumer!r} in {self._ledger.names.consumers}.")
        return self._consumer()

    def _look(self, row: Consumer, selection: Selection) -> tuple[Claim, list[Replay]]:
        if not selection.force and self._outcomes.plans_dry_runs(row.consumer):
            raise BadInput(
                f"The consumer {row.consumer!r} plans dry runs, and a replay starts for real: --force does."
            )
        claim = Claim(row.consumer, uuid.uuid4().hex, row.epoch + 1, self._options.log_table)
        chosen = self._outcomes.chosen(selection)
        reasons = self._refused(chosen, selection, self._now())
        left = [each for each in chosen if not reasons[_id(each)]]
        made = self._rows(left, claim, selection, self._now())
        return claim, [made.get(_id(each)) or Replay(each, (), reasons[_id(each)]) for each in chosen]

    def _refused(self, chosen: Sequence[LogRow], selection: Selection, now: datetime) -> dict[str, str]:
        """By trigger_id, why each of the chosen is not replayed, or ""."""
        ids = [_id(row) for row in chosen]
        replayed = self._ledger.replayed(selection.consumer, chosen)
        failures = self._outcomes.failures(chosen)
        known = {key: replace(failures.get(key, Known()), replayed=key in replayed) for key in ids}
        pause = self._options.give_up_after
        reasons = {_id(row): refusal(row, known[_id(row)], selection, now, pause) for row in chosen}
        again = self._ledger.replays_by(selection.consumer, self._task) if self._task else frozenset()
        reasons |= {_id(row): _DONE for row in chosen if again.intersection(trigger_ids(row))}
        if not selection.force:
            asked = [row for row in chosen if not reasons[_id(row)] and may_have_started(row)]
            reasons |= self._started(asked, known)
        return reasons

    @property
    def _task(self) -> dict[str, str]:
        """The task of a DAG run that replays, if it has been tried or cleared before."""
        stamp = self._options.stamp
        return {key: stamp[key] for key in TASK} if stamp.get("try_number", 1) > 1 else {}

    def _started(self, rows: Sequence[LogRow], known: Mapping[str, Known]) -> dict[str, str]:
        """Of requests without a known run, those that have one after all, or may have: their answer was
        lost."""
        reasons, asked = {}, []
        for row in rows:
            planned_at = known[_id(row)].planned_at or row.first_arrival_at
            if planned_at is None or "trigger_id" not in (row.job_parameters or {}):
                reasons[_id(row)] = (
                    "whether it was started cannot be told, as its job does not declare trigger_id: look at "
                    "the job's runs; --force starts it"
                )
            else:
                asked.append(replace(row, recorded_at=planned_at))
        found = run_all([find_run(row) for row in asked], self._workspace.call, CONNECTIONS)
        for row, run in zip(asked, found, strict=True):
            if isinstance(run, FileArrivalsError):
                reasons[_id(row)] = f"whether it was started cannot be told: {run}"
            elif run is not None:
                reasons[_id(row)] = f"it was started after all, as run {run}; --force does it again"
        return reasons

    def _rows(
        self, rows: Sequence[LogRow], claim: Claim, selection: Selection, now: datetime
    ) -> dict[str, Replay]:
        """By trigger_id, what replays each of these outcomes, or why nothing does."""
        whole = [row for row in rows if selection.start or row.workflow_name]
        anew = [row for row in rows if not (selection.start or row.workflow_name)]
        mapping = self._ledger.mapping() if anew else WorkflowMapping()
        routes = self._outcomes.routes(anew, mapping) if anew else {}
        names = {selection.start or row.workflow_name or "" for row in whole}
        names |= {r.rule.workflow_name for each in routes.values() for r in each if r.rule}
        jobs = self._starter.jobs_named(names) if names else {}
        found = {_id(row): self._whole(row, claim, selection, jobs) for row in whole}
        for row in anew:
            key = _id(row)
            made = rerouted(row, claim, routes.get(key, ()), mapping, now, jobs)
            found[key] = Replay(row, made, "" if made else _left(row, routes.get(key), jobs))
        return found

    def _whole(
        self, row: LogRow, claim: Claim, selection: Selection, jobs: Mapping[str, Sequence[Job]]
    ) -> Replay:
        name = selection.start or row.workflow_name or ""
        made = restarted(row, claim, selection.start, jobs.get(name, ()))
        return Replay(row, (made,)) if made.status is Status.PLANNED else Replay(row, (), made.error or "")


_DONE = "a try of this task before has replayed it, or made it; to do it again run the DAG again"


def _left(row: LogRow, routes: Sequence[Route] | None, jobs: Mapping[str, Sequence[Job]]) -> str:
    """Why nothing is started for an outcome without a workflow."""
    if routes is None:
        return f"the arrival log does not have its {row.file_count} files any more"
    named = sorted({r.rule.workflow_name for r in routes if r.rule})
    missing = [name for name in named if len(jobs.get(name, ())) != 1]
    if missing:
        return f"there is no job, or not one alone, of the name {', '.join(missing)}"
    inactive = any(r.status is Status.INACTIVE for r in routes)
    return f"the mapping table has {'only inactive rows' if inactive else 'no row'} for it still"
