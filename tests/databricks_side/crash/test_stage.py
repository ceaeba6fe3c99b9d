"""The stage of the crash test: Airflow on PostgreSQL, and patience with what was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash import stage as crash_stage
from crash.postgres import programs
from crash.stage import DAG_ID, DAGS, CrashStage
from demo.processes import DemoError
from demo.screen import Screen
from demo.stage import stage


@pytest.fixture
def made(tmp_path: Path) -> Iterator[CrashStage]:
    """A stage on which nothing is started."""
    try:
        programs()
    except DemoError as error:
        pytest.skip(str(error))
    with stage(tmp_path / "state", Screen(), CrashStage) as found:
        yield found


def test_airflow_has_its_metadata_in_postgresql(made: CrashStage) -> None:
    settings = made.airflow.environment()
    assert settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql+psycopg2://airflow:")
    assert "@127.0.0.1:" in settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert Path(settings["AIRFLOW__CORE__DAGS_FOLDER"], f"{DAG_ID}.py").exists() and DAGS.is_dir()


def test_it_is_patient_with_what_was_killed(made: CrashStage) -> None:
    failures = [ConnectionError(), OSError()]

    def ask() -> str:
        if failures:
            raise failures.pop()
        return "there"

    assert made.patient(ask, "it answers") == "there"


def test_its_patience_ends(made: CrashStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_stage, "PATIENCE_SECONDS", 0.1)

    def refuse() -> str:
        raise ConnectionError("still dead")

    with pytest.raises(DemoError, match=r"it answers.*still dead"):
        made.patient(refuse, "it answers")


def test_nothing_is_left_of_the_database(made: CrashStage) -> None:
    assert made.postgres.folder.exists()
    made.stop()
    assert not made.postgres.folder.exists()
