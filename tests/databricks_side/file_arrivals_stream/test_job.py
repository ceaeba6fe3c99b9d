"""The entry: arguments of a Python task, widgets of a notebook, one log line at a time."""

from __future__ import annotations

import logging

import pytest

from databricks_file_arrivals.core.errors import BadInput
from file_arrivals_stream.job import job_parameters, log_to_output, parse_arguments, run_job, widget_values
from file_arrivals_stream.options import PARAMETERS
from local_workspace.runtime import Widgets
from tests.databricks_side.file_arrivals_stream.conftest import Site


def test_arguments_in_both_forms() -> None:
    given = [
        "--log_table=a.b",
        "--batch_interval",
        "10 seconds",
        "--cloudFiles_new=x=y",
        "--cloudFiles.other",
        "--z",
    ]
    assert parse_arguments(given) == {
        "log_table": "a.b",
        "batch_interval": "10 seconds",
        "cloudFiles_new": "x=y",
        "cloudFiles_other": "--z",
    }


@pytest.mark.parametrize("argument", ["--log_tabel=a", "--cloudFiles_=a", "--"])
def test_an_unknown_argument_is_named(argument: str) -> None:
    with pytest.raises(BadInput, match=rf"{argument.split('=')[0]} is not a parameter.*monitored_directory"):
        parse_arguments([argument])


def test_what_may_be_a_value_is_not_shown() -> None:
    with pytest.raises(BadInput, match="An argument without a name") as raised:
        parse_arguments(["--log_table=a", "a-value"])
    assert "a-value" not in str(raised.value)


def test_an_argument_without_a_value_says_how_to_give_one() -> None:
    with pytest.raises(BadInput, match="--log_table=VALUE"):
        parse_arguments(["--log_table"])


def test_widgets_are_read_those_of_any_option_too() -> None:
    widgets = Widgets({"log_table": "a.b", "cloudFiles_brandNew": "1", "of_the_job": "x"})
    values = widget_values(widgets)
    assert {name: value for name, value in values.items() if value} == {
        "log_table": "a.b",
        "cloudFiles_brandNew": "1",
    }
    assert set(values) == {*PARAMETERS, "cloudFiles_brandNew"}


class Utilities:
    """dbutils of a notebook, as far as widgets go."""

    def __init__(self, **values: str) -> None:
        self.widgets = Widgets(values)


@pytest.mark.parametrize("arguments", [[], ["-f", "/kernel.json"], ["/script.py", "-f", "x"]])
def test_a_notebook_has_arguments_of_its_kernel(arguments: list[str]) -> None:
    assert job_parameters(arguments, Utilities(log_table="a.b"))["log_table"] == "a.b"


def test_arguments_of_ours_come_first() -> None:
    assert job_parameters(["--log_table=c"], Utilities(log_table="a.b")) == {"log_table": "c"}


def test_without_either_it_says_so() -> None:
    with pytest.raises(BadInput, match="neither arguments nor widgets"):
        job_parameters([], None)


def test_the_log_shows_in_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("file_arrivals_stream")
    before = (logger.level, logger.propagate)
    try:
        log_to_output()
        log_to_output()
        logging.getLogger("file_arrivals_stream.stream").info("a line")
        logging.getLogger("py4j").info("noise")
    finally:
        logger.handlers.clear()
        logger.level, logger.propagate = before
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].endswith("INFO a line")


def test_a_secret_without_dbutils_is_an_error(connect_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("file_arrivals_stream.job.log_to_output", lambda: None)
    with pytest.raises(BadInput, match="cloudFiles_queueName names the secret a/b"):
        run_job(
            [
                f"--monitored_directory={connect_site.root}",
                f"--checkpoint_directory={connect_site.checkpoint}",
                f"--log_table={connect_site.log.names.log}",
                "--cloudFiles_queueName={{secrets/a/b}}",
            ],
            connect_site.log.spark,
        )
