"""One version of the matrix, tried: its environments, made when they are needed, and the steps on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from demo.screen import Screen
from demo.stage import REPOSITORY

from matrix.end_to_end import run_end_to_end
from matrix.environments import Environment, command, find_python, for_tests, plain
from matrix.installs import check_install
from matrix.unit_tests import run_tests
from matrix.versions import Version

STEPS = ("install", "tests", "end-to-end")


class Trial:
    """A version, and what is to be found out about it. A step says what it found, or raises DemoError."""

    def __init__(self, version: Version, wheel: Path, state: Path, screen: Screen) -> None:
        self.version = version
        self._wheel = wheel
        self._folder = state / version.airflow
        self._screen = screen
        self._interpreter = find_python(version.python) or sys.executable

    @cached_property
    def python(self) -> str:
        """The version of Python that it is tried on: the one that its users have, where it is here."""
        asked = "import platform; print(platform.python_version())"
        found = command([self._interpreter, "-c", asked]).strip()
        if not found.startswith(f"{self.version.python}."):
            self.say(f"there is no Python {self.version.python} here, so it is tried on {found}")
        return found

    def say(self, text: str) -> None:
        """A line about it."""
        self._screen.say(f"{self.version.airflow}: {text}")

    def steps(self, words: tuple[str, ...]) -> Mapping[str, Callable[[], str]]:
        """What can be done, by name. `words`: more of them for pytest."""
        steps: dict[str, Callable[[], str]] = {
            STEPS[0]: lambda: check_install(self._plain, self._wheel, self._folder / "home"),
            STEPS[1]: lambda: run_tests(self._tests, REPOSITORY, self._folder / "tests.log", words),
        }
        if self.version.end_to_end:
            steps[STEPS[2]] = lambda: run_end_to_end(
                self._tests, self.version.major, self._folder / "end-to-end", self._screen
            )
        return steps

    @cached_property
    def _plain(self) -> Environment:
        folder = self._folder / "plain"
        self.say(f"the plain environment, {folder}")
        return plain(self.version, self._interpreter, folder)

    @cached_property
    def _tests(self) -> Environment:
        folder, lock = self._folder / "tests", REPOSITORY / "requirements.lock"
        self.say(f"the same with the provider and what the tests need, {folder}")
        return for_tests(self._plain, self._interpreter, self._wheel, lock, folder)
