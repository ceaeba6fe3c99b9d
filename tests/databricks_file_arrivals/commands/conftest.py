"""A log with a story: one claim of files that were started, held, misspelled and not mapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from databricks_file_arrivals.workspace.arrival_log import ArrivalLog
from databricks_file_arrivals.workspace.claims import Claimer, Options
from databricks_file_arrivals.workspace.jobs import JobsApi
from tests.airflow_side import Log


@dataclass
class Story:
    """A log, its stream, and the arguments that name its tables."""

    log: Log
    stream: str

    @property
    def tables(self) -> list[str]:
        return ["--log-table", str(self.log.names.log), *self.mapping]

    @property
    def mapping(self) -> list[str]:
        return ["--workflow-mapping-table", str(self.log.names.mapping)]

    def claim(self) -> None:
        """What the operator does, for the consumer `default`."""
        hook, names = self.log.hook, self.log.names
        options = Options("default", str(names.log))
        Claimer(self.log.ledger, ArrivalLog(hook, names), JobsApi(hook), options).run()


@pytest.fixture(scope="session")
def story(new_log: Callable[[], Log], jobs: dict[str, int]) -> Story:
    log = new_log()
    log.map(("/in/a", "alpha", "Y"), ("typo", "alhpa", "Y"), ("/in", "off", "N"))
    log.hook.query(
        f"INSERT INTO {log.names.mapping.sql} (directory, workflow_name, active_ind, settle_seconds) "
        "VALUES ('/in/held', 'beta', 'Y', 7200)"
    )
    log.hook.query(
        f"INSERT INTO {log.names.streams.sql} (stream_id, root, checkpoint) VALUES ('s-1', '/in', '/c')"
    )
    log.land({"/in/a/deep": 2, "/in/typo": 1, "/in/held": 3}, "s-1")
    log.land({"/in2/none": 4, "/in2/refused": 1}, "s-2", root="/in2")
    story = Story(log, "s-1")
    story.claim()
    return story
