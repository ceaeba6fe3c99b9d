"""The Jobs API: jobs by name, and runs started with a token.
https://docs.databricks.com/api/workspace/jobs"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from databricks_file_arrivals.core.errors import Refused, WorkspaceError
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.planning import Job
from databricks_file_arrivals.workspace.exchange import Answer, Call, Exchange, run

JOBS = "2.2/jobs"
_LOOKUPS = 50  # as many single look-ups cost about what a sweep of 5,000 jobs does
_PAGE = 100
TOKENS_REMEMBERED = timedelta(days=1)
"""For how long a token is trusted to reach the run that it started; how long it really is remembered, no
page says."""


def jobs_named(
    names: Iterable[str], connections: int, call: Callable[[Call], Answer]
) -> dict[str, list[Job]]:
    """The visible jobs of each name, exactly as it is written: none, one, or several.

    Few names are looked up one by one, many in one sweep over all jobs. Raises what `call` raises.
    """
    wanted = sorted(set(names))
    if len(wanted) > _LOOKUPS:
        return run(_sweep(frozenset(wanted)), call)
    with ThreadPoolExecutor(max_workers=connections) as pool:
        found = pool.map(lambda name: run(_sweep(frozenset([name]), name), call), wanted)
        return {name: jobs for each in found for name, jobs in each.items()}


def _sweep(wanted: frozenset[str], name: str | None = None) -> Exchange[dict[str, list[Job]]]:
    found: dict[str, list[Job]] = {name: [] for name in wanted}
    # Without expand_tasks the settings may lack the parameters that a job has.
    query: dict[str, Any] = {"limit": _PAGE, "expand_tasks": "true"}
    if name is not None:
        query["name"] = name
    while True:
        page = yield Call("GET", f"{JOBS}/list", query)
        for job in page.get("jobs") or ():
            settings = job.get("settings") or {}
            if settings.get("name") in wanted:  # the API's filter does not tell upper from lower case
                if "parameters" not in settings:
                    try:
                        full = yield Call("GET", f"{JOBS}/get", {"job_id": job["job_id"]})
                    except Refused:
                        continue  # it was deleted meanwhile, or may not be seen any more
                    settings = full.get("settings") or {}
                declared = frozenset(p["name"] for p in settings.get("parameters") or ())
                found[(job.get("settings") or {})["name"]].append(Job(job["job_id"], declared))
        if not page.get("next_page_token"):
            return found
        query = {**query, "page_token": page["next_page_token"]}


def start(row: LogRow, now: datetime) -> Exchange[int]:
    """Start the run of a request with exactly its stored values, or reach the one that was started before:
    its id.

    The token makes every repetition safe. A request older than the token may be remembered is looked for
    first. Raises what the client raises, and WorkspaceError where that look cannot tell.
    """
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
    answer = yield Call("POST", f"{JOBS}/run-now", body)
    return int(answer["run_id"])


def find_run(row: LogRow) -> Exchange[int | None]:
    """The run that was started for a request, found by the `trigger_id` that it was told."""
    if "trigger_id" not in (row.job_parameters or {}) or row.recorded_at is None:
        raise WorkspaceError(
            f"The request {row.trigger_id} is older than a day and its job does not declare trigger_id, so "
            "whether it was started cannot be told. Look at the job's runs; replay the request if it was not."
        )
    query: dict[str, Any] = {
        "job_id": row.job_id,
        "limit": 25,
        "start_time_from": int((row.recorded_at - timedelta(hours=1)).timestamp() * 1000),
    }
    while True:
        page = yield Call("GET", f"{JOBS}/runs/list", query)
        for found in page.get("runs") or ():
            if _told(found).get("trigger_id") == row.trigger_id:
                return int(found["run_id"])
        if not page.get("next_page_token"):
            return None
        query = {**query, "page_token": page["next_page_token"]}


def _told(found: Mapping[str, Any]) -> dict[str, str]:
    return {p["name"]: p.get("value") or p.get("default", "") for p in found.get("job_parameters") or ()}
