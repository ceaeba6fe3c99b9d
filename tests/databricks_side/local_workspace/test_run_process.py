"""What a job's code finds when it runs, and what is kept of how it ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local_workspace.records import ProcessRecord
from local_workspace.run_process import Result, Spec, claim
from local_workspace.runner_client import start_run
from tests.databricks_side.local_workspace.conftest import Runs

NOTEBOOK = """# Databricks notebook source
# MAGIC %md
# MAGIC # A heading

# COMMAND ----------

dbutils.widgets.text("table", "default")
answer = spark.range(4).count()

# COMMAND ----------

dbutils.notebook.exit(f"{dbutils.widgets.get('table')} {answer}")
"""


class TestCode:
    def test_it_is_a_program(self, runs: Runs) -> None:
        code = "import sys; print(__name__, __file__ == sys.argv[0], sys.argv[1:])"
        run = runs.finish(code, argv=["--x", "ü y"])
        assert runs.log(run) == "__main__ True ['--x', 'ü y']\n"

    def test_a_module_beside_it_is_imported(self, runs: Runs) -> None:
        run = runs.write("import beside; print(beside.WORD)")
        (runs.folder(run) / "beside.py").write_text("WORD = 'found'")
        start_run(runs.state, run)
        assert runs.result(run)["exit_code"] == 0
        assert runs.log(run) == "found\n"

    def test_spark_and_dbutils_are_there_for_modules_too(self, runs: Runs) -> None:
        runs.finish("import builtins; assert (builtins.spark, builtins.dbutils) == (spark, dbutils)")

    def test_the_usual_ways_to_a_session_lead_to_this_one(self, runs: Runs) -> None:
        runs.finish(
            "from pyspark.sql import SparkSession, functions as F\n"
            "assert SparkSession.builder.getOrCreate() is spark\n"
            "assert SparkSession.builder.appName('x').getOrCreate() is spark\n"
            "assert SparkSession.getActiveSession() is spark\n"
            "assert spark.range(3).select(F.max('id')).collect()[0][0] == 2\n"
        )

    def test_environment(self, runs: Runs) -> None:
        code = (
            "from os import environ as e; print(e['DATABRICKS_HOST'], e['OURS'], len(e['DATABRICKS_TOKEN']))"
        )
        assert runs.log(runs.finish(code, env={"OURS": "x"})) == "http://127.0.0.1:9 x 25\n"

    def test_standard_input_is_empty(self, runs: Runs) -> None:
        assert runs.log(runs.finish("import sys; print(repr(sys.stdin.read()))")) == "''\n"

    def test_output_that_is_not_text_is_escaped(self, runs: Runs) -> None:
        assert runs.log(runs.finish("print('a\\udcffb')")) == "a\\udcffb\n"

    def test_output_of_what_it_starts_is_in_the_log(self, runs: Runs) -> None:
        assert runs.log(runs.finish("import subprocess; subprocess.run(['echo', 'hello'])")) == "hello\n"


class TestResult:
    def test_an_exception(self, runs: Runs) -> None:
        run = runs.start("def f():\n    raise ValueError('no ü')\nf()")
        result = runs.result(run)
        assert (result["exit_code"], result["error"]) == (1, "ValueError: no ü")
        assert result["error_trace"] == runs.log(run)
        lines = result["error_trace"].splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1] == f'  File "{runs.folder(run)}/job.py", line 3, in <module>'

    def test_a_syntax_error(self, runs: Runs) -> None:
        result = runs.result(runs.start("x = = 1"))
        assert result["exit_code"] == 1 and result["error"].startswith("SyntaxError: ")

    def test_a_file_that_is_not_there(self, runs: Runs, tmp_path: Path) -> None:
        result = runs.result(runs.start("", file=str(tmp_path / "none.py")))
        assert result["exit_code"] == 1 and "none.py" in result["error"]

    def test_a_failing_statement(self, runs: Runs) -> None:
        run = runs.start("spark.table('main.default.none').collect()")
        assert "TABLE_OR_VIEW_NOT_FOUND" in runs.result(run)["error"]
        assert runs.log(run).count("Traceback") == 1  # pyspark's own report of it is not printed besides

    @pytest.mark.parametrize(
        ("code", "exit_code", "error"),
        [
            ("exit_with()", 0, None),
            ("exit_with(0)", 0, None),
            ("exit_with(3)", 3, "SystemExit: 3"),
            ("exit_with(256)", 1, "SystemExit: 256"),
            ("exit_with('no luck')", 1, "SystemExit: no luck"),
            ("raise KeyboardInterrupt", 1, "KeyboardInterrupt: "),
        ],
    )
    def test_ways_to_exit(self, runs: Runs, code: str, exit_code: int, error: str | None) -> None:
        result = runs.result(runs.start(f"from sys import exit as exit_with\n{code}"))
        assert (result["exit_code"], result["error"]) == (exit_code, error)

    def test_the_token_is_not_in_the_result(self, runs: Runs) -> None:
        code = "import os\ntoken = os.environ['DATABRICKS_TOKEN']\nprint(token)\nraise ValueError(token)"
        run = runs.start(code)
        assert runs.result(run)["error"] == "ValueError: [REDACTED]"
        assert "dapi" not in runs.log(run)
        assert runs.log(run).startswith("[REDACTED]\n")


class TestNotebook:
    def test_source_format(self, runs: Runs) -> None:
        run = runs.finish(NOTEBOOK, kind="notebook_task", widgets={"table": "main.a.b"})
        assert runs.result(run)["notebook_result"] == "main.a.b 4"

    def test_exit_passes_through_except(self, runs: Runs) -> None:
        code = "# Databricks notebook source\ntry:\n    dbutils.notebook.exit('x')\n"
        code += "except Exception:\n    print('caught')"
        run = runs.finish(code, kind="notebook_task")
        assert (runs.result(run)["notebook_result"], runs.log(run)) == ("x", "")

    @pytest.mark.parametrize("magic", ["pip install x", "run ./other", "sql SELECT 1", "sh ls"])
    def test_magic_commands_are_refused_by_name(self, runs: Runs, magic: str) -> None:
        run = runs.start(
            f"# Databricks notebook source\nprint('begun')\n# MAGIC %{magic}", kind="notebook_task"
        )
        error = runs.result(run)["error"]
        assert error.startswith("NotImplementedError") and f"%{magic.split()[0]} (line 3 of " in error
        assert "begun" not in runs.log(run)

    def test_what_is_not_a_notebook(self, runs: Runs) -> None:
        result = runs.result(runs.start("print(1)", kind="notebook_task"))
        assert "not a notebook in source format" in result["error"]


def test_claim_is_won_once(tmp_path: Path) -> None:
    assert claim(tmp_path)
    assert not claim(tmp_path)
    assert ProcessRecord.read(tmp_path / "pid.json") == ProcessRecord.of(os.getpid())
    assert [path.name for path in tmp_path.iterdir()] == ["pid.json"]


def test_result_is_written_whole(tmp_path: Path) -> None:
    Result(0, notebook_result="x").write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_spec_with_something_missing_says_what(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"task_run_id": 1}')
    with pytest.raises(KeyError, match="kind"):
        Spec.read(tmp_path / "spec.json")
