"""OpenLineage: the directories that files arrived in are what a task reads, the jobs are what it makes.

Nothing of OpenLineage is imported before its listener asks, so its provider may be missing. A job is no
dataset, and Databricks' own listener tells what it reads and writes; but only datasets can be outputs of a
task, and as one of them a job joins the directories to what it makes of them in any lineage graph.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from databricks_file_arrivals import __version__
from databricks_file_arrivals.compat import Context, conf, lineage_parameters, lineage_sender
from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.config_options import MOST_LINEAGE_EVENTS
from databricks_file_arrivals.core.lineage import (
    CONTEXT,
    Name,
    chunked,
    directories,
    directory_name,
    facet,
    job_name,
    jobs,
    table_name,
)
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.tables import Names, TableName

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import RunFacet

PRODUCER = f"pkg:pypi/airflow-provider-databricks-file-arrivals@{__version__}"
FACET = "fileArrivals"
SCHEMA_URL = f"{PRODUCER}#/$defs/FileArrivalsRunFacet"
"""Of run_facet.json, which is part of the package."""

_ONE_EVENT = "the OpenLineage provider sends more than one event of a task since its 2.16"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lineage:
    """What one task is to tell of its lineage."""

    names: Names
    consumer: str
    host: str = ""
    rows: Sequence[LogRow] = field(default_factory=tuple)

    def on_start(self) -> OperatorLineage[Any, Any]:
        """Which log and consumer it is about: datasets have names once the workspace's host is known."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        return OperatorLineage(run_facets=self._facets((), 0))

    def on_end(self, ti: Any) -> OperatorLineage[Any, Any]:
        """All that it read and started. What is too much for one event is sent ahead in others."""
        send = lineage_sender()
        first, *others = chunks = chunked(self.rows, int(number(MOST_LINEAGE_EVENTS)) if send else 1)
        left_out = len(self.rows) - sum(map(len, chunks))
        if left_out:
            why = "[file_arrivals] most_lineage_events is the limit" if send else _ONE_EVENT
            log.warning("lineage leaves out %d of %d requests: %s", left_out, len(self.rows), why)
        for told in others:
            more = self._lineage(told, first=False, left_out=left_out)
            send(  # type: ignore[misc]  # without it there are no others
                inputs=more.inputs,
                outputs=more.outputs,
                task_instance=ti,
                additional_run_facets=more.run_facets,
            )
        return self._lineage(first, first=True, left_out=left_out)

    def _lineage(
        self, told: Sequence[LogRow], *, first: bool, left_out: int = 0
    ) -> OperatorLineage[Any, Any]:
        from airflow.providers.openlineage.extractors import OperatorLineage

        inputs = [
            self._directory(name, found.files, found.bytes) for name, found in directories(told).items()
        ]
        outputs = [self._job(job_id, workflow) for job_id, workflow in jobs(told).items()]
        if first:
            read = dict.fromkeys((self.names.arrivals, self.names.mapping))
            inputs = [*(self._input(table) for table in read if table != self.names.log), *inputs]
            outputs = [_output(table_name(str(self.names.log), self.host)), *outputs]
        return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=self._facets(told, left_out))

    def _facets(self, told: Sequence[LogRow], left_out: int) -> dict[str, RunFacet]:
        content = facet(str(self.names.log), self.consumer, self.rows, told, left_out)
        return {FACET: _facet_class()(**content, producer=PRODUCER)}

    def _input(self, table: TableName) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset

        name = table_name(str(table), self.host)
        return InputDataset(name.namespace, name.name)

    def _directory(self, directory: str, files: int, size: int) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import input_statistics_input_dataset

        name = directory_name(directory, self.host)
        statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            fileCount=files, size=size
        )
        return InputDataset(name.namespace, name.name, inputFacets={"inputStatistics": statistics})

    def _job(self, job_id: int, workflow: str) -> OutputDataset:
        from openlineage.client.facet_v2 import documentation_dataset

        said = documentation_dataset.DocumentationDatasetFacet(description=f"Databricks job {workflow!r}")
        return _output(job_name(job_id, self.host), {"documentation": said})


def _output(name: Name, facets: dict[str, Any] | None = None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset

    return OutputDataset(name.namespace, name.name, facets=facets or {})


@cache
def _facet_class() -> type[RunFacet]:
    """The run facet, as OpenLineage's client wants one: a class."""
    from attrs import define
    from openlineage.client.facet_v2 import RunFacet

    @define(kw_only=True)
    class FileArrivalsRunFacet(RunFacet):
        logTable: str
        consumer: str
        epoch: int | None
        counts: dict[str, int]
        requests: list[dict[str, Any]]
        requestsLeftOut: int

        @staticmethod
        def _get_schema() -> str:
            return SCHEMA_URL

    return FileArrivalsRunFacet


def parent_context(context: Context) -> dict[str, str]:
    """The parameter that tells a job which task started it; empty unless Airflow's configuration wants it
    told ([openlineage] spark_inject_parent_job_info) and the providers can.

    It goes into the plan, as all that a job is told does: whoever starts the request, in whichever try, makes
    the same call.
    """
    if not conf.getboolean("openlineage", "spark_inject_parent_job_info", fallback=False):
        return {}
    told = lineage_parameters(context)
    return {CONTEXT: told[CONTEXT]} if CONTEXT in told else {}
