"""Arguments: from query and body, lenient in spelling, strict in type."""

import pytest

from local_workspace.api.arguments import Arguments, as_text
from local_workspace.api.errors import InvalidParameter, MalformedRequest


def test_query_and_body_are_both_read_and_the_query_wins() -> None:
    given = Arguments.parse(b"a=1&b=", b'{"a": 2, "c": [3]}')
    assert given.values == {"a": "1", "b": "", "c": [3]}


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        Arguments.parse(b"", body)


def test_numbers_and_booleans_come_as_text_too() -> None:
    given = Arguments(
        {"n": "12", "m": 12, "yes": "True", "no": "false", "b": True, "none": None, "empty": ""}
    )
    assert (given.integer("n"), given.integer("m")) == (12, 12)
    assert [given.boolean(name) for name in ("yes", "no", "b", "none", "empty")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert given.optional_integer("none") is None and given.optional_text("empty") is None


@pytest.mark.parametrize("value", ["x", True, 1.5, 2**63, [1]])
def test_what_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidParameter, match="job_id"):
        Arguments({"job_id": value}).integer("job_id")


def test_missing_and_unknown_arguments_are_named() -> None:
    with pytest.raises(InvalidParameter, match="Missing required field: job_id"):
        Arguments({}).integer("job_id")
    with pytest.raises(InvalidParameter, match="'nmae'"):
        Arguments({"nmae": 1}).only("name")


def test_a_limit_has_to_be_within_its_bounds() -> None:
    assert Arguments({}).limit("limit", 20, 25) == 20
    for wrong in (0, 26, -1):
        with pytest.raises(InvalidParameter, match="between 1 and 25"):
            Arguments({"limit": wrong}).limit("limit", 20, 25)


def test_wrong_shapes_are_refused() -> None:
    given = Arguments({"a": "x", "b": {"k": None}, "c": {"k": 1.5, "l": True}})
    for read in (given.mapping, given.sequence):
        with pytest.raises(InvalidParameter):
            read("a")
    with pytest.raises(InvalidParameter, match=r"b\.k"):
        given.texts("b")
    assert given.texts("c") == {"k": "1.5", "l": "true"}
    with pytest.raises(InvalidParameter):
        given.text("b")
    assert as_text("", "x") == ""
