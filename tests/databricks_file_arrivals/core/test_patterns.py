"""`*` and `?` are wildcards, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core import patterns

texts = st.text(st.sampled_from("ab.*?[]{}\\%_\n$^名"), max_size=8)


@given(texts.filter(lambda t: not patterns.has_wildcard(t)), texts)
def test_a_text_without_wildcards_means_itself(pattern: str, name: str) -> None:
    assert patterns.matches(name, pattern) == (name == pattern)


@given(texts, texts, texts)
def test_a_star_is_any_text_and_a_question_mark_one_character(before: str, any_text: str, after: str) -> None:
    literal = [part.replace("*", "").replace("?", "") for part in (before, after)]
    assert patterns.matches(literal[0] + any_text + literal[1], f"{literal[0]}*{literal[1]}")
    question = patterns.matches(literal[0] + any_text + literal[1], f"{literal[0]}?{literal[1]}")
    if len(any_text) == 1:
        assert question
    elif not any_text:
        assert not question


@pytest.mark.parametrize(
    ("pattern", "good"),
    [("*.csv", True), ("a[1].csv", True), ("a[1]*", False), ("a/b", False), ("**", False), ("", True)],
)
def test_a_file_pattern_is_refused_for_a_reason(pattern: str, good: bool) -> None:
    assert (patterns.file_pattern_problem(pattern) == "") == good


@pytest.mark.parametrize(
    ("directory", "top", "good"),
    [
        ("/in/**/a", "/", True),
        ("/in/[a]", "/", True),
        ("s3://b/*", "s3://b", True),
        ("s3://b*/x", "s3://b*", False),
        ("/in/a**", "/", False),
        ("/in/{a,b}*", "/", False),
    ],
)
def test_a_directory_is_refused_for_a_reason(directory: str, top: str, good: bool) -> None:
    assert (patterns.directory_problem(directory, top) == "") == good


def test_a_file_s_name_follows_the_last_slash() -> None:
    assert patterns.name("s3://b/in/a.csv") == "a.csv"
