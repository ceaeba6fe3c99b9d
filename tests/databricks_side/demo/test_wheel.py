"""The wheel is built once, and again when a source has changed."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from demo.processes import DemoError
from demo.stage import REPOSITORY
from demo.wheel import stream_wheel


def copied(folder: Path) -> Path:
    """The sources of the wheel, where they may be changed."""
    copy = folder / "repository"
    for name in ("databricks_side/file_arrivals_stream", "provider/databricks_file_arrivals"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / "databricks_side" / name, copy / "databricks_side" / name)
    return copy


def test_it_is_built_again_only_when_a_source_has_changed(tmp_path: Path) -> None:
    repository, wheels = copied(tmp_path), tmp_path / "wheels"
    before = sorted(repository.rglob("*"))
    first = stream_wheel(repository, wheels)
    assert sorted(repository.rglob("*")) == before, "nothing is left among the sources"
    built = first.stat().st_mtime_ns
    assert stream_wheel(repository, wheels) == first and first.stat().st_mtime_ns == built
    names = zipfile.ZipFile(first).namelist()
    assert {"file_arrivals_stream/__init__.py", "databricks_file_arrivals/core/tables.py"} <= set(names)
    changed = repository / "databricks_side" / "file_arrivals_stream" / "job.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert stream_wheel(repository, wheels) != first


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    repository = copied(tmp_path)
    (repository / "databricks_side" / "setup.cfg").write_text(
        "[metadata]\nname = x\nversion = attr: no.such\n"
    )
    with pytest.raises(DemoError, match="not built"):
        stream_wheel(repository, tmp_path / "wheels")
    assert not list((tmp_path / "wheels").rglob("*.whl"))
