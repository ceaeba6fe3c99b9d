"""The Python task reads exactly its files, in a real job."""

from __future__ import annotations

from collections.abc import Callable


def test_it_reads_exactly_its_files(read_by: Callable[[str], tuple[dict[str, int], dict[str, int]]]) -> None:
    landed, read = read_by("orders_load")
    assert read == landed
