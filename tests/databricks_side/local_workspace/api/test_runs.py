"""The Jobs API: runs, with the unmodified SDK and real processes."""

import threading
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from databricks.sdk.service import jobs

from local_workspace.testing import RunningWorkspace

Make = Callable[..., int]
ENDED = timedelta(seconds=120)


@pytest.fixture(scope="module")
def sdk(workspace: RunningWorkspace) -> WorkspaceClient:
    """The admin's client."""
    return WorkspaceClient(host=workspace.url, token=workspace.token())


@pytest.fixture
def make(sdk: WorkspaceClient, tmp_path: Path) -> Make:
    """Makes a job of one Python task out of its source."""

    def created(source: str, *arguments: str, name: str = "script", **settings: Any) -> int:
        file = tmp_path / f"{name}.py"
        file.write_text(source)
        task = jobs.Task(
            task_key="only",
            spark_python_task=jobs.SparkPythonTask(python_file=str(file), parameters=list(arguments)),
            **settings.pop("task", {}),
        )
        job_id = sdk.jobs.create(name=name, tasks=[task], **settings).job_id
        assert job_id is not None
        return job_id

    return created


def _ended(sdk: WorkspaceClient, run_id: int) -> jobs.Run:
    """The run once it is over, however it ended."""
    deadline = time.monotonic() + ENDED.total_seconds()
    while time.monotonic() < deadline:
        run = sdk.jobs.get_run(run_id)
        assert run.status is not None
        if run.status.state == jobs.RunLifecycleStateV2State.TERMINATED:
            return run
        time.sleep(0.1)
    raise AssertionError(f"run {run_id} did not end: {run.as_dict()}")


def _started(sdk: WorkspaceClient, job_id: int, **more: Any) -> int:
    run_id: int | None = sdk.jobs.run_now(job_id, **more).run_id
    assert run_id is not None
    return run_id


def _code(run: jobs.Run) -> str:
    assert run.status and run.status.termination_details and run.status.termination_details.code
    return run.status.termination_details.code.value


def _output(sdk: WorkspaceClient, run: jobs.Run) -> jobs.RunOutput:
    assert run.tasks and run.tasks[0].run_id
    return sdk.jobs.get_run_output(run.tasks[0].run_id)


def test_a_script_gets_its_arguments_and_spark(sdk: WorkspaceClient, make: Make) -> None:
    source = "import sys\nprint(sys.argv[1:], spark.sql('SELECT 6 * 7').collect()[0][0], __name__)\n"
    arguments = [
        "{{job.parameters.a}}",
        "{{job.parameters.extra}}",
        "{{job.run_id}}",
        "{{task.name}}",
        "{{secrets/x/y}}",
    ]
    job_id = make(
        source, *arguments, parameters=[jobs.JobParameterDefinition(name="a", default="{{job.id}}")]
    )
    run = sdk.jobs.run_now(job_id, job_parameters={"extra": 'it\'s "quoted"\n✓'}).result(ENDED)
    assert run.state and run.state.result_state == jobs.RunResultState.SUCCESS and _code(run) == "SUCCESS"
    given = [str(job_id), 'it\'s "quoted"\n✓', str(run.run_id), "only", "{{secrets/x/y}}"]
    assert _output(sdk, run).logs == f"{given} 42 __main__\n"
    assert {p.name: (p.default, p.value) for p in run.job_parameters or []} == {
        "a": ("{{job.id}}", str(job_id)),
        "extra": (None, 'it\'s "quoted"\n✓'),
    }
    assert (
        run.run_name == "script"
        and run.creator_user_name == "admin"
        and run.trigger == jobs.TriggerType.ONE_TIME
    )
    assert run.start_time and run.end_time and run.start_time < run.end_time
    assert run.original_attempt_run_id == run.number_in_job == run.run_id


def test_a_notebook_gets_widgets_and_returns_a_value(sdk: WorkspaceClient, tmp_path: Path) -> None:
    (tmp_path / "nb.py").write_text(
        "# Databricks notebook source\n# MAGIC %md\n# MAGIC # title\n# COMMAND ----------\n"
        "values = [dbutils.widgets.get(name) for name in ('own', 'both', 'pushed')]\n"
        "dbutils.notebook.exit('|'.join(values))\n"
    )
    notebook = jobs.NotebookTask(
        notebook_path=str(tmp_path / "nb"), base_parameters={"own": "{{job.name}}", "both": "task"}
    )
    job_id = sdk.jobs.create(
        name="nb",
        tasks=[jobs.Task(task_key="n", notebook_task=notebook)],
        parameters=[jobs.JobParameterDefinition(name=name, default="job") for name in ("both", "pushed")],
    ).job_id
    assert job_id is not None
    run = sdk.jobs.run_now(job_id, job_parameters={"pushed": "now"}).result(ENDED)
    output = _output(sdk, run)
    assert output.notebook_output and output.notebook_output.result == "nb|job|now"
    assert run.run_id is not None and output.metadata and output.metadata.job_id == job_id
    whole = sdk.jobs.get_run_output(run.run_id)
    assert whole.notebook_output == output.notebook_output


def test_a_failure_tells_its_error_and_its_trace(sdk: WorkspaceClient, make: Make) -> None:
    run = _ended(
        sdk, _started(sdk, make("print('before')\ndef f():\n    raise ValueError('no luck')\nf()\n"))
    )
    assert run.state and run.state.result_state == jobs.RunResultState.FAILED
    assert (
        run.state.life_cycle_state == jobs.RunLifeCycleState.INTERNAL_ERROR
        and _code(run) == "RUN_EXECUTION_ERROR"
    )
    message = "Task only failed with message: Workload failed, see run output for details."
    assert run.state.state_message == message
    assert run.tasks and run.tasks[0].state and run.tasks[0].state.result_state == jobs.RunResultState.FAILED
    output = _output(sdk, run)
    assert output.error == "ValueError: no luck"
    assert (
        output.error_trace
        and "in f" in output.error_trace
        and output.logs
        and output.logs.startswith("before\n")
    )


def test_a_file_that_is_not_there_fails_the_run_and_says_so(sdk: WorkspaceClient) -> None:
    task = jobs.Task(task_key="t", notebook_task=jobs.NotebookTask(notebook_path="/no/such/notebook"))
    job_id = sdk.jobs.create(name="nowhere", tasks=[task]).job_id
    assert job_id is not None
    run = _ended(sdk, _started(sdk, job_id))
    assert _code(run) == "INTERNAL_ERROR"
    assert run.state and run.state.state_message and "/no/such/notebook" in run.state.state_message
    assert "/no/such/notebook" in (_output(sdk, run).error or "")


def test_a_running_run_is_cancelled(sdk: WorkspaceClient, make: Make) -> None:
    run_id = _started(sdk, make("import time\nprint('up', flush=True)\ntime.sleep(600)\n"))
    while not sdk.jobs.get_run_output(run_id).logs:
        time.sleep(0.1)
    with pytest.raises(Exception, match="is RUNNING"):
        sdk.jobs.delete_run(run_id)
    begun = time.monotonic()
    run = sdk.jobs.cancel_run(run_id).result(ENDED)
    assert time.monotonic() - begun < 20
    assert (
        run.state and run.state.result_state == jobs.RunResultState.CANCELED and _code(run) == "USER_CANCELED"
    )
    sdk.jobs.cancel_run(run_id)
    sdk.jobs.delete_run(run_id)
    with pytest.raises(ResourceDoesNotExist, match=f"Run {run_id} does not exist"):
        sdk.jobs.get_run(run_id)


def test_a_queue_is_first_come_first_served(sdk: WorkspaceClient, make: Make) -> None:
    job_id = make("import time\ntime.sleep(0.3)\n", queue=jobs.QueueSettings(enabled=True))
    runs = [_started(sdk, job_id) for _ in range(4)]
    waiting = sdk.jobs.get_run(runs[-1])
    assert waiting.status and waiting.status.state == jobs.RunLifecycleStateV2State.QUEUED
    assert waiting.status.queue_details and waiting.status.queue_details.code
    assert [run.run_id for run in sdk.jobs.list_runs(job_id=job_id, active_only=True)] == runs[::-1]
    ended = [_ended(sdk, run_id) for run_id in runs]
    times = [(run.tasks[0].execution_duration, run.end_time) for run in ended if run.tasks]
    assert [end for _, end in times] == sorted(end or 0 for _, end in times)
    assert {_code(run) for run in ended} == {"SUCCESS"}


def test_without_a_queue_a_busy_job_skips(sdk: WorkspaceClient, make: Make) -> None:
    job_id = make("import time\ntime.sleep(60)\n", queue=jobs.QueueSettings(enabled=False))
    first, second = _started(sdk, job_id), _started(sdk, job_id)
    run = sdk.jobs.get_run(second)
    assert run.state and run.state.life_cycle_state == jobs.RunLifeCycleState.SKIPPED
    assert run.state.result_state == jobs.RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED
    assert _code(run) == "MAX_CONCURRENT_RUNS_EXCEEDED"
    sdk.jobs.cancel_all_runs(job_id=job_id)
    assert _code(_ended(sdk, first)) == "USER_CANCELED"


def test_tasks_run_in_the_order_of_their_dependencies(sdk: WorkspaceClient, tmp_path: Path) -> None:
    (tmp_path / "ok.py").write_text("")
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")

    def task(key: str, file: str, *needs: str) -> jobs.Task:
        script = jobs.SparkPythonTask(python_file=str(tmp_path / file))
        depends = [jobs.TaskDependency(task_key=need) for need in needs]
        return jobs.Task(task_key=key, spark_python_task=script, depends_on=depends)

    tasks = [
        task("d", "ok.py", "b", "c"),
        task("a", "ok.py"),
        task("b", "ok.py", "a"),
        task("c", "bad.py", "a"),
    ]
    job_id = sdk.jobs.create(name="diamond", tasks=tasks).job_id
    assert job_id is not None
    run = _ended(sdk, _started(sdk, job_id))
    found = {each.task_key: each for each in run.tasks or []}
    results = {
        key: each.state.result_state.value
        for key, each in found.items()
        if each.state and each.state.result_state
    }
    assert results == {"a": "SUCCESS", "b": "SUCCESS", "c": "FAILED", "d": "UPSTREAM_FAILED"}
    assert run.state and run.state.result_state == jobs.RunResultState.FAILED
    assert (found["a"].end_time or 0) <= (found["b"].end_time or 0)
    assert run.run_id is not None
    with pytest.raises(InvalidParameterValue, match="multiple tasks"):
        sdk.jobs.get_run_output(run.run_id)
    failed = found["c"].run_id
    assert failed is not None and sdk.jobs.get_run(failed).state == found["c"].state


def test_retries_and_timeouts(sdk: WorkspaceClient, make: Make, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    source = (
        f"import pathlib\nflag = pathlib.Path({str(flag)!r})\n"
        "if not flag.exists():\n    flag.touch()\n    raise OSError\n"
    )
    run = _ended(sdk, _started(sdk, make(source, name="retry", task={"max_retries": 1})))
    assert _code(run) == "SUCCESS"
    assert [each.attempt_number for each in run.tasks or []] == [0, 1]
    slow = make("import time\ntime.sleep(60)\n", name="slow", task={"timeout_seconds": 1})
    run = _ended(sdk, _started(sdk, slow))
    assert (
        run.tasks and run.tasks[0].state and run.tasks[0].state.result_state == jobs.RunResultState.TIMEDOUT
    )
    whole = make("import time\ntime.sleep(60)\n", name="whole", timeout_seconds=1)
    run = _ended(sdk, _started(sdk, whole))
    assert run.state and run.state.result_state == jobs.RunResultState.TIMEDOUT


def test_libraries_and_environment_variables_reach_the_process(
    sdk: WorkspaceClient, make: Make, tmp_path: Path
) -> None:
    wheel = tmp_path / "shelf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("shelf/__init__.py", "BOOK = 'found'\n")
        archive.writestr("shelf-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
        archive.writestr(
            "shelf-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("shelf-1.0.dist-info/RECORD", "")
    from databricks.sdk.service import compute

    cluster = compute.ClusterSpec(spark_version="x", num_workers=0, spark_env_vars={"SHELF": "wood"})
    job_id = make(
        "import os, shelf\nprint(shelf.BOOK, os.environ['SHELF'])\n",
        name="library",
        task={"libraries": [compute.Library(whl=str(wheel))], "new_cluster": cluster},
    )
    run = _ended(sdk, _started(sdk, job_id))
    assert _output(sdk, run).logs == "found wood\n", _output(sdk, run).error


def test_a_run_has_the_rights_of_its_run_as(
    workspace: RunningWorkspace, sdk: WorkspaceClient, make: Make
) -> None:
    source = (
        "from databricks.sdk import WorkspaceClient\nprint(WorkspaceClient().current_user.me().user_name)\n"
        "import os; print(os.environ['DATABRICKS_TOKEN'])"
    )
    job_id = make(source, name="who", run_as=jobs.JobRunAs(user_name="alice"))
    run = _ended(sdk, _started(sdk, job_id))
    logs = _output(sdk, run).logs or ""
    assert logs.splitlines()[0] == "alice"
    assert logs.splitlines()[1] == "[REDACTED]"


def test_a_hundred_calls_at_once(workspace: RunningWorkspace, sdk: WorkspaceClient, make: Make) -> None:
    """Fifty tokens, each sent twice, from a hundred threads: fifty runs, and none waits long."""
    job_id = make("", name="many", max_concurrent_runs=1, queue=jobs.QueueSettings(enabled=True))
    found: list[tuple[str, int | None]] = []
    took: list[float] = []

    def call(number: int) -> None:
        client = WorkspaceClient(host=workspace.url, token=workspace.token())
        begun = time.monotonic()
        run_id = client.jobs.run_now(job_id, idempotency_token=f"many-{job_id}-{number % 50}").run_id
        took.append(time.monotonic() - begun)
        found.append((f"{number % 50}", run_id))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sdk.jobs.cancel_all_runs(job_id=job_id)
    assert len(found) == 100 and len({run_id for _, run_id in found}) == len(set(found)) == 50
    assert sorted(took)[-1] < 10
    assert len(list(sdk.jobs.list_runs(job_id=job_id))) == 50


def test_no_permission_no_run(workspace: RunningWorkspace, make: Make) -> None:
    bob = WorkspaceClient(host=workspace.url, token=workspace.token("bob"))
    with pytest.raises(PermissionDenied, match="User bob does not have"):
        bob.jobs.run_now(make(""))


def test_what_run_now_does_not_know_is_refused_by_name(sdk: WorkspaceClient, make: Make) -> None:
    job_id = make("")
    for argument in ({"jar_params": ["a"]}, {"only": ["x"]}):
        with pytest.raises(Exception, match=next(iter(argument))):
            sdk.jobs.run_now(job_id, **argument)  # type: ignore[arg-type]
