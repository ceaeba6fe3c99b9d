"""Environments of the matrix: plain ones, as users have them before they install the provider, and ones for
tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.processes import DemoError, environment

from matrix.versions import AIRFLOW_ITSELF, Version

OURS = "airflow-provider-databricks-file-arrivals"
UV = Path(sys.prefix) / "bin" / "uv"
TOOLS = (
    *("google-auth", "hypothesis", "psutil", "statsd"),
    *("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist"),
)
"""What the tests need beside Airflow, as it is locked here; what the plain environment has stays."""
LOOSE_TOOLS = ("databricks-sdk", "delta-spark", "py4j", "pyspark")
"""The same, but without what they require, which would change other packages, or does not go with them. Of
Spark the process of the tests asks only where its jars are: it runs in this repository's environment."""
_RECIPE = "recipe"
_AFTER_ALL = "2100-01-01"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def binaries(self) -> Path:
        """Where its programs are."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.binaries / "python"

    def install(self, *arguments: str) -> None:
        """`uv pip install` into it."""
        command([UV, "pip", "install", "--quiet", "--python", self.python, *arguments])

    def uninstall(self, name: str) -> None:
        """Remove one package, and nothing else."""
        command([UV, "pip", "uninstall", "--quiet", "--python", self.python, name])

    def frozen(self) -> frozenset[str]:
        """All that is installed, as `name==version`."""
        said = command([UV, "pip", "freeze", "--quiet", "--python", self.python])
        # A wheel that was installed from a file is told by its address, which changes with each build.
        return frozenset(line.split(" @ ")[0] for line in said.splitlines() if line)


def command(words: Sequence[str | Path], home: Path | None = None) -> str:
    """What a command prints. Raises DemoError when it fails. `home`: Airflow's, for commands that use it."""
    settings: Mapping[str, str] = {"AIRFLOW_HOME": str(home)} if home else {}
    try:
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            env=environment(Path(words[0]).parent, **settings),
            check=False,
        )
    except OSError as error:
        raise DemoError(f"{words[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise DemoError(f"{' '.join(str(word) for word in words)}\n{said}")
    return done.stdout


def find_python(wanted: str) -> str | None:
    """The interpreter of a version such as 3.12: the one that PYTHON3_12 names, or of PATH, of uv, of pyenv;
    None if there is none. Nothing is downloaded."""
    for python in _pythons(wanted):
        asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout.strip() == wanted:
            return python
    return None


def _pythons(wanted: str) -> Iterator[str]:
    named = os.environ.get("PYTHON" + wanted.replace(".", "_"))
    if named:
        yield named
    yield f"python{wanted}"
    find = [str(UV), "python", "find", "--no-python-downloads", wanted]
    yield subprocess.run(find, capture_output=True, text=True, check=False).stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{wanted}.*/bin/python"), reverse=True))


def plain(version: Version, python: str, folder: Path) -> Environment:
    """Airflow and its stock Databricks provider, and nothing else; one that was made before is used again."""
    arguments = ["--exclude-newer", version.constrained]
    for name in AIRFLOW_ITSELF:
        arguments += ["--exclude-newer-package", f"{name}={_AFTER_ALL}"]
    pins = folder.with_suffix(".pins")
    pins.parent.mkdir(parents=True, exist_ok=True)
    pins.write_text("\n".join(version.pins))
    wanted = [f"apache-airflow=={version.airflow}", *version.missing]
    wanted += [f"apache-airflow-providers-databricks=={version.databricks}", "--constraints", str(pins)]
    return _made(folder, python, [[*arguments, *wanted]], recipe=repr(version))


def for_tests(plain: Environment, python: str, wheel: Path, lock: Path, folder: Path) -> Environment:
    """The same with the wheel and what the tests need, without a change to what is in the plain one."""
    frozen = folder.with_suffix(".frozen")
    there = plain.frozen()
    frozen.write_text("\n".join(sorted(there)))
    has = {line.partition("==")[0] for line in there}
    locked = {line.split("==")[0]: line.split(" ;")[0].strip() for line in lock.read_text().splitlines()}
    tools = [locked[name] for name in TOOLS if name not in has]
    steps = [
        ["--no-deps", "--requirements", str(frozen)],
        ["--constraints", str(frozen), *tools],
        ["--no-deps", *(locked[name] for name in LOOSE_TOOLS)],
    ]
    made = _made(folder, python, steps, recipe=frozen.read_text())
    made.install("--no-deps", "--reinstall", str(wheel))
    return made


def _made(folder: Path, python: str, steps: Sequence[Sequence[str]], recipe: str) -> Environment:
    """An environment of these steps: that which is there, or a new one. `recipe`: the rest that makes it."""
    digest = hashlib.sha256(repr((python, steps, recipe)).encode()).hexdigest()
    made = Environment(folder)
    note = folder / _RECIPE
    if note.exists() and note.read_text() == digest:
        return made
    shutil.rmtree(folder, ignore_errors=True)
    command([UV, "venv", "--quiet", "--no-python-downloads", "--python", python, folder])
    for step in steps:
        made.install(*step)
    note.write_text(digest)
    return made
