"""The three wheels hold what they should and nothing else, and each works alone where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

from databricks_file_arrivals import __version__

REPOSITORY = Path(__file__).resolve().parent.parent
PROVIDER = "airflow-provider-databricks-file-arrivals"
OURS = ("databricks_file_arrivals", "file_arrivals_stream", "local_workspace")
SOURCES = ("provider", "databricks_side", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in: a build leaves folders beside its sources, and what is left of an older one gets
    into wheels."""
    copy = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
        elif (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, copy / name)
    return copy


def build(project: Path) -> Path:
    """The wheel of a project, built without a network."""
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(project / "dist"),
        str(project),
    )
    (wheel,) = (project / "dist").glob("*.whl")
    return wheel


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What a command prints. It must succeed, in an environment that shows it nothing of this repository."""
    done = subprocess.run(
        command,
        env=env or {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        cwd=Path(command[0]).parent,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def provider_wheel(sources: Path) -> Path:
    return build(sources)


@pytest.fixture(scope="session")
def stream_wheel(sources: Path) -> Path:
    return build(sources / "databricks_side")


@pytest.fixture(scope="session")
def workspace_wheel(sources: Path) -> Path:
    return build(sources / "databricks_side" / "local_workspace")


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [path for path in archive.namelist() if path.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


def packaged(folder: Path, prefix: str) -> set[str]:
    """The files of a package's folder that belong into a wheel."""
    kinds = (".py", ".java", ".json", "py.typed")
    files = [path for path in folder.rglob("*") if path.name.endswith(kinds) and "build" not in path.parts]
    return {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in files}


def entry_points(wheel: Path) -> dict[str, dict[str, str]]:
    points = ConfigParser()
    points.read_string(metadata(wheel, "entry_points.txt"))
    return {section: dict(points[section]) for section in points.sections()}


def test_the_provider_wheel_holds_the_provider_only(sources: Path, provider_wheel: Path) -> None:
    held = contents(provider_wheel)
    assert held == packaged(sources / "provider" / "databricks_file_arrivals", "databricks_file_arrivals")
    assert {"databricks_file_arrivals/py.typed", "databricks_file_arrivals/core/planning.py"} <= held


def test_the_provider_wheel_has_its_entry_points(provider_wheel: Path) -> None:
    assert entry_points(provider_wheel) == {
        "apache_airflow_provider": {
            "provider_info": "databricks_file_arrivals.provider_info:get_provider_info"
        },
        "console_scripts": {"file-arrivals": "databricks_file_arrivals.cli:main"},
    }


def test_the_provider_wheel_says_who_it_is(provider_wheel: Path) -> None:
    head = metadata(provider_wheel, "METADATA").splitlines()
    assert f"Name: {PROVIDER}" in head
    assert "License-Expression: Apache-2.0" in head
    needed = {
        line.removeprefix("Requires-Dist: ").split(">")[0]
        for line in head
        if line.startswith("Requires-Dist")
    }
    assert needed == {"apache-airflow", "apache-airflow-providers-databricks", "tenacity", "pyyaml"}


def test_the_stream_wheel_is_core_and_the_stream(sources: Path, stream_wheel: Path) -> None:
    provider = sources / "provider" / "databricks_file_arrivals"
    stream = sources / "databricks_side" / "file_arrivals_stream"
    assert contents(stream_wheel) == {
        "databricks_file_arrivals/__init__.py",
        *packaged(provider / "core", "databricks_file_arrivals/core"),
        *packaged(stream, "file_arrivals_stream"),
    }


def test_the_workspace_wheel_is_the_workspace(sources: Path, workspace_wheel: Path) -> None:
    folder = sources / "databricks_side" / "local_workspace" / "local_workspace"
    assert contents(workspace_wheel) == packaged(folder, "local_workspace")
    assert "local_workspace/CatalogNames.java" in contents(workspace_wheel)
    assert entry_points(workspace_wheel)["console_scripts"] == {"local-workspace": "local_workspace.cli:main"}


@dataclass(frozen=True)
class Bare:
    """A fresh environment with one wheel, and what this one has, without what is developed here."""

    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def site_packages(self) -> Path:
        return Path(
            sysconfig.get_path("purelib", "venv", {"base": str(self.home), "platbase": str(self.home)})
        )

    def python(self, code: str) -> str:
        return run(str(self.bin / "python"), "-c", code)


def bare(home: Path, wheel: Path, *only: str) -> Bare:
    """Make such an environment; `only`: of what this one has, the packages of these names."""
    venv.create(home, symlinks=True, with_pip=False)
    made = Bare(home)
    installed = Path(sysconfig.get_path("purelib"))
    borrowed = home / "borrowed"
    borrowed.mkdir()
    for path in installed.iterdir():
        if not developed_here(path) and path.name != "__pycache__" and (not only or path.name in only):
            (borrowed / path.name).symlink_to(path)
    # A plain line: the .pth files in there are not read, so no editable project comes back through them.
    (made.site_packages / "borrowed.pth").write_text(f"{borrowed}\n")
    installer = [sys.executable, "-m", "pip", "--python", str(made.bin / "python"), "install"]
    run(*installer, "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", str(wheel))
    return made


def developed_here(path: Path) -> bool:
    """Whether an entry of site-packages is this project's: its editable finders and its metadata."""
    project = path.name.partition("-")[0].replace("__editable___", "").replace("__editable__.", "")
    names = (PROVIDER, "databricks-file-arrivals-stream", "databricks-local-workspace")
    return project.startswith(("__editable__", *OURS, *(name.replace("-", "_") for name in names)))


@pytest.fixture(scope="module")
def with_provider(provider_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    return bare(tmp_path_factory.mktemp("provider"), provider_wheel)


def test_a_bare_environment_shows_nothing_of_this_repository(with_provider: Bare) -> None:
    """Otherwise the tests below would pass whatever the wheel holds."""
    code = (
        "import importlib.util as u, databricks_file_arrivals as d, importlib.metadata as m;"
        f"print([n for n in {OURS!r} if u.find_spec(n)], d.__file__,"
        " sorted({x.name for x in m.distributions() if 'file-arrivals' in x.name}))"
    )
    file = with_provider.site_packages / "databricks_file_arrivals" / "__init__.py"
    assert with_provider.python(code).split("\n")[0] == f"['databricks_file_arrivals'] {file} ['{PROVIDER}']"


def airflow(environment: Bare, home: Path, *command: str) -> str:
    """What Airflow prints, with a home of its own."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home)}
    python = str(environment.bin / "python")
    return run(python, "-m", "airflow", *command, env=env)


def test_airflow_discovers_the_provider(with_provider: Bare, tmp_path: Path) -> None:
    listed = json.loads(airflow(with_provider, tmp_path, "providers", "list", "--output", "json"))
    (mine,) = [provider for provider in listed if provider["package_name"] == PROVIDER]
    assert mine["version"] == __version__
    got = json.loads(
        airflow(with_provider, tmp_path, "providers", "get", PROVIDER, "--full", "--output", "json")
    )
    assert got[0]["package-name"] == PROVIDER
    assert got[0]["sensors"][0]["python-modules"] == ["databricks_file_arrivals.sensors"]


def test_what_airflow_is_told_of_can_be_imported(with_provider: Bare) -> None:
    modules = ", ".join(
        f"databricks_file_arrivals.{name}" for name in ("hooks", "operators", "sensors", "triggers")
    )
    assert with_provider.python(f"import {modules}; print('imported')").endswith("imported\n")


def test_the_command_tells_its_sub_commands(with_provider: Bare) -> None:
    told = run(str(with_provider.bin / "file-arrivals"), "--help")
    assert "deploy" in told
    assert "log" in told


def test_the_stream_works_without_airflow(stream_wheel: Path, tmp_path: Path) -> None:
    environment = bare(tmp_path / "stream", stream_wheel, "pyspark", "py4j")
    code = (
        "import sys, importlib.util as u, file_arrivals_stream as s;"
        "print(s.__version__, s.__file__, [n for n in ('airflow', 'rich') if n in sys.modules],"
        " u.find_spec('airflow'), u.find_spec('databricks_file_arrivals.hooks'))"
    )
    file = environment.site_packages / "file_arrivals_stream" / "__init__.py"
    assert environment.python(code) == f"{__version__} {file} [] None None\n"


def test_the_workspace_works_without_the_product(workspace_wheel: Path, tmp_path: Path) -> None:
    environment = bare(tmp_path / "workspace", workspace_wheel)
    code = (
        "import sys, local_workspace.engine, importlib.util as u;"
        "print([n for n in ('airflow', 'databricks_file_arrivals') if n in sys.modules],"
        " u.find_spec('databricks_file_arrivals'))"
    )
    assert environment.python(code) == "[] None\n"
    assert "setup" in run(str(environment.bin / "local-workspace"), "--help")
