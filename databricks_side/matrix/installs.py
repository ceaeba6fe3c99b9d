"""What installing the provider does to a plain environment: it comes, works, goes, and leaves the rest."""

from __future__ import annotations

import json
from pathlib import Path

from demo.processes import DemoError

from matrix.environments import OURS, Environment, command

_IMPORT_ALL = """
import importlib, pkgutil
import databricks_file_arrivals as ours
names = [m.name for m in pkgutil.walk_packages(ours.__path__, ours.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print("imported", len(names))
"""


def changes(before: frozenset[str], after: frozenset[str]) -> list[str]:
    """What differs between two environments beside this provider, each as a word with its sign."""
    gone, come = before - after, {line for line in after - before if not line.startswith(OURS)}
    return sorted([f"-{line}" for line in gone] + [f"+{line}" for line in come])


def check_install(plain: Environment, wheel: Path, home: Path) -> str:
    """Install the wheel as a user does, and take it away again: what was found, in a few words.

    Raises DemoError when another package was changed, when Airflow does not list the provider, when one of
    its modules cannot be imported, or when something is left of it.
    """
    _remove(plain)  # what an interrupted run has left
    before = plain.frozen()
    plain.install(str(wheel))
    try:
        changed = changes(before, plain.frozen())
        if changed:
            raise DemoError(f"installing the provider changed {' '.join(changed)}")
        imported = _check_works(plain, home)
    finally:
        _remove(plain)
    if plain.frozen() != before:
        raise DemoError(f"removing the provider left {' '.join(changes(before, plain.frozen()))}")
    return f"0 of {len(before)} packages changed, {imported} modules imported"


def _remove(plain: Environment) -> None:
    if any(line.startswith(OURS) for line in plain.frozen()):
        plain.uninstall(OURS)


def _check_works(plain: Environment, home: Path) -> int:
    """How many modules can be imported. Raises DemoError."""
    listed = command([plain.binaries / "airflow", "providers", "list", "--output", "json"], home)
    if OURS not in {provider["package_name"] for provider in _json(listed)}:
        raise DemoError(f"airflow providers list does not name {OURS}:\n{listed[-2000:]}")
    said = command([plain.python, "-c", _IMPORT_ALL], home)
    return int(said.rpartition("imported ")[2])


def _json(text: str) -> list[dict[str, str]]:
    """The list that a command printed, after whatever it logged."""
    found: list[dict[str, str]] = json.loads(text[text.index("[{") :])
    return found
