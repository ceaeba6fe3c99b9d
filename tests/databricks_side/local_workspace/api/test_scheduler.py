"""The scheduler, where no process can be started: it neither loses nor doubles, and says what it waits for.

That runs go from queue to result in real processes is tested in test_runs; that it goes on after a kill, in
test_supervisor.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from local_workspace.api.call import Workspace
from local_workspace.api.principals import Principal
from local_workspace.api.run_store import RunFilter, RunRequest, end_run
from local_workspace.api.scheduler import _promote

ADMIN = Principal("admin", 1, True)


def _until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def job_id(parts: Workspace, job: dict[str, Any], tmp_path: Path) -> int:
    """A job whose file is there."""
    (tmp_path / "a.py").touch()
    job["tasks"][0]["spark_python_task"]["python_file"] = str(tmp_path / "a.py")
    return parts.jobs.create(ADMIN, {**job, "max_concurrent_runs": 10}, "2.2")


def _states(parts: Workspace) -> list[str]:
    return [row["result"] or row["state"] for row in parts.runs.page(ADMIN, RunFilter(), 25, None)[0]][::-1]


def test_as_many_as_have_places_are_started_and_the_others_wait(parts: Workspace, job_id: int) -> None:
    for _ in range(4):
        parts.runs.run_now(ADMIN, RunRequest(job_id))
    parts.scheduler.start()
    _until(lambda: _states(parts) == ["RUNNING", "RUNNING", "PENDING", "PENDING"])
    parts.runs.cancel_all(ADMIN, job_id)
    _until(lambda: _states(parts) == ["CANCELED"] * 4)
    parts.scheduler.stop()


def test_a_run_whose_file_is_missing_ends_and_gives_its_place_to_the_next(
    parts: Workspace, job: dict[str, Any]
) -> None:
    job["tasks"][0]["spark_python_task"]["python_file"] = "/no/such.py"
    broken = parts.jobs.create(ADMIN, job, "2.2")
    runs = [parts.runs.run_now(ADMIN, RunRequest(broken)) for _ in range(3)]
    assert _states(parts) == ["PENDING", "QUEUED", "QUEUED"]
    parts.scheduler.start()
    _until(lambda: _states(parts) == ["INTERNAL_ERROR"] * 3)
    parts.scheduler.stop()
    ends = [parts.runs.find(ADMIN, run_id)["ended_at"] for run_id in runs]
    assert ends == sorted(ends) and "/no/such.py" in parts.runs.find(ADMIN, runs[0])["message"]
    assert (
        parts.state.reading.execute("SELECT count(*) FROM tokens WHERE task_run_id IS NOT NULL").fetchone()[0]
        == 0
    )


def test_free_places_go_to_the_oldest_of_each_queue(parts: Workspace, job: dict[str, Any]) -> None:
    """Places are freed by an end, and by a job that is given more of them."""
    jobs = [
        parts.jobs.create(ADMIN, {**job, "max_concurrent_runs": places, "queue": {"enabled": True}}, "2.2")
        for places in (1, 2)
    ]
    runs = {job_id: [parts.runs.run_now(ADMIN, RunRequest(job_id)) for _ in range(5)] for job_id in jobs}

    def pending() -> list[int]:
        with parts.state.writing() as db:
            _promote(db)
            found = db.execute("SELECT run_id FROM runs WHERE state = 'PENDING' ORDER BY seq").fetchall()
        return [run_id for (run_id,) in found]

    one, two = runs.values()
    assert pending() == [one[0], *two[:2]]
    with parts.state.writing() as db:
        end_run(db, one[0], "SUCCESS", "")
        end_run(db, two[1], "SUCCESS", "")
    assert pending() == [one[1], two[0], two[2]]
    parts.jobs.update(ADMIN, jobs[0], {"max_concurrent_runs": 3}, [], "2.2")
    assert pending() == [*one[1:4], two[0], two[2]]


def test_a_result_found_after_a_restart_is_taken(parts: Workspace, job_id: int) -> None:
    run_id = parts.runs.run_now(ADMIN, RunRequest(job_id))
    task_run_id = parts.runs.task_runs(run_id)[0]["task_run_id"]
    with parts.state.writing() as db:
        db.execute("UPDATE task_runs SET state = 'RUNNING', started_at = 1")
        db.execute("UPDATE runs SET state = 'RUNNING', started_at = 1")
    folder = parts.launcher.folder(task_run_id)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"exit_code": 0}')
    (folder / "released").touch()
    parts.scheduler.start()
    _until(lambda: _states(parts) == ["SUCCESS"])
    parts.scheduler.stop()


def test_a_run_that_ended_just_before_a_crash_is_closed_at_the_start(parts: Workspace, job_id: int) -> None:
    parts.runs.run_now(ADMIN, RunRequest(job_id))
    with parts.state.writing() as db:
        db.execute("UPDATE task_runs SET state = 'TERMINATED', result = 'FAILED', message = 'why'")
        db.execute("UPDATE runs SET state = 'RUNNING'")
    parts.scheduler.start()
    parts.scheduler.stop()
    assert _states(parts) == ["FAILED"]
