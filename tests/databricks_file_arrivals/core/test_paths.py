"""Directories compare in one form, whatever way they were written."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from databricks_file_arrivals.core import paths

ODD_NAMES = [
    "a b",
    "it's",
    'say "x"',
    "100%",
    "100%25",
    "x;-- drop",
    "two\nlines",
    "größe",
    "日本",
    "a:b",
    "dbfs",
    "dbfs:",
    "..",
    " ",
    "\\",
]

names = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=5),
)
inner = st.lists(names, max_size=4).map("/".join)
tops = st.sampled_from(
    [
        "/",
        "//",
        "dbfs:/",
        "DBFS:///",
        "file:/",
        "file:///",
        "/dbfs/",
        "/dbfs/dbfs//",
        "s3://b/",
        "S3:///",
        "hdfs:/",
        "abfss://c@a.dfs.core.windows.net/",
        "wasbs://c@a//",
        "gs://b-1.x/",
    ]
)
absolutes = st.builds(
    lambda top, rest, tail: top + rest + tail, tops, inner, st.sampled_from(["", "/", "//"])
)
anything = st.one_of(absolutes, inner, st.text(max_size=12), st.text("/:a.sdbf3", max_size=14))


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("/mnt/in", "/mnt/in"),
        ("/mnt/in/", "/mnt/in"),
        ("/mnt//in///", "/mnt/in"),
        ("dbfs:/mnt/in/", "/mnt/in"),
        ("dbfs:///mnt/in", "/mnt/in"),
        ("DBFS:/mnt/In", "/mnt/In"),
        ("file:/tmp/in", "/tmp/in"),
        ("file:///tmp/in", "/tmp/in"),
        ("/dbfs/mnt/in", "/mnt/in"),
        ("file:/dbfs/mnt/in", "/mnt/in"),
        ("/dbfsx/in", "/dbfsx/in"),
        ("/mnt/dbfs/in", "/mnt/dbfs/in"),
        ("dbfs:/Volumes/main/raw/v/", "/Volumes/main/raw/v"),
        ("/dbfs", "/"),
        ("/", "/"),
        ("dbfs:/", "/"),
        ("s3://Bucket/In/", "s3://Bucket/In"),
        ("S3://Bucket/In", "s3://Bucket/In"),
        ("s3://Bucket/", "s3://Bucket"),
        ("s3://bucket//in", "s3://bucket/in"),
        ("s3://bucket/dbfs/in", "s3://bucket/dbfs/in"),
        ("hdfs:///data/in", "hdfs:/data/in"),
        ("abfss://c@a.dfs.core.windows.net/x/", "abfss://c@a.dfs.core.windows.net/x"),
        ("/in/100%25", "/in/100%25"),
        ("/in/a b;--'\"\nü/", "/in/a b;--'\"\nü"),
        ("orders/eu/", "orders/eu"),
    ],
)
def test_one_form(written: str, form: str) -> None:
    assert paths.canonical(written) == form


@pytest.mark.parametrize(
    ("directory", "root", "form"),
    [
        ("orders", "s3://b/in/", "s3://b/in/orders"),
        ("orders/eu//", "dbfs:/in", "/in/orders/eu"),
        ("orders", "/", "/orders"),
        ("orders", "s3://b", "s3://b/orders"),
        ("100%25 it's", "/in", "/in/100%25 it's"),
        ("/orders", "/in", "/orders"),
        ("s3://b/orders", "/in", "s3://b/orders"),
    ],
)
def test_relative_to_a_root(directory: str, root: str, form: str) -> None:
    assert paths.canonical(directory, root) == form


def test_a_relative_directory_is_not_the_absolute_one_of_its_name() -> None:
    assert paths.canonical("orders") != paths.canonical("/orders")


@given(anything)
def test_canonical_is_idempotent(directory: str) -> None:
    once = paths.canonical(directory)
    assert paths.canonical(once) == once


@given(anything, absolutes)
def test_canonical_under_a_root_is_idempotent_and_absolute(directory: str, root: str) -> None:
    once = paths.canonical(directory, root)
    assert not paths.is_relative(once)
    assert paths.canonical(once) == once
    assert paths.canonical(once, "/other") == once


@example("hdfs:/", "a b")
@given(absolutes, inner)
def test_a_relative_directory_is_below_its_root(root: str, inside: str) -> None:
    assume(paths.is_relative(inside))
    assert paths.canonical(root) in paths.ancestry(paths.canonical(inside, root))


@given(absolutes, names)
def test_a_child_has_its_parent_and_all_of_its_parent(parent: str, name: str) -> None:
    parent = paths.canonical(parent)
    child = f"{parent.rstrip('/')}/{name}"
    assume(paths.canonical(child) == child)
    assert list(paths.ancestry(child)) == [child, *paths.ancestry(parent)]


@given(absolutes)
def test_ancestry_is_canonical_and_ends(directory: str) -> None:
    directory = paths.canonical(directory)
    line = list(paths.ancestry(directory))
    assert line[0] == directory
    assert all(paths.canonical(above) == above for above in line)
    assert [len(above) for above in line] == sorted({len(above) for above in line}, reverse=True)
    assert all(directory.startswith(above) for above in line)


@pytest.mark.parametrize(
    ("directory", "line"),
    [
        ("/a/b c/d", ["/a/b c/d", "/a/b c", "/a", "/"]),
        ("/", ["/"]),
        ("s3://b/x/y", ["s3://b/x/y", "s3://b/x", "s3://b"]),
        ("s3://b", ["s3://b"]),
        ("hdfs:/x", ["hdfs:/x", "hdfs:/"]),
        ("/a:/b", ["/a:/b", "/a:", "/"]),
        ("orders/eu", ["orders/eu", "orders"]),
    ],
)
def test_ancestry(directory: str, line: list[str]) -> None:
    assert list(paths.ancestry(directory)) == line


@pytest.mark.parametrize(
    ("directory", "relative"),
    [
        ("orders", True),
        ("", True),
        ("a b/c", True),
        ("x:y", True),
        ("/a", False),
        ("s3://b", False),
        ("dbfs:/a", False),
    ],
)
def test_is_relative(directory: str, relative: bool) -> None:
    assert paths.is_relative(directory) is relative


@pytest.mark.parametrize(
    ("directory", "name"),
    [("/in/orders", "orders"), ("/in/a b/", "a b"), ("s3://b", "b"), ("/", ""), ("x", "x")],
)
def test_last_segment(directory: str, name: str) -> None:
    assert paths.last_segment(directory) == name


@pytest.mark.parametrize(
    ("root", "directory", "subdirectory"),
    [
        ("/in", "/in/orders/eu/2026", "/in/orders"),
        ("/in", "/in/orders", "/in/orders"),
        ("/in", "/in", "/in"),
        ("/in", "/inbox/orders", "/inbox/orders"),
        ("/in", "/elsewhere/x", "/elsewhere/x"),
        ("/", "/in/orders", "/in"),
        ("s3://b", "s3://b/in/x", "s3://b/in"),
        ("hdfs:/", "hdfs:/in/x", "hdfs:/in"),
    ],
)
def test_below(root: str, directory: str, subdirectory: str) -> None:
    assert paths.below(root, directory) == subdirectory


@given(absolutes, inner)
def test_below_is_in_the_line_of_the_directory(root: str, inside: str) -> None:
    root = paths.canonical(root)
    directory = paths.canonical(f"{root.rstrip('/')}/{inside}")
    line = list(paths.ancestry(directory))
    assume(root in line and directory != root)
    found = paths.below(root, directory)
    assert line.index(root) == line.index(found) + 1
