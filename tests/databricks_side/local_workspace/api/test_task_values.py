"""Value references."""

from hypothesis import given
from hypothesis import strategies as st

from local_workspace.api.task_values import job_values, resolved, run_parameters, widgets


def test_known_references_are_replaced_and_others_stay() -> None:
    values = job_values(1, 2, "n") | {"job.parameters.a b": "no", "job.parameters.x": "X"}
    text = (
        "{{job.id}}/{{ job.run_id }}/{{job.name}}/{{job.parameters.x}}/{{job.parameters.y}}/{{secrets/s/k}}"
    )
    assert resolved(text, values) == "1/2/n/X/{{job.parameters.y}}/{{secrets/s/k}}"


@given(st.text())
def test_a_value_is_never_read_again(value: str) -> None:
    values = {"job.parameters.v": value, "job.id": "1"}
    assert resolved("<{{job.parameters.v}}>", values) == f"<{value}>"


def test_parameters_of_a_run_are_the_defaults_and_what_was_given() -> None:
    declared = {"a": "1", "b": "{{job.run_id}}"}
    assert run_parameters(declared, {"a": "{{job.id}}", "new": "n"}, {"job.run_id": "7", "job.id": "3"}) == {
        "a": "{{job.id}}",
        "b": "7",
        "new": "n",
    }


def test_job_parameters_go_before_those_of_the_task() -> None:
    assert widgets({"a": "task", "b": "task"}, {"a": "job"}) == {"a": "job", "b": "task"}
