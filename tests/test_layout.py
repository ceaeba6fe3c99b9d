"""The tree is as the design draws it: imports run one way, tests mirror it, nothing strays in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCT = "databricks_file_arrivals"
PROVIDER = REPOSITORY / "provider" / PRODUCT
STREAM = REPOSITORY / "databricks_side" / "file_arrivals_stream"
LOCAL_WORKSPACE = REPOSITORY / "databricks_side" / "local_workspace" / "local_workspace"

ROOT = ""  # the package itself: its version
ARROWS: dict[str, set[str]] = {
    "core": {"core"},
    "workspace": {"core", "workspace"},
    "compat": set(),
    "provider_info": {ROOT, "core"},
    "config": {"core", "compat"},
    "hooks": {ROOT, "core", "workspace", "compat"},
    "links": {"core", "compat"},
    "metrics": {"core", "compat"},
    "outlets": {"core", "compat", "config"},
    "lineage": {ROOT, "core", "compat", "config"},
    "notifications": {"core", "workspace", "compat"},
    "triggers": {"core", "workspace", "compat", "hooks", "metrics"},
    "sensors": {"core", "workspace", "compat", "config", "hooks", "metrics", "triggers"},
    "telling": {
        *("core", "workspace", "compat", "hooks"),
        *("links", "lineage", "outlets", "notifications", "metrics"),
    },
    "assets": {"core", "workspace", "compat", "hooks", "triggers"},
    "tasks": {"core", "workspace", "compat", "hooks", "triggers", "lineage", "telling"},
    "operators": {"core", "workspace", "compat", "config", "hooks", "links", "tasks"},
    "replays": {"core", "workspace", "compat", "config", "hooks", "tasks"},
    "commands": {"core", "workspace", "hooks", "commands"},
    "cli": {ROOT, "core", "commands"},
}
"""What each module, or package, of the provider may import of the provider."""

WITH_AIRFLOW = {
    "compat",
    "hooks",
    "sensors",
    "operators",
    "triggers",
    "links",
    "lineage",
    "replays",
    "telling",
}
SAME_IN_ALL_VERSIONS = (
    *("airflow.providers.databricks", "airflow.providers.openlineage"),
    "airflow.triggers.base",
)
"""What may be imported of Airflow outside compat.py: these are the same from 2.11 to 3."""

TOP_LEVEL = {
    *("provider", "dags", "databricks_side", "tests", "bench", "docs", ".ci"),
    *("setup.cfg", "pyproject.toml", "requirements.in", "requirements.lock", "Makefile"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
    *(".gitignore", ".gitattributes", ".editorconfig", ".pre-commit-config.yaml"),
}

MIRRORED = {
    PROVIDER: "tests/databricks_file_arrivals",
    STREAM: "tests/databricks_side/file_arrivals_stream",
    LOCAL_WORKSPACE: "tests/databricks_side/local_workspace",
    REPOSITORY / "databricks_side" / "demo": "tests/databricks_side/demo",
    REPOSITORY / "databricks_side" / "crash": "tests/databricks_side/crash",
    REPOSITORY / "databricks_side" / "matrix": "tests/databricks_side/matrix",
    REPOSITORY / "databricks_side" / "notebooks": "tests/databricks_side/notebooks",
    REPOSITORY / "dags": "tests/dags",
}


def imports(code: str) -> Iterator[str]:
    """The dotted name of all that code imports, wherever in it, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "build" not in path.parts)


def imported(folder: Path) -> list[tuple[Path, str]]:
    found = [(path, name) for path in modules(folder) for name in imports(path.read_text("utf-8"))]
    assert found, f"{folder} has no code"
    return found


def layer(path: Path) -> str:
    """The first name below the provider: `core` for all of core/, `hooks` for hooks.py."""
    return path.relative_to(PROVIDER).parts[0].removesuffix(".py").replace("__init__", ROOT)


def target(name: str) -> str:
    """The layer that an import of the product names; ROOT when it is no module but the package's own."""
    first = name.split(".")[1] if "." in name else ROOT
    return first if first in ARROWS or (PROVIDER / f"{first}.py").exists() else ROOT


def of(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def listed(found: list[tuple[Path, str]]) -> list[str]:
    return [f"{path.relative_to(REPOSITORY)} imports {name}" for path, name in found]


def tracked() -> list[str]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    return [name for name in run.stdout.decode().split("\0") if name]


def test_imports_are_found_wherever_they_stand() -> None:
    code = "import a.b\ndef f():\n  from c import d, e\nif TYPE_CHECKING:\n  from . import g\nimport h as i"
    assert sorted(imports(code)) == ["..g", "a.b", "c.d", "c.e", "h"]


def test_arrows_run_one_way() -> None:
    assert {layer(path) for path in modules(PROVIDER)} - {ROOT} <= set(ARROWS), (
        "say in ARROWS what it may import"
    )
    assert listed(
        [
            (path, name)
            for path, name in imported(PROVIDER)
            if of(name, PRODUCT) and target(name) not in ARROWS.get(layer(path), set())
        ]
    ) == []  # fmt: skip


def test_the_arrows_have_no_circle() -> None:
    left = {name: wanted - {name, ROOT} for name, wanted in ARROWS.items()}
    while free := [name for name, wanted in left.items() if not wanted]:
        left = {name: wanted - set(free) for name, wanted in left.items() if name not in free}
    assert not left


def test_core_needs_the_standard_library_only() -> None:
    foreign = [
        (path, name)
        for path, name in imported(PROVIDER / "core")
        if name.split(".")[0] not in sys.stdlib_module_names and not of(name, f"{PRODUCT}.core")
    ]
    assert listed(foreign) == []


def test_the_provider_knows_nothing_of_the_databricks_side() -> None:
    others = ("databricks_side", "file_arrivals_stream", "local_workspace", "pyspark", "delta")
    assert listed([(path, name) for path, name in imported(PROVIDER) if of(name, *others)]) == []


def test_airflow_is_met_in_its_skin_only() -> None:
    met = [(path, name) for path, name in imported(PROVIDER) if of(name, "airflow")]
    assert {layer(path) for path, _ in met} <= WITH_AIRFLOW, listed(met)
    assert "compat" in {layer(path) for path, _ in met}


def test_what_differs_between_versions_of_airflow_is_in_compat() -> None:
    assert listed(
        [
            (path, name)
            for path, name in imported(PROVIDER)
            if of(name, "airflow") and layer(path) != "compat" and not of(name, *SAME_IN_ALL_VERSIONS)
        ]
    ) == []  # fmt: skip


def test_the_stream_builds_on_core_alone() -> None:
    wrong = [
        (path, name)
        for path, name in imported(STREAM)
        if of(name, "airflow", "local_workspace", "databricks_side", "demo")
        or (of(name, PRODUCT) and target(name) not in {ROOT, "core"})
    ]
    assert listed(wrong) == []


def test_the_local_workspace_knows_nothing_of_the_product() -> None:
    product = (PRODUCT, "file_arrivals_stream", "databricks_side", "demo", "airflow")
    assert listed([(path, name) for path, name in imported(LOCAL_WORKSPACE) if of(name, *product)]) == []


def has_code(code: str) -> bool:
    """Whether a module does anything: more than a docstring, imports and plain names for values."""
    return any(
        not isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.parse(code).body
    )


def mirror(path: Path) -> str:
    """Where the tests of a module stand."""
    source, tests = next((s, t) for s, t in MIRRORED.items() if path.is_relative_to(s))
    inside = path.relative_to(source)
    return str(Path(tests, inside.parent, f"test_{inside.stem.strip('_')}.py"))


@pytest.mark.parametrize(
    ("code", "does"),
    [
        (
            '"""Doc."""\nfrom __future__ import annotations\nfrom a import b\nX: int = 1\n__all__ = ["b"]',
            False,
        ),
        ("def f(): ...", True),
        ("class C: ...", True),
        ("spark.sql('SELECT 1')", True),
        ("if True:\n  x = 1", True),
    ],
)
def test_has_code(code: str, does: bool) -> None:
    assert has_code(code) is does


def test_mirror() -> None:
    assert mirror(PROVIDER / "core" / "paths.py") == "tests/databricks_file_arrivals/core/test_paths.py"
    assert (
        mirror(LOCAL_WORKSPACE / "api" / "__init__.py")
        == "tests/databricks_side/local_workspace/api/test_init.py"
    )


def test_every_module_with_code_has_a_test_module() -> None:
    missing = {
        str(path.relative_to(REPOSITORY)): mirror(path)
        for source in MIRRORED
        for path in modules(source)
        if has_code(path.read_text("utf-8")) and not (REPOSITORY / mirror(path)).exists()
    }
    assert not missing, "no test module for\n" + "\n".join(
        f"  {path}: {test}" for path, test in missing.items()
    )


def test_all_code_is_mirrored() -> None:
    """A folder of code that MIRRORED does not know would need no tests."""
    known = [*MIRRORED, REPOSITORY / "tests", REPOSITORY / "bench", REPOSITORY / "docs"]
    code = [REPOSITORY / name for name in tracked() if name.endswith(".py")]
    assert [str(path) for path in code if not any(path.is_relative_to(folder) for folder in known)] == []


def test_the_top_level_holds_what_the_design_names() -> None:
    assert {name.split("/")[0] for name in tracked()} - TOP_LEVEL == set()


# A path of the machine that somebody worked on; a URL's or a workspace's path is not one.
MACHINE_PATH = re.compile(r"(?<![\w.$}>)\]-])/(?:root|work|home)/")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"cd /{'root'}/x", True),
        (f'"/{"home"}/me/x"', True),
        (f"//h/{'home'}/x", False),
        ("/homework/", False),
    ],
)
def test_machine_path(line: str, found: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) is found


def test_no_file_holds_a_path_of_a_machine() -> None:
    found = []
    for name in tracked():
        path = REPOSITORY / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" in data:
            continue
        lines = enumerate(data.decode("utf-8").splitlines(), 1)
        found += [f"{name}:{number}: {line.strip()}" for number, line in lines if MACHINE_PATH.search(line)]
    assert found == []
