"""A PostgreSQL for Airflow: on loopback, with a password, and gone afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest
from crash import postgres
from crash.postgres import Postgres, programs
from demo.processes import DemoError, Processes, until


def installed() -> bool:
    try:
        return bool(programs())
    except DemoError:
        return False


@pytest.mark.skipif(not installed(), reason="PostgreSQL is not installed")
def test_it_serves_with_its_password_and_leaves_nothing(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    server = Postgres(processes, tmp_path)
    server.start()
    try:
        until(server.is_ready, "it answers", processes, seconds=60)
        url = server.url.replace("+psycopg2", "")
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW listen_addresses")
            assert cursor.fetchone() == ("127.0.0.1",)
        connection.close()
        user, _, rest = url.partition("@")
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(f"{user.rpartition(':')[0]}:wrong@{rest}")
    finally:
        processes.end()
        server.remove()
    assert not server.folder.exists()


def test_where_it_is_missing_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(postgres, "DEBIAN", Path("/nowhere"))
    with pytest.raises(DemoError, match="apt-get install -y postgresql"):
        programs()
