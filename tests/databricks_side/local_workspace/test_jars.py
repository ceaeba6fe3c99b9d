"""Set-up: once, whole, and said when it is missing."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from local_workspace import jars
from local_workspace.jars import SetupError, default_home, jar_paths, java_environment, last_lines, setup


def test_a_second_set_up_does_nothing() -> None:
    setup()
    before = {path: path.stat().st_mtime_ns for path in jar_paths()}
    began = time.monotonic()
    assert setup() == default_home()
    assert time.monotonic() - began < 1
    assert {path: path.stat().st_mtime_ns for path in jar_paths()} == before


def test_what_it_leaves() -> None:
    home = setup()
    names = {path.name for path in jar_paths(home)}
    assert {name.rsplit("-", 1)[0] for name in names} >= {"io.delta_delta-storage", "catalog"}
    assert not [path for path in home.iterdir() if path.name.startswith(".setup")]
    assert not [name for name in names if "hadoop-client" in name or "log4j" in name]  # Spark has its own
    with zipfile.ZipFile(next(path for path in jar_paths(home) if path.name == "catalog-names.jar")) as jar:
        assert "local/CatalogNames.class" in jar.namelist()


def test_what_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "Broken.java"
    broken.write_text("class Broken {")
    monkeypatch.setattr(jars, "JAVA_SOURCE", broken)
    monkeypatch.setattr(jars, "_fetch_delta", lambda work, into: None)  # the part that needs a network
    with pytest.raises(SetupError, match=r"could not be compiled(.|\n)*reached end of file"):
        setup(tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["setup.lock"]
    with pytest.raises(SetupError, match="run `local-workspace setup`"):
        jar_paths(tmp_path / "home")


def test_without_a_jdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(jars, "_fetch_delta", lambda work, into: None)
    with pytest.raises(SetupError, match="a JDK, 17 or later, is needed"):
        setup(tmp_path / "home")


def test_the_server_s_environment_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    environment = java_environment()
    assert "SPARK_REMOTE" not in environment
    assert (environment["SPARK_LOCAL_IP"], environment["KEPT"]) == ("127.0.0.1", "yes")


def test_last_lines() -> None:
    assert last_lines("a\nb\nc\n", 2) == "b\nc"
