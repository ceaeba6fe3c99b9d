"""Wheels of a run: in the run itself, in its UDFs, and in its foreachBatch functions on the server."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from local_workspace.libraries import LibraryError, unpack
from tests.databricks_side.local_workspace.conftest import Runs, eventually

PURE = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
MODULE = """
from importlib.metadata import version
from importlib.resources import files

def shout(text):
    from shouting.words import SUFFIX
    return text.upper() + SUFFIX

def write(path, batch, batch_id):
    with open(path, "a") as file:
        file.write(f"{shout('batch')} {batch_id} {batch.count()} {version('shouting')}\\n")
"""


def wheel(folder: Path, version: str = "1.0", metadata: str = PURE) -> Path:
    """A wheel `shouting` whose code needs a second module, a data file and its own metadata."""
    path = folder / f"shouting-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shouting/__init__.py", MODULE)
        archive.writestr("shouting/words.py", f"SUFFIX = '! {version}'")
        archive.writestr("shouting/data.txt", "data")
        archive.writestr(f"shouting-{version}.dist-info/WHEEL", metadata)
        archive.writestr(f"shouting-{version}.dist-info/METADATA", f"Name: shouting\nVersion: {version}\n")
    return path


def test_in_the_run_itself(runs: Runs, tmp_path: Path) -> None:
    code = (
        "from shouting import files, shout; print(shout('x'), (files('shouting') / 'data.txt').read_text())"
    )
    run = runs.finish(code, libraries=[str(wheel(tmp_path))])
    assert runs.log(run) == "X! 1.0 data\n"
    assert "ModuleNotFoundError" in runs.result(runs.start(code))["error"]


def test_in_a_udf(runs: Runs, tmp_path: Path) -> None:
    code = (
        "import shouting\nfrom pyspark.sql.functions import udf\n"
        "f = udf(lambda x: shouting.shout('udf'), 'string')\n"
        "print(spark.range(1).select(f('id')).collect()[0][0])"
    )
    assert runs.log(runs.finish(code, libraries=[str(wheel(tmp_path))])) == "UDF! 1.0\n"
    second = wheel(tmp_path, version="2.0")
    assert runs.log(runs.finish(code, libraries=[str(second)])) == "UDF! 2.0\n"


BATCH = """
from functools import partial
{imports}
out = {out!r}
stream = spark.readStream.format("rate").load().writeStream.foreachBatch({function})
stream.option("checkpointLocation", out + ".checkpoint").start()
import time
while not spark.streams.active[0].lastProgress: time.sleep(0.1)
"""


def test_in_foreach_batch(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = BATCH.format(imports="import shouting", out=str(out), function="partial(shouting.write, out)")
    runs.finish(code, libraries=[str(wheel(tmp_path))])
    assert out.read_text().splitlines()[0] == "BATCH! 1.0 0 0 1.0"


def test_foreach_batch_of_a_module_beside_the_file(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "beside.py").write_text(
        "def write(path, batch, batch_id):\n    open(path, 'a').write(f'beside {batch_id}\\n')\n"
    )
    file = tmp_path / "main.py"
    file.write_text(
        BATCH.format(imports="import beside", out=str(out), function="partial(beside.write, out)")
    )
    runs.finish("", file=str(file))
    assert eventually(out.exists) and out.read_text().startswith("beside 0\n")


class TestRefused:
    def test_compiled_parts(self, tmp_path: Path) -> None:
        built = wheel(tmp_path, metadata=PURE.replace("true", "false"))
        with pytest.raises(LibraryError, match="pure Python only"):
            unpack([str(built)], tmp_path / "into")

    def test_what_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(LibraryError, match="There is no library"):
            unpack([str(tmp_path / "none.whl")], tmp_path / "into")

    def test_what_is_no_wheel(self, tmp_path: Path) -> None:
        with pytest.raises(LibraryError, match="takes wheels"):
            unpack([str(tmp_path / "x.jar")], tmp_path / "into")
        empty = tmp_path / "empty.whl"
        with zipfile.ZipFile(empty, "w"):
            pass
        with pytest.raises(LibraryError, match="is not a wheel"):
            unpack([str(empty)], tmp_path / "into")

    def test_a_run_says_so(self, runs: Runs, tmp_path: Path) -> None:
        result = runs.result(runs.start("print('begun')", libraries=[str(tmp_path / "none.whl")]))
        assert result["exit_code"] == 1 and result["error"].startswith("LibraryError: There is no library")
