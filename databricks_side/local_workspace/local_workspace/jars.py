"""Set-up of the engine: the Delta jars, fetched once, and the parser extension, compiled once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
JAVA_SOURCE = Path(__file__).with_name("CatalogNames.java")
# What Delta's coordinate asks for and Spark has already, in other versions: kept off the class path.
SPARKS_OWN = (
    "com.fasterxml.jackson.core:jackson-annotations,com.fasterxml.jackson.core:jackson-core,"
    "com.fasterxml.jackson.core:jackson-databind,com.fasterxml.jackson.datatype:jackson-datatype-jdk8,"
    "com.github.luben:zstd-jni,com.google.code.findbugs:jsr305,io.airlift:aircompressor,"
    "org.apache.hadoop:hadoop-client-api,org.apache.hadoop:hadoop-client-runtime,"
    "org.apache.logging.log4j:log4j-api,org.apache.logging.log4j:log4j-core,"
    "org.apache.logging.log4j:log4j-slf4j2-impl,org.apache.parquet:parquet-column,"
    "org.apache.parquet:parquet-hadoop,org.locationtech.jts:jts-core,org.roaringbitmap:RoaringBitmap,"
    "org.slf4j:slf4j-api,org.xerial.snappy:snappy-java"
)


class SetupError(RuntimeError):
    """Raised when the engine's jars are missing or could not be made; the message says what to do."""


def default_home() -> Path:
    """Where set-up keeps the jars: inside the virtual environment, so they go when it goes."""
    return Path(sys.prefix) / "share" / "local-workspace"


def setup(home: Path | None = None) -> Path:
    """Fetch the Delta jars and compile the parser extension, once; returns the folder that has them."""
    home = home or default_home()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups at once: the second finds all done
        jars = _jar_folder(home)
        if not jars.is_dir():
            with TemporaryDirectory(dir=home, prefix=".setup-") as work:
                made = Path(work) / "jars"
                made.mkdir()
                _fetch_delta(Path(work), made)
                _compile_extension(Path(work), made / "catalog-names.jar")
                _compile_workers()
                made.rename(jars)
    return home


def jar_paths(home: Path | None = None) -> list[Path]:
    """The jars that Spark needs besides its own; raises SetupError when set-up has not been run."""
    jars = sorted(_jar_folder(home or default_home()).glob("*.jar"))
    if not jars:
        raise SetupError("The local workspace is not set up: run `local-workspace setup`.")
    return jars


def _jar_folder(home: Path) -> Path:
    """One folder per content: another Delta, Spark or source is another folder."""
    source = hashlib.sha256(JAVA_SOURCE.read_bytes()).hexdigest()[:12]
    return home / f"jars-delta-{version('delta-spark')}-spark-{pyspark.__version__}-{source}"


def _fetch_delta(work: Path, into: Path) -> None:
    spark_line = ".".join(pyspark.__version__.split(".")[:2])
    coordinate = f"io.delta:delta-spark_{spark_line}_2.13:{version('delta-spark')}"
    nothing = work / "nothing.py"
    nothing.write_text("")  # Ivy runs before the application, and this application is empty
    ivy = work / "ivy"
    _run(
        [
            str(SPARK_HOME / "bin" / "spark-submit"),
            *("--packages", coordinate, "--exclude-packages", SPARKS_OWN),
            *("--conf", f"spark.jars.ivy={ivy}", str(nothing)),
        ],
        f"The Delta jars ({coordinate}) could not be fetched: the network or a mirror is needed once.",
        java_environment(),
    )
    for jar in (ivy / "jars").glob("*.jar"):
        shutil.copy2(jar, into)


def _compile_extension(work: Path, jar: Path) -> None:
    classes = work / "classes"
    classes.mkdir()
    _run(
        [_java_tool("javac"), "-nowarn", "-cp", f"{SPARK_HOME}/jars/*", "-d", str(classes), str(JAVA_SOURCE)],
        "CatalogNames.java could not be compiled.",
    )
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(classes.rglob("*.class")):
            archive.write(file, file.relative_to(classes))


def _compile_workers() -> None:
    """Leave the byte code of what Spark's Python workers import.

    Spark gives a worker ten seconds to start and no setting for it; a busy machine needs longer to compile.
    """
    modules = "pyspark.sql.connect.streaming.worker.foreach_batch_worker, local_workspace.cloud_files"
    _run(
        [sys.executable, "-c", f"import {modules}"], "Spark's client cannot be imported.", java_environment()
    )


def _java_tool(name: str) -> str:
    home = os.environ.get("JAVA_HOME")
    path = shutil.which(name, path=f"{home}/bin" if home else None) or shutil.which(name)
    if path is None:
        raise SetupError(f"No `{name}`: a JDK, 17 or later, is needed.")
    return path


def _run(command: list[str], failure: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SetupError(f"{failure}\n{last_lines(done.stdout + done.stderr)}")


def last_lines(text: str, count: int = 30) -> str:
    return "\n".join(text.splitlines()[-count:])


def java_environment() -> dict[str, str]:
    """Loopback only, this interpreter for Spark's Python workers, and nothing of a client's own settings."""
    package_root = str(Path(__file__).parent.parent)
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    own = {
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": search,  # the server's Python workers import the cloudFiles source from here
    }
    foreign = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "PYSPARK_SUBMIT_ARGS", "SPARK_CONF_DIR")
    slow = ("PYTHONDONTWRITEBYTECODE",)  # see _compile_workers
    return {name: value for name, value in os.environ.items() if name not in foreign + slow} | own
