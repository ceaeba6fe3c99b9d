"""Errors say what to do next, and stand where the drawing at the top of the module says."""

from __future__ import annotations

import inspect
import re

import pytest

from databricks_file_arrivals.core import errors

CLASSES: list[type[errors.FileArrivalsError]] = [
    cls
    for cls in vars(errors).values()
    if inspect.isclass(cls)
    and issubclass(cls, errors.FileArrivalsError)
    and cls.__module__ == errors.__name__
]


def drawn() -> tuple[dict[str, str], set[str]]:
    """The tree of the module's docstring: each class's parent, and those marked as retryable."""
    parents: dict[str, str] = {}
    retryable = set()
    line_of: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?=$|\s{2,}|\s[a-z])", line)
        if found and (found["branch"] or found["name"] == "FileArrivalsError"):
            depth = len(found["branch"]) // 4
            line_of = [*line_of[:depth], found["name"]]
            parents[found["name"]] = line_of[depth - 1] if depth else "Exception"
            if line.endswith("(retryable)"):
                retryable.add(found["name"])
    return parents, retryable


def test_the_drawing_is_the_tree() -> None:
    assert drawn()[0] == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_the_drawing_says_what_is_retryable() -> None:
    assert drawn()[1] == {cls.__name__ for cls in CLASSES if cls.retryable}


@pytest.mark.parametrize("cls", CLASSES[1:], ids=lambda cls: cls.__name__)
def test_each_class_says_when_it_is_raised(cls: type[Exception]) -> None:
    assert (inspect.getdoc(cls) or "").startswith("Raised when ")


@pytest.mark.parametrize(
    ("error", "fields", "remedy"),
    [
        (errors.BadTableName("x;--", "';' cannot"), {"text": "x;--"}, "Write catalog.schema.table"),
        (errors.TableMissing("main.a.b"), {"table": "main.a.b"}, "file-arrivals deploy"),
        (errors.TableDiffers(["a is b", "c is d"], "Do e."), {"differences": ("a is b", "c is d")}, "Do e."),
        (
            errors.ConsumerDoubled("default", "main.a.b", 2),
            {"consumer": "default", "table": "main.a.b", "rows": 2},
            "Delete all but the row with the highest epoch",
        ),
        (errors.ClaimContended("default", 5), {"consumer": "default", "tries": 5}, "max_active_runs=1"),
        (errors.Refused(403, "PERMISSION_DENIED", "no"), {"status": 403, "code": "PERMISSION_DENIED"}, "no"),
        (
            errors.StatementFailed("FAILED", "DIVIDE_BY_ZERO", "zero", retryable=True),
            {"state": "FAILED", "condition": "DIVIDE_BY_ZERO", "retryable": True},
            "zero",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_fields_and_remedy(error: errors.FileArrivalsError, fields: dict[str, object], remedy: str) -> None:
    assert {name: getattr(error, name) for name in fields} == fields
    assert remedy in str(error)
    # What was given is named in the text: who reads it need not look at the fields.
    given = [v for v in fields.values() if isinstance(v, str) and v not in ("DIVIDE_BY_ZERO", "default")]
    assert all(value in str(error) for value in given)


def test_all_differences_stand_in_the_message_each_on_its_line() -> None:
    lines = str(errors.TableDiffers(["a is b", "c is d"], "Do e.")).splitlines()
    assert lines[1:] == ["  - a is b", "  - c is d", "Do e."]


def test_a_refusal_without_a_code_tells_its_status() -> None:
    assert str(errors.Refused(404, "", "gone")) == "404: gone"


def test_a_failed_statement_is_not_retryable_unless_said() -> None:
    assert errors.StatementFailed("FAILED", "", "zero").retryable is False
