"""Job settings: which are understood, what Databricks fills in, and a clear refusal of all others.

A setting is *kept* (it works here), *noted* (stored and given back; it chooses compute or labels, and there
is one engine here, so it changes nothing that a run computes), or refused with 501 and its name. Never
dropped in silence.
"""

import json
import re
from typing import Any

from local_workspace.api.arguments import as_text
from local_workspace.api.errors import InvalidParameter, NotImplementedHere

Settings = dict[str, Any]

MAX_TASKS = 1000
TASK_KINDS = ("spark_python_task", "notebook_task")
_KEPT = {
    "name",
    "tasks",
    "parameters",
    "queue",
    "max_concurrent_runs",
    "timeout_seconds",
    "environments",
    "run_as",
}
_NOTED = {
    "tags", "description", "format", "edit_mode", "budget_policy_id", "usage_policy_id", "performance_target",
    "deployment", "parent_path", "job_clusters",
}  # fmt: skip
_TASK_KEPT = {
    "task_key", "depends_on", "run_if", "libraries", "environment_key", "timeout_seconds", "max_retries",
    "min_retry_interval_millis", "retry_on_timeout", *TASK_KINDS,
}  # fmt: skip
_TASK_NOTED = {
    "description", "job_cluster_key", "existing_cluster_id", "new_cluster", "disable_auto_optimization",
    "compute",
}  # fmt: skip
# Harmless when they say nothing: an empty list of addresses, a schedule that is paused.
_EMPTY_ONLY = {"email_notifications", "webhook_notifications", "notification_settings", "health"}
_PAUSED_ONLY = {"schedule", "continuous", "trigger"}
_KIND_FIELDS = {
    "spark_python_task": {"python_file", "parameters", "source"},
    "notebook_task": {"notebook_path", "base_parameters", "source"},
}
_NAME = re.compile(r"[\w.-]+")
_TASK_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CLUSTER_REFUSED = ("init_scripts", "docker_image", "spark_conf")
_REFERENCE = re.compile(r"\{\{\s*((?:job|task|tasks|workspace|backfill|input)\b[^{}]*?)\s*\}\}")
REFERENCES = ("job.id", "job.name", "job.run_id", "task.name", "task.run_id", "task.execution_count")


def checked_settings(given: Settings, version: str) -> Settings:
    """The settings to store: all of them understood, with the defaults that Databricks fills in.

    `version` is the API's: jobs made by 2.2 queue their runs unless told otherwise, others do not.
    """
    _refuse_unknown(given, _KEPT | _NOTED, "job setting")
    settings = {key: value for key, value in given.items() if value is not None}
    settings["name"] = _text(settings.get("name", "Untitled"), "name")
    settings["max_concurrent_runs"] = _number(
        settings.get("max_concurrent_runs", 1), "max_concurrent_runs", 0, 1000
    )
    settings["timeout_seconds"] = _number(settings.get("timeout_seconds", 0), "timeout_seconds", 0, 10**9)
    settings.setdefault("format", "MULTI_TASK")
    settings.setdefault("email_notifications", {})
    settings.setdefault("webhook_notifications", {})
    queue = settings.setdefault("queue", {"enabled": True}) if version == "2.2" else settings.get("queue")
    if queue is not None and (not isinstance(queue, dict) or not isinstance(queue.get("enabled"), bool)):
        raise InvalidParameter('queue has to be {"enabled": true} or {"enabled": false}.')
    if "parameters" in settings:
        settings["parameters"] = _checked_parameters(settings["parameters"])
    for cluster in _objects(settings.get("job_clusters", []), "job_clusters"):
        _check_cluster(cluster.get("new_cluster"))
    environments = _checked_environments(settings.get("environments", []))
    settings["tasks"] = _checked_tasks(settings.get("tasks", []), environments)
    return settings


def is_queued(settings: Settings) -> bool:
    """Whether a run of a busy job waits for its turn."""
    return bool(settings.get("queue", {}).get("enabled", False))


def declared_parameters(settings: Settings) -> dict[str, str]:
    """The job's parameters with their defaults."""
    return {parameter["name"]: parameter["default"] for parameter in settings.get("parameters", [])}


def wheels_of(settings: Settings, task: Settings) -> list[str]:
    """The wheels a task asks for, by its libraries or its environment."""
    wheels = [library["whl"] for library in task.get("libraries", [])]
    for environment in settings.get("environments", []):
        if environment["environment_key"] == task.get("environment_key"):
            wheels += environment.get("spec", {}).get("dependencies", [])
    return wheels


def _refuse_unknown(given: Settings, known: set[str], what: str) -> None:
    for key, value in given.items():
        if key in known or value is None:
            continue
        if key in _EMPTY_ONLY and not _says_something(value):
            continue
        if key in _PAUSED_ONLY and isinstance(value, dict) and value.get("pause_status") == "PAUSED":
            continue
        hint = " (unless paused)" if key in _PAUSED_ONLY else ""
        raise NotImplementedHere(f"The local workspace does not implement the {what} {key!r}{hint}.")


def _says_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_says_something(each) for each in value.values())
    return bool(value)


def _checked_parameters(given: Any) -> list[dict[str, str]]:
    parameters: dict[str, dict[str, str]] = {}
    for each in _objects(given, "parameters"):
        name = _text(each.get("name"), "parameters.name")
        if not _NAME.fullmatch(name):
            raise InvalidParameter(
                f"Job parameter name {name!r} may hold letters, digits, '_', '-' and '.' only."
            )
        if name in parameters:
            raise InvalidParameter(f"Job parameter {name!r} is declared twice.")
        default = as_text(each.get("default", ""), f"parameters.{name}.default")
        _check_references(default)
        parameters[name] = {"name": name, "default": default}
    return list(parameters.values())


def _checked_environments(given: Any) -> set[str]:
    keys = set()
    for each in _objects(given, "environments"):
        _refuse_unknown(each, {"environment_key", "spec"}, "setting of environments")
        spec = each.get("spec") or {}
        _refuse_unknown(
            spec, {"client", "environment_version", "dependencies"}, "setting of environments.spec"
        )
        for wheel in spec.get("dependencies") or []:
            _check_wheel(wheel, "environments.spec.dependencies")
        keys.add(_text(each.get("environment_key"), "environments.environment_key"))
    return keys


def _checked_tasks(given: Any, environments: set[str]) -> list[Settings]:
    tasks = _objects(given, "tasks")
    if len(tasks) > MAX_TASKS:
        raise InvalidParameter(f"A job has at most {MAX_TASKS} tasks, this one {len(tasks)}.")
    checked = [_checked_task(task, environments) for task in tasks]
    keys = [task["task_key"] for task in checked]
    if len(set(keys)) != len(keys):
        raise InvalidParameter("Task keys have to be unique within a job.")
    _check_dependencies(checked)
    return checked


def _checked_task(given: Settings, environments: set[str]) -> Settings:
    key = _text(given.get("task_key"), "tasks.task_key")
    if not _TASK_KEY.fullmatch(key):
        raise InvalidParameter(f"Task key {key!r}: 1 to 100 letters, digits, '_' and '-'.")
    _refuse_unknown(given, _TASK_KEPT | _TASK_NOTED, f"setting of task {key!r}")
    task = {name: value for name, value in given.items() if value is not None}
    if task.setdefault("run_if", "ALL_SUCCESS") != "ALL_SUCCESS":
        raise NotImplementedHere(
            f"The local workspace does not implement run_if {task['run_if']!r} of task {key!r}."
        )
    for name, least, default in (
        ("timeout_seconds", 0, 0),
        ("max_retries", -1, None),
        ("min_retry_interval_millis", 0, None),
    ):
        if name in task or default is not None:
            task[name] = _number(task.get(name, default), f"tasks.{name}", least, 10**9)
    for library in _objects(task.get("libraries", []), "tasks.libraries"):
        _refuse_unknown(library, {"whl"}, f"library of task {key!r}")
        _check_wheel(library.get("whl"), "tasks.libraries.whl")
    if task.get("environment_key") is not None and task["environment_key"] not in environments:
        raise InvalidParameter(
            f"Task {key!r} names environment {task['environment_key']!r}, which the job does not have."
        )
    _check_cluster(task.get("new_cluster"))
    _check_kind(key, task)
    task.setdefault("email_notifications", {})
    return task


def _check_kind(key: str, task: Settings) -> None:
    kinds = [kind for kind in TASK_KINDS if kind in task]
    if len(kinds) != 1:
        raise InvalidParameter(f"Task {key!r} has to have exactly one of {' and '.join(TASK_KINDS)}.")
    kind = task[kinds[0]]
    if not isinstance(kind, dict):
        raise InvalidParameter(f"{kinds[0]} of task {key!r} has to be an object.")
    _refuse_unknown(kind, _KIND_FIELDS[kinds[0]], f"setting of {kinds[0]}")
    if kind.setdefault("source", "WORKSPACE") != "WORKSPACE":
        raise NotImplementedHere(
            f"The local workspace does not implement source {kind['source']!r} of task {key!r}."
        )
    if kinds[0] == "spark_python_task":
        _text(kind.get("python_file"), "spark_python_task.python_file")
        values = kind.get("parameters", [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidParameter(
                f"spark_python_task.parameters of task {key!r} has to be an array of strings."
            )
    else:
        _text(kind.get("notebook_path"), "notebook_task.notebook_path")
        given = kind.get("base_parameters", {})
        if not isinstance(given, dict):
            raise InvalidParameter(f"notebook_task.base_parameters of task {key!r} has to be an object.")
        kind["base_parameters"] = {
            name: as_text(value, f"base_parameters.{name}") for name, value in given.items()
        }
        values = list(kind["base_parameters"].values())
    for value in values:
        _check_references(value)


def _check_references(value: str) -> None:
    """Refuse a dynamic value reference that would stay as it is and be taken for text."""
    for reference in _REFERENCE.findall(value):
        if reference not in REFERENCES and not reference.startswith("job.parameters."):
            raise NotImplementedHere(
                f"The local workspace does not implement the value reference {{{{{reference}}}}}."
            )


def _check_dependencies(tasks: list[Settings]) -> None:
    waiting = {}
    for task in tasks:
        needs = _objects(task.get("depends_on", []), "tasks.depends_on")
        for need in needs:
            _refuse_unknown(need, {"task_key"}, f"setting of depends_on of task {task['task_key']!r}")
        waiting[task["task_key"]] = {_text(need.get("task_key"), "depends_on.task_key") for need in needs}
    for key, keys in waiting.items():
        if missing := sorted(keys - set(waiting)):
            raise InvalidParameter(
                f"Task {key!r} depends on task {missing[0]!r}, which the job does not have."
            )
    while waiting:
        ready = {key for key, keys in waiting.items() if not keys & set(waiting)}
        if not ready:
            raise InvalidParameter(
                f"The tasks {', '.join(sorted(waiting))} depend on each other in a circle."
            )
        waiting = {key: keys for key, keys in waiting.items() if key not in ready}


def _check_cluster(cluster: Any) -> None:
    if not isinstance(cluster, dict):
        return
    for key in _CLUSTER_REFUSED:
        if cluster.get(key):
            raise NotImplementedHere(f"The local workspace does not implement the cluster setting {key!r}.")


def _check_wheel(wheel: Any, name: str) -> None:
    if not _text(wheel, name).endswith(".whl"):
        raise NotImplementedHere(f"The local workspace installs wheels by path only; {name} says {wheel!r}.")


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidParameter(f"{name} has to be an array of objects.")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidParameter(f"{name} has to be a text that is not empty, not {json.dumps(value)}.")
    return value


def _number(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidParameter(
            f"{name} has to be a whole number from {least} to {most}, not {json.dumps(value)}."
        )
    return value
