"""The runner: one process for each run, never two; what ends however it ends leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_workspace.engine import Engine
from local_workspace.records import ProcessRecord, read_json
from local_workspace.runner_client import RunnerError, cancel_run, ping, start_run
from tests.databricks_side.local_workspace.conftest import Runs, eventually

SLEEPS = "import time; print('begun', flush=True); time.sleep(600)"
# A stream that goes on by itself on the server, and says so in a file.
STREAM = """
marks = dbutils.widgets.get("marks")
def mark(batch, batch_id):
    with open(marks, "a") as file:
        file.write(f"{batch_id}\\n")
stream = spark.readStream.format("rate").load().writeStream.foreachBatch(mark)
stream.trigger(processingTime="100 milliseconds").option("checkpointLocation", marks + ".checkpoint").start()
print("begun", flush=True)
import time
time.sleep(600)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


class TestStart:
    def test_a_run_writes_its_result_and_its_log(self, runs: Runs) -> None:
        run = runs.finish("print(spark.range(10).count()); import sys; print('to stderr', file=sys.stderr)")
        assert runs.result(run) == {
            "exit_code": 0,
            "notebook_result": None,
            "error": None,
            "error_trace": None,
        }
        assert runs.log(run) == "10\nto stderr\n"
        runs.released(run)

    def test_a_second_start_starts_nothing(self, runs: Runs, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        run = runs.write(f"open({str(mark)!r}, 'a').write('once ')")
        pids = {start_run(runs.state, run) for _ in range(3)}
        runs.result(run)
        pids.add(start_run(runs.state, run))
        assert (len(pids), mark.read_text()) == (1, "once ")

    def test_starts_at_once_from_many_threads_start_once(self, runs: Runs, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        run = runs.write(f"open({str(mark)!r}, 'a').write('once ')")
        pids: list[int] = []
        threads = [threading.Thread(target=lambda: pids.append(start_run(runs.state, run))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runs.result(run)
        assert (len(pids), len(set(pids)), mark.read_text()) == (8, 1, "once ")

    def test_the_process_is_written_down_before_the_answer(self, runs: Runs) -> None:
        run = runs.write(SLEEPS)
        pid = start_run(runs.state, run)
        record = ProcessRecord.read(runs.folder(run) / "pid.json")
        assert record is not None and record.pid == pid and record.alive()
        assert os.getsid(pid) == pid
        cancel_run(runs.state, run)

    def test_a_run_without_a_spec_is_refused(self, runs: Runs) -> None:
        with pytest.raises(RunnerError, match=r"has no spec\.json") as refusal:
            start_run(runs.state, 999_999_999)
        assert refusal.value.reached

    def test_runs_are_apart(self, runs: Runs) -> None:
        code = """
import sys
assert 'leak' not in sys.modules and not spark.catalog.tableExists('only_mine')
spark.range(1).createTempView('only_mine'); sys.modules['leak'] = sys
assert spark.catalog.tableExists('only_mine')
"""
        runs.finish(code)
        runs.finish(code)

    def test_they_do_not_share_random_numbers(self, runs: Runs) -> None:
        code = "import random, numpy; print(random.random(), numpy.random.random())"
        logs = [runs.log(runs.finish(code)).split() for _ in range(2)]
        assert logs[0][0] != logs[1][0] and logs[0][1] != logs[1][1]


class TestEnd:
    def test_killed_by_a_signal(self, runs: Runs) -> None:
        run = runs.start(SLEEPS)
        eventually(lambda: "begun" in runs.log(run))
        runs.kill_run(run)
        assert runs.result(run) == {
            "exit_code": -9,
            "notebook_result": None,
            "error": "The run's process was ended by SIGKILL.",
            "error_trace": None,
        }
        runs.released(run)

    def test_left_by_os_exit(self, runs: Runs) -> None:
        result = runs.result(runs.start("import os; os._exit(7)"))
        assert (result["exit_code"], result["error"]) == (7, "The run's process ended with exit code 7.")

    def test_what_a_run_started_ends_with_it(self, runs: Runs, tmp_path: Path) -> None:
        child = tmp_path / "child"
        run = runs.finish(
            f"import subprocess\nopen({str(child)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
        )
        runs.released(run)
        assert gone(int(child.read_text()))

    def test_a_killed_run_takes_its_streaming_query_along(self, runs: Runs, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        run = runs.start(STREAM, widgets={"marks": str(marks)})
        eventually(lambda: marks.exists() and marks.read_text().count("\n") >= 2)
        runs.kill_run(run)
        runs.released(run)
        before = marks.read_text()
        time.sleep(2)  # twenty triggers
        assert marks.read_text() == before


class TestCancel:
    def test_asked_first(self, runs: Runs) -> None:
        code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit('asked'))\n" + SLEEPS
        run = runs.start(code)
        eventually(lambda: "begun" in runs.log(run))
        cancel_run(runs.state, run)
        assert runs.result(run)["error"] == "SystemExit: asked"

    def test_killed_after_five_seconds(self, runs: Runs) -> None:
        run = runs.start("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS)
        eventually(lambda: "begun" in runs.log(run))
        began = time.monotonic()
        cancel_run(runs.state, run)
        assert runs.result(run)["exit_code"] == -signal.SIGKILL
        assert 4.5 < time.monotonic() - began < 30

    def test_reaches_what_the_run_started(self, runs: Runs, tmp_path: Path) -> None:
        child = tmp_path / "child"
        code = (
            "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
            f"open({str(child)!r}, 'w').write(str(child.pid)); print('begun', flush=True); child.wait()"
        )
        run = runs.start(code)
        eventually(lambda: "begun" in runs.log(run))
        cancel_run(runs.state, run)
        runs.released(run)
        assert gone(int(child.read_text()))

    def test_of_what_has_ended_or_never_was_does_nothing(self, runs: Runs) -> None:
        run = runs.finish("pass")
        cancel_run(runs.state, run)
        cancel_run(runs.state, 999_999_998)
        assert runs.result(run)["exit_code"] == 0


@pytest.fixture
def own(engine: Engine, tmp_path: Path) -> Iterator[Runs]:
    """A runner that the test may kill."""
    runs = Runs(tmp_path / "state", engine.remote)
    yield runs
    if runs.process is not None and runs.process.poll() is None:
        runs.stop()


class TestDeath:
    def test_runs_survive_the_runner_and_a_new_one_watches_them(self, own: Runs, tmp_path: Path) -> None:
        own.serve()
        go = tmp_path / "go"
        waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
        waits += "print(spark.range(3).count())"
        ends, ended = own.start(waits), own.start("pass")
        marks = tmp_path / "marks"
        killed = own.start(STREAM, widgets={"marks": str(marks)})
        eventually(lambda: marks.exists() and marks.read_text())
        own.result(ended)
        own.kill()
        own.kill_run(killed)
        own.serve()
        assert start_run(own.state, ends) == own.pid(ends)  # known again, and not started again
        own.released(killed)
        before = marks.read_text()
        go.touch()
        assert own.result(ends)["exit_code"] == 0
        assert own.log(ends) == "3\n"
        own.released(ends)
        own.released(ended)
        time.sleep(1)
        assert marks.read_text() == before
        assert own.stop() == 0

    def test_a_run_of_an_earlier_runner_is_cancelled(self, own: Runs) -> None:
        own.serve()
        run = own.start("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS)
        eventually(lambda: "begun" in own.log(run))
        own.kill()
        own.serve()
        cancel_run(own.state, run)
        own.released(run)
        assert gone(own.pid(run))
        assert own.stop() == 0

    def test_an_orderly_end_leaves_nothing(self, own: Runs) -> None:
        own.serve()
        run = own.start(SLEEPS)
        eventually(lambda: "begun" in own.log(run))
        assert own.stop() == 0
        assert gone(own.pid(run))
        assert (own.folder(run) / "released").exists()
        assert read_json(own.folder(run) / "result.json")["exit_code"] == -signal.SIGTERM


class TestRequests:
    def test_a_bad_request_ends_nothing(self, runs: Runs) -> None:
        with pytest.raises(RunnerError, match="ValueError"):
            start_run(runs.state, "many")  # type: ignore[arg-type]
        assert ping(runs.state) == runs.process.pid if runs.process else False
