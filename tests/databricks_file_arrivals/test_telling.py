"""Tasks of real DAG runs, and all that is seen of them: log, links, lineage, asset events, notifications and
metrics."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import databricks_file_arrivals
from databricks_file_arrivals.compat import lineage_sender
from tests.airflow_side import DECLARED, Log
from tests.airflow_versions import STOCK, TIMES_PRINTED, listened
from tests.conftest import DAG_FOLDERS

SOURCE = '''
import json
from datetime import datetime, timedelta
from pathlib import Path

from airflow import DAG
from databricks_file_arrivals.compat import AssetAlias, BaseOperator, lineage_sender
from databricks_file_arrivals.core import lineage
from databricks_file_arrivals.operators import (
    PlanRequestsOperator,
    RunWorkflowOperator,
    TriggerWorkflowsOperator,
)
from databricks_file_arrivals.outlets import arrived_in
from tests.airflow_versions import (
    BaseNotifier,
    asset_tables,
    load_dags,
    run_dag,
    store_dags,
    stored,
)

lineage.EVENT_REQUESTS = 3 if lineage_sender() else 5  # five take two events, where that can be
HERE = Path(FOLDER)


class FileNotifier(BaseNotifier):
    """Appends its rendered text to a file."""

    template_fields = ("text",)

    def __init__(self, text):
        super().__init__()
        self.text = text

    def notify(self, context):
        with (HERE / "notified.txt").open("a") as file:
            file.write(self.text + chr(10))


def fails(context):
    raise RuntimeError(context["file_arrivals"]["kind"])


with DAG("telling", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    task = TriggerWorkflowsOperator(
        task_id="trigger",
        outlets=[AssetAlias("arrivals")],
        on_unmapped=[fails, FileNotifier("{{ file_arrivals.kind }}: {{ file_arrivals.message }}")],
        on_held_too_long=FileNotifier("{{ file_arrivals.kind }} {{ file_arrivals.directories }}"),
        held_too_long=timedelta(),
        workflow_mapping_table=MAPPING,
        start_from="earliest",
        **ARGUMENTS,
    )

with DAG("telling_mapped", schedule=None, start_date=datetime(2026, 1, 1)):
    plan = PlanRequestsOperator(
        task_id="plan",
        consumer="mapped",
        workflow_mapping_table=MAPPING,
        start_from="earliest",
        **ARGUMENTS,
    )
    RunWorkflowOperator.partial(
        task_id="run",
        consumer="mapped",
        outlets=[AssetAlias("arrivals")],
        on_error=[FileNotifier("{{ file_arrivals.message }}")],
        **ARGUMENTS,
    ).expand(request=plan.output)

with DAG(
    "report",
    schedule=[arrived_in(ARGUMENTS["log_table"], "dbfs:/in/a/")],
    start_date=datetime(2026, 1, 1),
    is_paused_upon_creation=False,
):
    BaseOperator(task_id="report")

if __name__ == "__main__":
    from airflow.utils.session import create_session

    store_dags(__file__)
    seen, (events_table, due_table) = {}, asset_tables()
    for dag_id, tasks in {"telling": ["trigger"], "telling_mapped": ["plan", "run"]}.items():
        dag = load_dags(__file__)[dag_id]
        run, shown = run_dag(dag), stored(dag)
        with create_session() as session:
            events = [(e.uri, e.extra) for e in session.query(events_table) if e.source_run_id == run.run_id]
            due = [queued.target_dag_id for queued in session.query(due_table)]
            links = {
                f"{ti.task_id} {ti.map_index} {name}": shown.get_task(ti.task_id).get_extra_links(ti, name)
                for ti in run.get_task_instances(session=session)
                for name in shown.get_task(ti.task_id).extra_links
            }
        seen[dag_id] = {"state": run.state, "events": events, "links": links, "due": due}
    (HERE / "seen.json").write_text(json.dumps(seen))
'''


REPOSITORY = Path(__file__).resolve().parents[2]
told_to_jobs = pytest.mark.skipif(
    STOCK < (7, 23), reason="the stock provider tells jobs their parent since 7.23"
)


@dataclass
class Seen:
    """What was seen of both DAG runs: `by_dag` has their states, links and asset events."""

    log: Log
    job_id: int
    by_dag: dict[str, dict[str, Any]]
    printed: str
    errors: str
    """Where some versions of Airflow print what is no task's log."""
    metrics: list[str]
    lineage: list[dict[str, Any]]
    notified: list[str]

    def runs(self, consumer: str) -> dict[str, int]:
        """The runs that were started, by directory."""
        rows = self.log.hook.query(
            f"SELECT directory, started_run_id FROM {self.log.names.log.sql} "
            "WHERE status = 'TRIGGERED' AND consumer = :consumer",
            {"consumer": consumer},
        )
        return {r["directory"]: r["started_run_id"] for r in rows}


@pytest.fixture(scope="module")
def statsd() -> Iterator[tuple[int, list[str]]]:
    """A StatsD server: its port, and what it was sent."""
    packets: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def receive() -> None:
            while packet := server.recv(1024):
                packets.append(packet.decode())

        listener = threading.Thread(target=receive)
        listener.start()
        yield server.getsockname()[1], packets
        server.sendto(b"", server.getsockname())
        listener.join()


@pytest.fixture(scope="module")
def seen(
    airflow_db: str,
    new_log: Callable[[], Log],
    new_job: Callable[..., int],
    tmp_path_factory: pytest.TempPathFactory,
    statsd: tuple[int, list[str]],
) -> Seen:
    """Two consumers of the same arrivals: two started, one of a workflow that is not there, one held, one
    that no row names."""
    here = tmp_path_factory.mktemp("telling")
    log = new_log()
    job_id = new_job("tells", declared=(*DECLARED, "OPENLINEAGE_CONTEXT"))
    log.map(("/in/a", "tells", "Y"), ("/in/b", "tells", "Y"), ("/in/b", "gone", "Y"))
    log.map(("/in/held", "tells", "Y"), min_files=5)
    log.land({"/in/a": 2, "/in/b": 1, "/in/held": 1, "/in/nobody's": 3})
    values = {
        "ARGUMENTS": {"log_table": str(log.names.log)},
        "MAPPING": str(log.names.mapping),
        "FOLDER": str(here),
    }
    source = SOURCE
    for name, value in values.items():
        source = source.replace(name, repr(value))
    file = DAG_FOLDERS["written"] / "telling.py"
    file.write_text(source)
    lineage = here / "lineage"
    lineage.touch()  # it stays empty where nobody listens
    transport = {"type": "file", "log_file_path": str(lineage), "append": True}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__SPARK_INJECT_PARENT_JOB_INFO": "True",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd[0]),
    }
    done = subprocess.run(
        [sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=600
    )
    file.unlink()
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return Seen(
        log,
        job_id,
        json.loads((here / "seen.json").read_text()),
        done.stdout,
        done.stderr,
        statsd[1],
        [json.loads(text) for text in lineage.read_text().splitlines()],
        (here / "notified.txt").read_text().splitlines(),
    )


def test_the_tasks_succeed_though_a_notifier_fails(seen: Seen) -> None:
    assert {dag: found["state"] for dag, found in seen.by_dag.items()} == {
        "telling": "success",
        "telling_mapped": "success",
    }


def test_the_log_has_a_line_for_each_outcome_and_a_summary(seen: Seen) -> None:
    runs = seen.runs("default")
    for line in (
        f"TRIGGERED /in/a → tells: run {runs['/in/a']}, 2 files, 20 B",
        "HELD /in/held → tells: 1 file, 10 B, waits for min_files",
        "UNMAPPED /in/nobody's: 3 files, 30 B, no row of the mapping table",
        "epoch 1, 8 files: 1 held, 1 no_such_workflow, 2 triggered, 1 unmapped",
    ):
        times = TIMES_PRINTED * (1 if "run " in line or "triggered" in line else 2)
        assert seen.printed.count(line) == times, line


def test_links_lead_to_the_pages_of_the_workspace(seen: Seen) -> None:
    url = seen.log.hook.workspace_url
    catalog, schema, table = seen.log.names.log.parts
    page = f"{url}/explore/data/{catalog}/{schema}/{table}"
    assert seen.by_dag["telling"]["links"] == {"trigger -1 Trigger log": page}
    links = seen.by_dag["telling_mapped"]["links"]
    runs = {f"{url}/jobs/{seen.job_id}/runs/{run_id}" for run_id in seen.runs("mapped").values()}
    assert {links[f"run {n} Databricks run"] for n in (0, 1)} == runs
    assert {links[f"run {n} Databricks job"] for n in (0, 1)} == {f"{url}/jobs/{seen.job_id}"}
    assert {links["plan -1 Trigger log"], links["run 0 Trigger log"]} == {page}


def test_other_dags_are_told_of_each_directory(seen: Seen) -> None:
    log, runs = str(seen.log.names.log), seen.runs("default")
    events = dict(seen.by_dag["telling"]["events"])
    assert set(events) == {f"file-arrivals://{log}/in/a", f"file-arrivals://{log}/in/b"}
    assert events[f"file-arrivals://{log}/in/b"] == {
        "directory": "/in/b",
        "consumer": "default",
        "epoch": 1,
        "no_such_workflow": 1,
        "triggered": 1,
        "files": 1,
        "bytes": 10,
        "run_ids": str(runs["/in/b"]),
        "runs": 1,
    }
    mapped = dict(seen.by_dag["telling_mapped"]["events"])
    assert {uri: extra["triggered"] for uri, extra in mapped.items()} == dict.fromkeys(events, 1)


def test_a_dag_that_is_scheduled_on_a_directory_is_due(seen: Seen) -> None:
    assert seen.by_dag["telling"]["due"] == ["report"]


def test_people_are_told_once_and_by_each_notifier(seen: Seen) -> None:
    assert seen.notified == [
        "unmapped: 1 directory: files arrived that no active row of the mapping table takes",
        "  /in/nobody's (3 files): no row of the mapping table names this directory or one above it",
        "held_too_long ['/in/held']",
    ]
    printed = seen.printed + seen.errors
    assert "a notifier of on_unmapped failed" in printed and "RuntimeError: unmapped" in printed


def test_airflows_stats_are_sent(seen: Seen) -> None:
    counted = [p.removeprefix("airflow.file_arrivals.") for p in seen.metrics if ".file_arrivals." in p]
    assert [c for c in counted if "lag:" not in c] == [
        *("arrivals:8|c", "starts:2|c", "unmapped:1|c", "errors:1|c"),  # one task for all
        *("arrivals:8|c", "unmapped:1|c", "errors:1|c"),  # one that plans
        *("starts:1|c", "starts:1|c"),  # and one for each workflow
    ]
    stream_lags = [c for c in counted if c.startswith("stream_lag")]
    assert stream_lags == ["stream_lag:0.000000|ms"] * 2, "the log is written by hand, at once"
    lags = [float(c.removeprefix("lag:").removesuffix("|ms")) for c in counted if c.startswith("lag")]
    assert len(lags) == 4 and all(0 < lag < 600_000 for lag in lags)


def task_events(seen: Seen, job: str, *kinds: str) -> list[dict[str, Any]]:
    return [e for e in seen.lineage if e["job"]["name"] == job and e["eventType"] in kinds]


@listened
def test_lineage_names_directories_and_jobs(seen: Seen) -> None:
    (start,) = task_events(seen, "telling.trigger", "START")
    assert start["run"]["facets"]["fileArrivals"]["logTable"] == str(seen.log.names.log)
    host = seen.log.hook.host
    events = task_events(seen, "telling.trigger", "RUNNING", "COMPLETE")
    sent = ["RUNNING", "COMPLETE"] if lineage_sender() else ["COMPLETE"]
    assert [e["eventType"] for e in events] == sent, "five requests take two events"
    names = {
        kind: {(d["namespace"], d["name"]) for e in events for d in e[kind]} for kind in ("inputs", "outputs")
    }
    log = seen.log.names
    assert names == {
        "inputs": {
            *((f"dbfs://{host}", d) for d in ("/in/a", "/in/b", "/in/nobody's")),
            *((f"databricks://{host}", str(table)) for table in (log.arrivals, log.mapping)),
        },
        "outputs": {
            (f"databricks://{host}", str(log.log)),
            (f"databricks://{host}", f"jobs/{seen.job_id}"),
        },
    }
    facets = [e["run"]["facets"]["fileArrivals"] for e in events]
    assert facets[0]["counts"] == {"held": 1, "no_such_workflow": 1, "triggered": 2, "unmapped": 1}
    requests = [r for facet in facets for r in facet["requests"]]
    assert {r["directory"]: r["runId"] for r in requests if "runId" in r} == seen.runs("default")
    assert len({r["triggerId"] for r in requests}) == 5
    assert {e["run"]["runId"] for e in events} == {start["run"]["runId"]}


@listened
def test_lineage_is_as_the_client_and_the_facets_schema_have_it(seen: Seen) -> None:
    event_v2 = importlib.import_module("openlineage.client.event_v2")
    schema = json.loads(Path(databricks_file_arrivals.__file__).with_name("run_facet.json").read_text())
    told = [e for e in seen.lineage if "fileArrivals" in e["run"]["facets"]]
    ahead = 2 if lineage_sender() else 0
    assert len(told) == 8 + ahead, "a start and an end of four tasks, and more for two of them"
    for event in told:
        jsonschema.validate(event["run"]["facets"], schema)
        # The client's own classes take all that was written, and check what is to be a time, an id or a URL.
        parts = {key: value for key, value in event.items() if key != "schemaURL"}
        parts["run"] = event_v2.Run(**parts["run"])
        parts["job"] = event_v2.Job(**parts["job"])
        parts["inputs"] = [event_v2.InputDataset(**d) for d in parts["inputs"]]
        parts["outputs"] = [event_v2.OutputDataset(**d) for d in parts["outputs"]]
        assert event_v2.RunEvent(**parts).job.name == event["job"]["name"]


@listened
@told_to_jobs
def test_jobs_are_told_which_task_planned_them_and_the_row_says_so(seen: Seen) -> None:
    rows = seen.log.hook.query(
        f"SELECT DISTINCT consumer, job_parameters['OPENLINEAGE_CONTEXT'] AS context "
        f"FROM {seen.log.names.log.sql} WHERE job_id IS NOT NULL AND status <> 'HELD'"
    )
    parents = {r["consumer"]: json.loads(r["context"]) for r in rows}
    assert len(rows) == 2 and set(parents) == {"default", "mapped"}, "the same in all rows of a claim"
    for consumer, job in (("default", "telling.trigger"), ("mapped", "telling_mapped.plan")):
        (start,) = task_events(seen, job, "START")
        assert start["run"]["runId"] in json.dumps(parents[consumer])
