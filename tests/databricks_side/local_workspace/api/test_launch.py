"""What a run's process is told."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from local_workspace.api.call import Workspace
from local_workspace.api.launch import LaunchError, TaskResult
from local_workspace.api.principals import Principal
from local_workspace.api.run_store import RunRequest

ADMIN = Principal("admin", 1, True)


def _spec(parts: Workspace, settings: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    run_id = parts.runs.run_now(ADMIN, RunRequest(parts.jobs.create(ADMIN, settings, "2.2"), **request))
    task_run = parts.runs.task_runs(run_id)[0]
    parts.launcher.prepare(parts.runs.find(ADMIN, run_id), task_run, "secret")
    path = parts.launcher.folder(task_run["task_run_id"]) / "spec.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parts.launcher.is_prepared(task_run["task_run_id"])
    spec: dict[str, Any] = json.loads(path.read_text())
    return spec


def test_a_script(parts: Workspace, tmp_path: Path) -> None:
    for name in ("a.py", "l.whl"):
        (tmp_path / name).touch()
    script = {
        "python_file": f"dbfs:{tmp_path}/a.py",
        "parameters": ["{{job.parameters.p}}", "{{task.execution_count}}"],
    }
    cluster = {"job_cluster_key": "c", "new_cluster": {"spark_env_vars": {"A": "B"}}}
    task = {
        "task_key": "t", "spark_python_task": script, "libraries": [{"whl": f"{tmp_path}/l.whl"}],
        "job_cluster_key": "c",
    }  # fmt: skip
    spec = _spec(
        parts, {"name": "n", "tasks": [task], "job_clusters": [cluster]}, {"job_parameters": {"p": "1"}}
    )
    assert (
        spec["kind"] == "spark_python_task" and spec["file"] == f"{tmp_path}/a.py" and spec["widgets"] == {}
    )
    assert (
        spec["argv"] == ["1", "1"]
        and spec["libraries"] == [f"{tmp_path}/l.whl"]
        and spec["env"] == {"A": "B"}
    )
    assert (spec["job_name"], spec["principal"], spec["token"], spec["host"]) == (
        "n",
        "admin",
        "secret",
        parts.host,
    )


def test_a_notebook_with_parameters_of_the_call(parts: Workspace, tmp_path: Path) -> None:
    (tmp_path / "n.py").touch()
    notebook = {"notebook_path": f"{tmp_path}/n", "base_parameters": {"a": "1", "b": "{{job.id}}"}}
    settings = {"name": "n", "tasks": [{"task_key": "t", "notebook_task": notebook}]}
    spec = _spec(parts, settings, {"overrides": {"notebook_params": {"a": "2"}}})
    assert spec["widgets"] == {"a": "2", "b": str(spec["job_id"])} and spec["file"] == f"{tmp_path}/n.py"


@pytest.mark.parametrize("path", ["relative.py", "/no/such.py", "s3://bucket/x.py", ""])
def test_a_file_that_is_not_there_is_named(parts: Workspace, path: str, job: dict[str, Any]) -> None:
    job["tasks"][0]["spark_python_task"]["python_file"] = path or "/"
    with pytest.raises(LaunchError, match="is not there"):
        _spec(parts, job, {})


def test_what_a_process_left_behind(parts: Workspace) -> None:
    folder = parts.launcher.folder(7)
    folder.mkdir(parents=True)
    assert parts.launcher.result(7) is None and parts.launcher.log(7, 10) == ("", False)
    assert (
        not parts.launcher.was_started(7)
        and not parts.launcher.is_alive(7)
        and not parts.launcher.is_released(7)
    )
    (folder / "log.txt").write_bytes(b"0123456789\xff")
    (folder / "result.json").write_text(
        '{"exit_code": 1, "notebook_result": null, "error": "E", "error_trace": "T"}'
    )
    assert parts.launcher.log(7, 3) == ("89\ufffd", True)
    assert parts.launcher.result(7) == TaskResult(1, None, "E", "T")
    assert parts.launcher.was_started(7)
