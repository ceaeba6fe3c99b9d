"""The Jobs API: jobs by name, runs started with a token, and what became of them, in few calls.
https://docs.databricks.com/api/workspace/jobs"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from databricks_file_arrivals.core import config_options
from databricks_file_arrivals.core.errors import BadInput, FileArrivalsError, Refused, WorkspaceError
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.parameters import LIMIT
from databricks_file_arrivals.core.planning import Job
from databricks_file_arrivals.core.runs import Run
from databricks_file_arrivals.workspace.exchange import Answer, Call, Exchange, Pace, T, run, run_all

JOBS = "2.2/jobs"
CONNECTIONS = 16
STARTS_PER_SECOND = config_options.STARTS_PER_SECOND.default
TOKENS_REMEMBERED = timedelta(days=1)
"""For how long a token is trusted to reach the run that it started; how long it really is remembered, no
page says."""

_JOBS_PAGE, _RUNS_PAGE = 100, 25  # the largest that the API gives
_SKEW = timedelta(hours=1)  # between the clock of the log and that of the Jobs API, at most


class Client(Protocol):
    """Who makes the calls, on as many threads as it is asked from: a hook."""

    def call(self, request: Call) -> Answer:
        """The answer of one call, after whatever tries are safe. Raises FileArrivalsError."""
        ...


class JobsApi:
    """The Jobs API as a claim needs it: `connections` calls at a time, and so many starts a second at
    most."""

    def __init__(
        self,
        client: Client,
        connections: int = CONNECTIONS,
        starts_per_second: float | None = STARTS_PER_SECOND,
    ) -> None:
        self._client = client
        self._connections = connections
        self._pace = Pace(starts_per_second)

    def jobs_named(self, names: Iterable[str]) -> Mapping[str, Sequence[Job]]:
        """The visible jobs of each name, exactly as it is written: none, one, or several.

        Only a sweep over all jobs, or a look-up of the name, can tell that there is no second one. Which of
        the two costs fewer calls shows on the way: the sweep is given up when it has cost half of what the
        look-ups will.
        """
        wanted = sorted(set(names))
        found = run(_sweep_jobs(frozenset(wanted), len(wanted) // 2), self._client.call)
        if found is not None:
            return found
        looked_up = run_all([_jobs_named(name) for name in wanted], self._client.call, self._connections)
        return dict(zip(wanted, _raised(looked_up), strict=True))

    def start(self, rows: Sequence[LogRow]) -> Sequence[int | FileArrivalsError]:
        """Start, or reach again, the run of each request: its id, or why it did not start, in the order of
        `rows`. A failing one never stops the others."""
        now = datetime.now(timezone.utc)
        return run_all([start(row, now) for row in rows], self._paced, self._connections)

    def active_runs(self) -> Mapping[int, Run]:
        """All visible runs of jobs that have not ended, by run id: one sweep."""
        return run(_active_runs(), self._client.call)

    def ended_runs(self, rows: Sequence[LogRow]) -> Mapping[int, Run]:
        """The runs of requests that were started and are not active any more, by run id.

        They are looked for in the list of completed runs as long as its pages hold enough of them, and the
        others asked for one by one. A run that cannot be seen any more (deleted, or the grant is gone) is not
        among them; one that has not ended after all is, and says so.
        """
        started = {row.started_run_id: row for row in rows if row.started_run_id is not None}
        found = run(completed_among(started, _completed(started.values())), self._client.call)
        rest = [_run(run_id) for run_id in started if run_id not in found]
        got = _raised(run_all(rest, self._client.call, self._connections))
        return found | {each.run_id: each for each in got if each is not None}

    def _paced(self, request: Call) -> Answer:
        self._pace.wait()
        return self._client.call(request)


def _raised(results: Iterable[T | FileArrivalsError]) -> list[T]:
    """The results, if none is an error."""
    good = []
    for result in results:
        if isinstance(result, FileArrivalsError):
            raise result
        good.append(result)
    return good


def _pages(endpoint: str, query: Mapping[str, Any], key: str) -> Exchange[list[Any]]:
    """Every entry of a list, whatever it takes."""
    entries: list[Any] = []
    token: str | None = ""
    while token is not None:
        page, token = yield from _page(endpoint, query, token)
        entries += page.get(key) or ()
    return entries


def _page(endpoint: str, query: Mapping[str, Any], token: str) -> Exchange[tuple[Answer, str | None]]:
    """One page of a list, and the token of the next."""
    answer = yield Call("GET", f"{JOBS}/{endpoint}", {**query, **({"page_token": token} if token else {})})
    return answer, answer.get("next_page_token") or None


# Without expand_tasks the settings may lack the parameters that a job has.
_JOBS_QUERY: Mapping[str, Any] = {"limit": _JOBS_PAGE, "expand_tasks": "true"}


def _jobs_named(name: str) -> Exchange[list[Job]]:
    """The jobs of one name."""
    entries = yield from _pages("list", {**_JOBS_QUERY, "name": name}, "jobs")
    # The API's filter does not tell upper from lower case.
    return (yield from _jobs(entry for entry in entries if _name(entry) == name))


def _sweep_jobs(wanted: frozenset[str], most: int) -> Exchange[dict[str, list[Job]] | None]:
    """The jobs of these names out of the list of all, or None if that has more than `most` pages."""
    found: dict[str, list[Job]] = {name: [] for name in wanted}
    token: str | None = ""
    while token is not None and wanted:
        if most == 0:
            return None
        most -= 1
        page, token = yield from _page("list", _JOBS_QUERY, token)
        for entry in page.get("jobs") or ():
            if _name(entry) in wanted:
                found[_name(entry)] += yield from _jobs([entry])
    return found


def _name(entry: Mapping[str, Any]) -> str:
    return str((entry.get("settings") or {}).get("name", ""))


def _jobs(entries: Iterable[Mapping[str, Any]]) -> Exchange[list[Job]]:
    """Jobs with the parameters that they declare: asked for where the list does not say."""
    jobs = []
    for entry in entries:
        settings = entry["settings"]
        if "parameters" not in settings:
            try:
                settings = (yield Call("GET", f"{JOBS}/get", {"job_id": entry["job_id"]})).get("settings")
            except Refused:
                continue  # it was deleted meanwhile, or may not be seen any more
        declared = frozenset(p["name"] for p in (settings or {}).get("parameters") or ())
        jobs.append(Job(entry["job_id"], declared))
    return jobs


def start(row: LogRow, now: datetime) -> Exchange[int]:
    """Start the run of a request with exactly its stored values, or reach the one that was started before:
    its id.

    The token makes every repetition safe. A request older than the token may be remembered is looked for
    first. Raises what the client raises, WorkspaceError where that look cannot tell, and BadInput where a
    run may not be told so much.
    """
    told = len(json.dumps(dict(row.job_parameters or {}), ensure_ascii=False).encode())
    if told > LIMIT:
        raise BadInput(
            f"the run would be told {told} bytes, and the Jobs API takes {LIMIT}: shorten the parameters in "
            "the mapping table, or let the job declare trigger_id and log_table only"
        )
    if row.recorded_at is not None and now - row.recorded_at > TOKENS_REMEMBERED:
        known = yield from find_run(row)
        if known is not None:
            return known
    body: dict[str, Any] = {
        "job_id": row.job_id,
        "idempotency_token": row.trigger_id,
        # A job made by an older API has no queue: a busy one would skip the run, and the token
        # return that for ever.
        "queue": {"enabled": True},
    }
    if row.job_parameters:
        body["job_parameters"] = dict(row.job_parameters)
    answer = yield Call("POST", f"{JOBS}/run-now", body, repeatable=row.trigger_id is not None)
    return int(answer["run_id"])


def find_run(row: LogRow) -> Exchange[int | None]:
    """The run that was started for a request, found by the `trigger_id` that it was told."""
    if "trigger_id" not in (row.job_parameters or {}) or row.recorded_at is None:
        raise WorkspaceError(
            f"The request {row.trigger_id} is older than a day and its job does not declare trigger_id, so "
            "whether it was started cannot be told. Look at the job's runs; replay the request if it was not."
        )
    query = {"job_id": row.job_id, "limit": _RUNS_PAGE, "start_time_from": _ms(row.recorded_at - _SKEW)}
    token: str | None = ""
    while token is not None:
        page, token = yield from _page("runs/list", query, token)
        for found in page.get("runs") or ():
            if _told(found).get("trigger_id") == row.trigger_id:
                return int(found["run_id"])
    return None


def _told(found: Mapping[str, Any]) -> dict[str, str]:
    return {p["name"]: p.get("value") or p.get("default", "") for p in found.get("job_parameters") or ()}


_ACTIVE: Mapping[str, Any] = {"active_only": "true", "run_type": "JOB_RUN", "limit": _RUNS_PAGE}


def _active_runs() -> Exchange[dict[int, Run]]:
    runs = yield from _pages("runs/list", _ACTIVE, "runs")
    return {each.run_id: each for each in map(Run.read, runs)}


def active_among(
    run_ids: Collection[int], since: datetime | None, most: int
) -> Exchange[tuple[dict[int, Run], int]]:
    """Those of the runs that the list of active ones holds, and how many of its pages that took.

    The list is read until all are found, and no further than `most` pages. `since`: when the first of them
    was started, at the earliest.
    """
    found: dict[int, Run] = {}
    query = {**_ACTIVE, **_from(since)}
    token: str | None = ""
    pages = 0
    while token is not None and pages < most and len(found) < len(run_ids):
        page, token = yield from _page("runs/list", query, token)
        pages += 1
        runs = map(Run.read, page.get("runs") or ())
        found |= {each.run_id: each for each in runs if each.run_id in run_ids}
    return found, pages


def get_run(run_id: int) -> Exchange[Run]:
    """One run. Raises Refused if there is none, or none to see."""
    return Run.read((yield Call("GET", f"{JOBS}/runs/get", {"run_id": run_id})))


def cancel_run(run_id: int) -> Exchange[None]:
    """Ask for the end of a run; one that has ended stays as it is."""
    yield Call("POST", f"{JOBS}/runs/cancel", {"run_id": run_id}, repeatable=True)


def _run(run_id: int) -> Exchange[Run | None]:
    """One run, or None if there is none, or none to see."""
    try:
        return (yield from get_run(run_id))
    except Refused:
        return None


_VAIN = 4  # for so many runs that are left to find, one page may turn out to hold none


def completed_among(run_ids: Collection[int], query: Mapping[str, Any]) -> Exchange[dict[int, Run]]:
    """Those of the runs that the list of completed ones holds, as far as its pages cost less than to ask for
    each of the others."""
    found: dict[int, Run] = {}
    vain = 0
    token: str | None = ""
    while token is not None and len(run_ids) - len(found) > _VAIN * vain and len(run_ids) > 1:
        page, token = yield from _page("runs/list", query, token)
        runs = [Run.read(entry) for entry in page.get("runs") or ()]
        fresh = {each.run_id: each for each in runs if each.run_id in run_ids and each.run_id not in found}
        vain += not fresh
        found |= fresh
    return found


def completed(since: datetime | None) -> dict[str, Any]:
    """The query for completed runs that were started after `since`."""
    return {"completed_only": "true", "run_type": "JOB_RUN", "limit": _RUNS_PAGE, **_from(since)}


def _completed(rows: Iterable[LogRow]) -> dict[str, Any]:
    """The query for completed runs that these may be among."""
    times = [row.job_trigger_time for row in rows]
    known = [time for time in times if time is not None]
    query = completed(min(known) if known and len(known) == len(times) else None)
    jobs = {row.job_id for row in rows}
    if len(jobs) == 1 and None not in jobs:
        query["job_id"] = jobs.pop()
    return query


def _from(since: datetime | None) -> dict[str, Any]:
    return {} if since is None else {"start_time_from": _ms(since - _SKEW)}


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
