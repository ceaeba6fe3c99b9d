"""Repairs: which tasks run once more, in which order, and what the history tells."""

from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, InvalidParameterValue, PermissionDenied
from databricks.sdk.service import jobs

from local_workspace.api.errors import InvalidParameter
from local_workspace.api.repairs import RepairRequest, chosen_tasks
from local_workspace.testing import RunningWorkspace
from tests.databricks_side.local_workspace.conftest import eventually

OVER = jobs.RunLifecycleStateV2State.TERMINATED

# a and x; b after a; c after b and x
SETTINGS: dict[str, Any] = {
    "tasks": [
        {"task_key": "a"},
        {"task_key": "x"},
        {"task_key": "b", "depends_on": [{"task_key": "a"}]},
        {"task_key": "c", "depends_on": [{"task_key": "b"}, {"task_key": "x"}]},
    ]
}
RESULTS: dict[str, str | None] = {
    "a": "FAILED", "x": "SUCCESS", "b": "UPSTREAM_FAILED", "c": "UPSTREAM_FAILED",
}  # fmt: skip


def _chosen(results: dict[str, str | None], *tasks: str, failed: bool = False, after: bool = False) -> str:
    request = RepairRequest(1, None, frozenset(tasks), failed, after)
    return "".join(sorted(chosen_tasks(SETTINGS, results, request)))


def test_which_tasks_run_once_more() -> None:
    assert _chosen(RESULTS, failed=True) == "abc"
    assert _chosen(RESULTS, "a") == "a"
    assert _chosen(RESULTS, "a", "b") == "ab"
    good: dict[str, str | None] = dict.fromkeys(RESULTS, "SUCCESS")
    assert _chosen(good, "x", after=True) == "cx"
    assert _chosen(good, "a", after=True) == "abc"


@pytest.mark.parametrize(
    ("tasks", "failed", "message"),
    [
        ((), False, "one of"),
        (("a",), True, "one of"),
        (("z",), False, "no task 'z'"),
        (("b",), False, "'b' depends on 'a'"),
    ],
)
def test_what_makes_no_sense_is_refused(tasks: tuple[str, ...], failed: bool, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        _chosen(RESULTS, *tasks, failed=failed)
    with pytest.raises(InvalidParameter, match="no failed task"):
        _chosen(dict.fromkeys(RESULTS, "SUCCESS"), failed=True)


@pytest.fixture
def sdk(workspace: RunningWorkspace) -> WorkspaceClient:
    """The admin's client."""
    return WorkspaceClient(host=workspace.url, token=workspace.token())


def _job(sdk: WorkspaceClient, folder: Path) -> int:
    """A job whose second task fails until there is a file `mended`, and a third that waits for it."""
    (folder / "good.py").write_text("import sys; print(*sys.argv[1:])")
    (folder / "bad.py").write_text("import os, sys; sys.exit(not os.path.exists(sys.argv[1]))")
    mended = str(folder / "mended")
    tasks = [
        jobs.Task(
            task_key=key,
            spark_python_task=jobs.SparkPythonTask(python_file=str(folder / file), parameters=given),
            depends_on=[jobs.TaskDependency(need) for need in needs],
        )
        for key, file, given, needs in (
            ("first", "good.py", [], []),
            ("second", "bad.py", [mended], ["first"]),
            ("third", "good.py", ["{{job.parameters.p}}"], ["second"]),
        )
    ]
    parameters = [jobs.JobParameterDefinition(name="p", default="old")]
    job_id = sdk.jobs.create(name="repaired", tasks=tasks, parameters=parameters).job_id
    assert job_id is not None
    return job_id


def _ended(sdk: WorkspaceClient, run_id: int) -> jobs.Run:
    """The run once it is over, however it ended."""

    def over() -> jobs.Run | None:
        run = sdk.jobs.get_run(run_id, include_history=True)
        return run if run.status and run.status.state == OVER else None

    run: jobs.Run = eventually(over, seconds=120)
    return run


def _results(told: list[Any]) -> list[str]:
    return [each.state.result_state.value for each in told]


def _repair(sdk: WorkspaceClient, run_id: int, **more: Any) -> int:
    answer: Any = sdk.jobs.repair_run(run_id, rerun_all_failed_tasks=True, **more).response
    repair_id: int = answer.repair_id
    return repair_id


def test_failed_tasks_run_once_more_as_part_of_the_run(
    sdk: WorkspaceClient, workspace: RunningWorkspace, tmp_path: Path
) -> None:
    run_id: int = sdk.jobs.run_now(_job(sdk, tmp_path)).run_id
    with pytest.raises(BadRequest, match="when it is over"):
        _repair(sdk, run_id)
    assert _results(_ended(sdk, run_id).tasks or []) == ["SUCCESS", "FAILED", "UPSTREAM_FAILED"]
    with pytest.raises(PermissionDenied):
        _repair(WorkspaceClient(host=workspace.url, token=workspace.token("bob")), run_id)
    first = _repair(sdk, run_id)
    _ended(sdk, run_id)
    (tmp_path / "mended").touch()
    with pytest.raises(InvalidParameterValue, match="latest repair ID needs to be provided"):
        _repair(sdk, run_id)
    with pytest.raises(InvalidParameterValue, match="latest_repair_id"):
        _repair(sdk, run_id, latest_repair_id=1)
    second = _repair(sdk, run_id, latest_repair_id=first, job_parameters={"p": "new"})
    run = _ended(sdk, run_id)
    assert _results([run]) == ["SUCCESS"]
    tasks, history = run.tasks or [], run.repair_history or []
    assert [(t.task_key, t.attempt_number) for t in tasks[3:]] == [
        ("second", 1), ("third", 1), ("second", 2), ("third", 2),
    ]  # fmt: skip
    assert _results(tasks[3:]) == ["FAILED", "UPSTREAM_FAILED", "SUCCESS", "SUCCESS"]
    assert tasks[-1].run_id and (sdk.jobs.get_run_output(tasks[-1].run_id).logs or "").strip() == "new"
    ids = [task.run_id for task in tasks]
    assert [(each.id, each.task_run_ids) for each in history] == [
        (None, ids[:3]), (first, ids[3:5]), (second, ids[5:]),
    ]  # fmt: skip
    assert _results(history) == ["FAILED", "FAILED", "SUCCESS"]


def test_other_overrides_are_refused_by_name(admin: Any) -> None:
    answer = admin.post("/api/2.2/jobs/runs/repair", 501, run_id=1, notebook_params={"a": "b"})
    assert "notebook_params" in answer["message"]
    assert admin.post("/api/2.2/jobs/runs/repair", 400, run_id=1)["error_code"] == "INVALID_PARAMETER_VALUE"
