"""What a task is told: parameters with their `{{…}}` references put in."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\{\{\s*((?:job|task)\.[^{}\s]+)\s*\}\}")


def resolved(text: str, values: Mapping[str, str]) -> str:
    """The text with every reference that has a value replaced by it, once: no value is read again.

    >>> resolved("--id={{job.parameters.trigger_id}}", {"job.parameters.trigger_id": "{{job.id}}"})
    '--id={{job.id}}'
    """
    return _REFERENCE.sub(lambda match: values.get(match[1], match[0]), text)


def job_values(job_id: int, run_id: int, job_name: str) -> dict[str, str]:
    """The references that are the same for all tasks of a run, apart from its parameters."""
    return {"job.id": str(job_id), "job.run_id": str(run_id), "job.name": job_name}


def run_parameters(
    declared: Mapping[str, str], given: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, str]:
    """The job parameters of a run: the declared defaults, then what the caller gave, declared or not."""
    defaults = {name: resolved(default, values) for name, default in declared.items()}
    return {**defaults, **given}


def widgets(base: Mapping[str, str], pushed: Mapping[str, str]) -> dict[str, str]:
    """A notebook's widgets: its own parameters, and on top the job's, as Databricks pushes them down."""
    return {**base, **pushed}
