"""The engine of the local workspace: one Spark Connect server with real Delta and a lasting catalog."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_workspace.connect import EngineError, answers, release
from local_workspace.jars import SPARK_HOME, SetupError, jar_paths, java_environment, last_lines, setup
from local_workspace.records import ProcessRecord, read_json, write_json

__all__ = ["Engine", "EngineError", "SetupError", "release", "setup", "spark_settings"]

LAST_BREATH_SECONDS = 20
START_TIMEOUT_SECONDS = 180  # ten seconds on a quiet machine; a busy one has needed fifty
LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {folder}/spark.log
appender.file.filePattern = {folder}/spark.%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss.SSS}} %p %c{{1}}: %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


# Many small statements, each compiled and used once: the second compiler took a third of all processor time
# and never paid it back. Without it the code cache would be small, and be swept again and again.
JAVA_TUNING = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"


def spark_settings(state: Path) -> dict[str, str]:
    """What makes a Spark session a workspace's: Delta by default, three-level names, a lasting catalog."""
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension,local.CatalogNames",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.sources.default": "delta",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(state / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        # Bound parameters are put in as literals before Spark looks for `${...}`: it would eat that of data.
        "spark.sql.variable.substitute": "false",
        # Java code for each statement costs more than it saves on few rows; big jobs may set both back.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.shuffle.partitions": "2",
        # VACUUM lists files in as many tasks as this says, however few there are: thousands by default.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now, and that no outgoing connection is given later.

    The kernel gives connections ports of its ephemeral range, from 32768 or 49152 up: clients that wait for a
    killed server could be given its very port, and the server could not have it back.
    """
    candidates = list(range(20_000, 32_000))
    random.shuffle(candidates)
    return next(port for port in candidates if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False


class Engine:
    """One Spark Connect server for one state folder: found again when it still runs, started when not.

    The server outlives this object and this process; `<state>/server/engine.json` says where it is.
    """

    def __init__(
        self, state: Path, port: int = 0, home: Path | None = None, driver_memory: str = "1500m"
    ) -> None:
        self._state = Path(state).resolve()
        self._home = home
        self._driver_memory = driver_memory
        self._wanted_port = port
        self._folder = self._state / "server"
        self._record_path = self._folder / "engine.json"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """The state folder."""
        return self._state

    @property
    def remote(self) -> str:
        """What a Connect client is given: sc://127.0.0.1:PORT."""
        return f"sc://127.0.0.1:{self._recorded()['port']}"

    @property
    def pid(self) -> int:
        return int(self._recorded()["pid"])

    def _recorded(self) -> dict[str, Any]:
        record: dict[str, Any] | None = read_json(self._record_path)
        if record is None:
            raise EngineError(f"No engine was started on {self._state}.")
        return record

    def alive(self) -> bool:
        """Whether the recorded process runs; that it answers is what start() makes sure of."""
        if self._child is not None:
            self._child.poll()  # collects it when it has ended
        record = ProcessRecord.read(self._record_path)
        return record is not None and record.alive()

    def start(self) -> None:
        """Return when the server answers and its catalog is open; one that runs already is kept."""
        with self._lock():
            if self.alive():
                if answers(self.remote, timeout=20):
                    return
                self.stop()
            self._spawn()
            self._await_answer()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Derby serves one JVM at a time: two starts of one state folder wait for each other."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "engine.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def stop(self) -> None:
        """End the server: asked first, killed after ten seconds."""
        record = ProcessRecord.read(self._record_path)
        process = record.process() if record else None
        if process is not None:
            process.terminate()
            deadline = time.monotonic() + 10
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.alive():
                process.kill()
        if self._child is not None:
            self._child.wait()

    def _port(self) -> int:
        """The port asked for; else the last one, so that clients find a restarted server; else a free one."""
        if self._wanted_port:
            if not _is_free(self._wanted_port):
                raise EngineError(f"Port {self._wanted_port} of 127.0.0.1 is taken: name another, or none.")
            return self._wanted_port
        last = read_json(self._record_path)
        if last is None:
            return free_port()
        # A killed JVM is a zombie while its threads end, and keeps port and catalog until the last has.
        deadline = time.monotonic() + LAST_BREATH_SECONDS
        while not _is_free(last["port"]):
            if time.monotonic() > deadline:
                return free_port()
            time.sleep(0.05)
        return int(last["port"])

    def _spawn(self) -> None:
        port = self._port()
        scratch = self._folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)  # blocks and artifacts of a server that is gone
        scratch.mkdir(parents=True)
        log4j = self._folder / "log4j2.properties"
        log4j.write_text(LOG4J.format(folder=self._folder))
        if self._child is not None:
            self._child.wait()
        with (self._folder / "engine.out").open("ab") as output:
            self._child = subprocess.Popen(
                self._command(port, log4j),
                cwd=scratch,
                env=java_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to handle
            )
        write_json(self._record_path, {**ProcessRecord.of(self._child.pid).as_dict(), "port": port})

    def _command(self, port: int, log4j: Path) -> list[str]:
        settings = spark_settings(self._state) | {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(port),
            "spark.connect.session.manager.defaultSessionTimeout": "-1",  # sessions end when their run does
            "spark.local.dir": str(self._folder / "tmp"),
            "spark.scheduler.mode": "FAIR",
        }
        java_options = " ".join(
            f'"-D{name}={value}"'
            for name, value in {
                "derby.system.home": self._state / "metastore",
                "derby.stream.error.file": self._folder / "derby.log",
                "log4j2.configurationFile": log4j.as_uri(),
                "java.io.tmpdir": self._folder / "tmp",
            }.items()
        )
        return [
            str(SPARK_HOME / "bin" / "spark-submit"),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            *(
                "--master",
                f"local[{max(4, os.cpu_count() or 1)}]",
            ),  # most tasks here wait for files, not for a core
            *("--driver-memory", self._driver_memory),
            *("--driver-java-options", f"{JAVA_TUNING} {java_options}"),
            *("--jars", ",".join(map(str, jar_paths(self._home)))),
            *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")),
            "spark-internal",
        ]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if not self.alive():
                raise EngineError(f"The Spark server ended while starting.\n{self._log_tail()}")
            if self._listens() and answers(self.remote, timeout=deadline - time.monotonic()):
                return
            time.sleep(0.1)
        self.stop()
        raise EngineError(
            f"The Spark server did not answer in {START_TIMEOUT_SECONDS} s.\n{self._log_tail()}"
        )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", int(self._recorded()["port"]))) == 0

    def _log_tail(self) -> str:
        texts = [
            path.read_text(encoding="utf-8", errors="replace")
            for name in ("engine.out", "spark.log")
            if (path := self._folder / name).exists()
        ]
        return "\n".join(last_lines(text) for text in texts)
