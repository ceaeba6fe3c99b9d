"""The options of Airflow's configuration that this package reads: defaults for all of a deployment's DAGs."""

from __future__ import annotations

from dataclasses import dataclass

SECTION = "file_arrivals"


@dataclass(frozen=True, slots=True)
class Option:
    """An option: a number, and what it says when nobody sets it."""

    name: str
    default: float
    description: str
    version_added: str
    whole: bool = True
    """Whether it is a whole number."""


STARTS_PER_SECOND = Option(
    "starts_per_second",
    15.0,
    "How many runs one task starts in a second at most, where its operator does not say; 0 for no limit. "
    "Databricks takes 20 a second in a workspace, of all of its clients together.",
    "0.1.0",
    whole=False,
)
MOST_ASSET_EVENTS = Option(
    "most_asset_events",
    200,
    "How many directories one task adds an asset event for at most. Airflow registers all events of a task "
    "in one call, which its worker waits for as long as [workers] execution_api_timeout says. The task's log "
    "says what was left out.",
    "0.1.0",
)
MOST_LINEAGE_EVENTS = Option(
    "most_lineage_events",
    10,
    "How many OpenLineage events one task sends at its end at most; each tells of up to 200 requests. The "
    "run facet and the task's log say how many were left out. One, before the OpenLineage provider 2.16.",
    "0.1.0",
)

LINGER = Option(
    "linger",
    30.0,
    "For how many seconds arrivals are collected before a sensor passes, where it does not say; 0 for none.",
    "0.1.0",
    whole=False,
)

OPTIONS = (STARTS_PER_SECOND, LINGER, MOST_ASSET_EVENTS, MOST_LINEAGE_EVENTS)
