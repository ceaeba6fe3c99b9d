"""The wheel that the jobs get as a library: built once, and again only when its sources have changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.processes import DemoError


def stream_wheel(repository: Path, folder: Path) -> Path:
    """The stream's wheel, in a folder named by what it was built from."""
    target = folder / _digest(repository)
    built = sorted(target.glob("*.whl"))
    if not built:
        _build(repository, target)
        built = sorted(target.glob("*.whl"))
    return built[0]


def _sources(repository: Path) -> Iterator[Path]:
    side = repository / "databricks_side"
    package = repository / "provider" / "databricks_file_arrivals"
    yield from (side / "setup.cfg", side / "pyproject.toml", package / "__init__.py")
    yield from sorted((side / "file_arrivals_stream").glob("*.py"))
    yield from sorted((package / "core").glob("*.py"))


def _digest(repository: Path) -> str:
    digest = hashlib.sha256()
    for source in _sources(repository):
        content = source.read_bytes()
        digest.update(f"{source.relative_to(repository)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _build(repository: Path, target: Path) -> None:
    """Build from a copy, so that nothing is left among the sources."""
    with tempfile.TemporaryDirectory() as draft:
        copy = Path(draft, "sources")
        for source in (*_sources(repository), *(repository / "databricks_side").glob("*/py.typed")):
            place = copy / source.relative_to(repository)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", f"{draft}/out"]
        done = subprocess.run(
            [*command, str(copy / "databricks_side")], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"The wheel was not built:\n{done.stdout}{done.stderr}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(Path(draft, "out"), target, dirs_exist_ok=True)
