"""What a check of the mapping reads: the streams' roots, the workflows' jobs, and who may start them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from databricks_file_arrivals.core.errors import FileArrivalsError, Refused
from databricks_file_arrivals.core.mapping_check import CheckedJob, Finding, check, checked_workflows
from databricks_file_arrivals.workspace.exchange import Call, Exchange, run_all
from databricks_file_arrivals.workspace.jobs import CONNECTIONS, JOBS, Client, JobsApi
from databricks_file_arrivals.workspace.log_tables import LogTables

_EVERYONE = "users"
_MAY_RUN = frozenset({"CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"})


class MappingChecks(LogTables):
    """The mapping table and what it is compared with."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The mapping table's rows."""
        return self._query(f"SELECT * FROM {self.names.mapping.sql}")

    def roots(self) -> list[str]:
        """The directories that streams look into."""
        found = self._query(f"SELECT DISTINCT root FROM {self.names.streams.sql}")
        return sorted(row["root"] for row in found)

    def findings(self, client: Client) -> tuple[int, tuple[Finding, ...]]:
        """How many rows the mapping table has, and what a check of them finds."""
        rows = self.rows()
        me = principal(client)
        jobs = checked_jobs(client, me, checked_workflows(rows))
        return len(rows), check(rows, self.roots(), jobs, me["name"])


def principal(client: Client) -> dict[str, Any]:
    """Who makes the calls: the name, and the groups that grants may name."""
    answer = client.call(Call("GET", "2.0/preview/scim/v2/Me"))
    groups = {group.get("display", "") for group in answer.get("groups") or ()}
    return {
        "name": answer.get("userName") or answer.get("displayName") or "?",
        "groups": {*groups, _EVERYONE},
    }


def checked_jobs(client: Client, me: Mapping[str, Any], names: Iterable[str]) -> dict[str, list[CheckedJob]]:
    """The visible jobs of each name, and of those that are the only ones how they are made."""
    found = JobsApi(client).jobs_named(names)
    single = [jobs[0].job_id for jobs in found.values() if len(jobs) == 1]
    looked_at = run_all([_checked(job_id, me) for job_id in single], client.call, CONNECTIONS)
    by_id = {}
    for job_id, job in zip(single, looked_at, strict=True):
        if isinstance(job, FileArrivalsError):
            raise job
        by_id[job_id] = job
    return {
        name: [by_id.get(job.job_id) or CheckedJob(job.job_id, job.parameters, True, None) for job in jobs]
        for name, jobs in found.items()
    }


def _checked(job_id: int, me: Mapping[str, Any]) -> Exchange[CheckedJob]:
    """A job's settings, which lists of jobs may lack, and whether it may be started."""
    answer = yield Call("GET", f"{JOBS}/get", {"job_id": job_id})
    settings = answer.get("settings") or {}
    declared = frozenset(p["name"] for p in settings.get("parameters") or ())
    queue = bool((settings.get("queue") or {}).get("enabled"))
    return CheckedJob(job_id, declared, queue, (yield from _may_run(job_id, me)))


def _may_run(job_id: int, me: Mapping[str, Any]) -> Exchange[bool | None]:
    """Whether the grants let the caller start a job; None where they are not his to read."""
    try:
        answer = yield Call("GET", f"2.0/permissions/jobs/{job_id}")
    except Refused:
        return None
    for entry in answer.get("access_control_list") or ():
        named = me["name"] in (entry.get("user_name"), entry.get("service_principal_name"))
        if named or entry.get("group_name") in me["groups"]:
            levels = {each.get("permission_level") for each in entry.get("all_permissions") or ()}
            if levels & _MAY_RUN:
                return True
    return False
