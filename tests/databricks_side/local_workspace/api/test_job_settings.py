"""Job settings: what is filled in, what is refused and how."""

from typing import Any

import pytest

from local_workspace.api.errors import ApiError, InvalidParameter, NotImplementedHere
from local_workspace.api.job_settings import checked_settings, declared_parameters, is_queued, wheels_of

TASK = {"task_key": "t", "spark_python_task": {"python_file": "/a.py"}}
NOTEBOOK = {"task_key": "n", "notebook_task": {"notebook_path": "/n"}}


def _checked(version: str = "2.2", **given: Any) -> dict[str, Any]:
    return checked_settings({"name": "j", "tasks": [TASK], **given}, version)


def test_what_databricks_fills_in_is_filled_in() -> None:
    settings = checked_settings({"tasks": [TASK]}, "2.2")
    assert (settings["name"], settings["max_concurrent_runs"], settings["format"]) == (
        "Untitled",
        1,
        "MULTI_TASK",
    )
    assert settings["tasks"][0]["run_if"] == "ALL_SUCCESS"
    assert settings["tasks"][0]["spark_python_task"]["source"] == "WORKSPACE"


def test_jobs_of_api_2_2_queue_and_older_ones_do_not() -> None:
    assert is_queued(_checked("2.2"))
    assert not is_queued(_checked("2.1"))
    assert not is_queued(_checked("2.2", queue={"enabled": False}))
    assert is_queued(_checked("2.0", queue={"enabled": True}))


@pytest.mark.parametrize(
    "given",
    [
        {"continuous": {"pause_status": "UNPAUSED"}},
        {"schedule": {"quartz_cron_expression": "0 0 * * * ?", "timezone_id": "UTC"}},
        {"trigger": {"file_arrival": {"url": "/x"}}},
        {"git_source": {"git_url": "x"}},
        {"email_notifications": {"on_failure": ["a@b"]}},
        {"something_new": 1},
        {"tasks": [{"task_key": "t", "sql_task": {}}]},
        {"tasks": [{**TASK, "run_if": "ALL_DONE"}]},
        {"tasks": [{**TASK, "libraries": [{"pypi": {"package": "x"}}]}]},
        {"tasks": [{**TASK, "spark_python_task": {"python_file": "/a.py", "source": "GIT"}}]},
        {
            "tasks": [
                {
                    **TASK,
                    "spark_python_task": {"python_file": "/a.py", "parameters": ["{{tasks.a.values.b}}"]},
                }
            ]
        },
        {"tasks": [{**TASK, "new_cluster": {"spark_conf": {"a": "b"}}}]},
        {"parameters": [{"name": "a", "default": "{{job.start_time.iso_date}}"}]},
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedHere):
        _checked(**given)


@pytest.mark.parametrize(
    "given",
    [
        {
            "schedule": {
                "quartz_cron_expression": "0 0 * * * ?",
                "timezone_id": "UTC",
                "pause_status": "PAUSED",
            }
        },
        {"email_notifications": {"on_failure": []}, "webhook_notifications": {}},
        {
            "tags": {"a": "b"},
            "description": "d",
            "job_clusters": [{"job_cluster_key": "c", "new_cluster": {}}],
        },
        {"environments": [{"environment_key": "e", "spec": {"client": "1", "dependencies": ["/x.whl"]}}]},
        {"tasks": [{**TASK, "max_retries": 2, "timeout_seconds": 5, "min_retry_interval_millis": 10}]},
        {"tasks": []},
    ],
)
def test_what_changes_nothing_is_taken(given: dict[str, Any]) -> None:
    assert _checked(**given).items() >= {"name": "j"}.items()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"max_concurrent_runs": 1001}, "max_concurrent_runs"),
        ({"max_concurrent_runs": True}, "max_concurrent_runs"),
        ({"queue": {"enabled": "yes"}}, "queue"),
        ({"tasks": [TASK, TASK]}, "unique"),
        ({"tasks": [{**TASK, "task_key": "a b"}]}, "a b"),
        ({"tasks": [{"task_key": "t"}]}, "exactly one"),
        ({"tasks": [{**TASK, **NOTEBOOK}]}, "exactly one"),
        ({"tasks": [{**TASK, "depends_on": [{"task_key": "x"}]}]}, "does not have"),
        (
            {
                "tasks": [
                    {**TASK, "depends_on": [{"task_key": "n"}]},
                    {**NOTEBOOK, "depends_on": [{"task_key": "t"}]},
                ]
            },
            "circle",
        ),
        ({"tasks": [{**TASK, "environment_key": "x"}]}, "environment"),
        ({"parameters": [{"name": "a b"}]}, "a b"),
        ({"parameters": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"parameters": {"a": 1}}, "array"),
        ({"tasks": [{"task_key": "t", "spark_python_task": {}}]}, "python_file"),
        (
            {"tasks": [{"task_key": "t", "spark_python_task": {"python_file": "/a", "parameters": [1]}}]},
            "strings",
        ),
    ],
)
def test_what_databricks_refuses_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidParameter, match=why):
        _checked(**given)


def test_parameters_and_wheels() -> None:
    settings = _checked(
        parameters=[{"name": "a", "default": 1}, {"name": "b"}],
        environments=[{"environment_key": "e", "spec": {"dependencies": ["/e.whl"]}}],
        tasks=[{**TASK, "environment_key": "e", "libraries": [{"whl": "/l.whl"}]}, NOTEBOOK],
    )
    assert declared_parameters(settings) == {"a": "1", "b": ""}
    assert wheels_of(settings, settings["tasks"][0]) == ["/l.whl", "/e.whl"]
    assert wheels_of(settings, settings["tasks"][1]) == []


def test_every_refusal_is_an_answer_of_the_api() -> None:
    """Garbage of any shape is refused with an error that has a body, never with a traceback."""
    garbage: list[Any] = [1, "x", [], [1], {"a": 1}, [{"task_key": 1}], None, [[]]]
    for value in garbage:
        for name in ("tasks", "parameters", "environments", "job_clusters", "queue", "name"):
            try:
                checked_settings({"name": "j", "tasks": [TASK], name: value}, "2.2")
            except ApiError as error:
                assert error.message
