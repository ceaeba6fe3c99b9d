"""A check reads the streams' roots, and the jobs as the principal sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import JobSettings, QueueSettings

from databricks_file_arrivals.core.mapping_check import CheckedJob
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import Answer, Call
from databricks_file_arrivals.workspace.mapping_checks import MappingChecks, checked_jobs, principal
from tests.airflow_side import DECLARED, PRINCIPAL, Log


def test_jobs_are_seen_as_they_are_made_and_granted(
    hook: FileArrivalsHook, jobs: dict[str, int], new_job: Callable[..., int], admin: WorkspaceClient
) -> None:
    plain = new_job("checks plain", declared=())
    admin.jobs.update(plain, new_settings=JobSettings(queue=QueueSettings(enabled=False)))
    me = principal(hook)
    assert me == {"name": PRINCIPAL, "groups": {"users"}}
    found = checked_jobs(hook, me, ["alpha", "checks plain", "locked", "twin", "hidden"])
    assert found["alpha"] == [CheckedJob(jobs["alpha"], frozenset(DECLARED), True, True)]
    assert found["checks plain"] == [CheckedJob(plain, frozenset(), False, True)]
    assert [job.may_run for job in found["locked"]] == [False]
    assert len(found["twin"]) == 2 and list(found["hidden"]) == []


class Grants:
    """Answers as another workspace may give them."""

    def __init__(self, *grants: dict[str, object]) -> None:
        self.grants = grants

    def call(self, request: Call) -> Answer:
        if request.endpoint.endswith("/list"):
            return {"jobs": [{"job_id": 1, "settings": {"name": "w", "parameters": []}}]}
        if request.endpoint.endswith("/get"):
            return {"job_id": 1, "settings": {"name": "w"}}
        return {"access_control_list": list(self.grants)}


@pytest.mark.parametrize(
    ("grant", "may"),
    [
        ({"group_name": "loaders", "all_permissions": [{"permission_level": "CAN_MANAGE_RUN"}]}, True),
        ({"group_name": "users", "all_permissions": [{"permission_level": "CAN_MANAGE"}]}, True),
        ({"service_principal_name": "me", "all_permissions": [{"permission_level": "IS_OWNER"}]}, True),
        ({"user_name": "me", "all_permissions": [{"permission_level": "CAN_VIEW"}]}, False),
        ({"group_name": "others", "all_permissions": [{"permission_level": "CAN_MANAGE"}]}, False),
    ],
)
def test_grants_count_by_name_and_by_group(grant: dict[str, object], may: bool) -> None:
    me = {"name": "me", "groups": {"loaders", "users"}}
    assert checked_jobs(Grants(grant), me, ["w"]) == {"w": [CheckedJob(1, frozenset(), False, may)]}


def test_findings_of_a_real_mapping(new_log: Callable[[], Log], jobs: dict[str, int]) -> None:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), ("/in/a", "alpha", "Y"), ("b", "no such", "Y"), ("/out", "locked", "Y"))
    log.hook.query(
        f"INSERT INTO {log.names.streams.sql} (stream_id, root, checkpoint) VALUES ('s', 'dbfs:/in', '/c')"
    )
    rows, findings = MappingChecks(log.hook, log.names).findings(log.hook)
    assert rows == 4
    assert [(f.severity.value, f.kind.value, f.subject) for f in findings] == [
        ("error", "workflow", "locked"),
        ("error", "workflow", "no such"),
        ("warning", "outside", "/out → locked"),
        ("warning", "stands twice", "/in/a → alpha"),
    ]
