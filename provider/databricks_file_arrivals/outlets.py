"""Asset events: other DAGs are scheduled on "files arrived in this directory"."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from databricks_file_arrivals.compat import Asset, AssetAlias, Context
from databricks_file_arrivals.config import number
from databricks_file_arrivals.core.asset_events import asset_events, asset_uri
from databricks_file_arrivals.core.config_options import MOST_ASSET_EVENTS
from databricks_file_arrivals.core.outcomes import LogRow

log = logging.getLogger(__name__)


def arrived_in(log_table: str, directory: str) -> Asset:
    """The asset of the files that arrive in a directory, to schedule a DAG on. Raises BadInput.

    It has events where an operator of that log has an AssetAlias among its `outlets`.

    :param log_table: the trigger log, such as `main.ingest.file_log`
    :param directory: a whole directory, as the trigger log has it: that of a rule, or one that its wildcards
        match
    """
    return Asset(uri=asset_uri(log_table, directory))


def aliases_among(outlets: Iterable[object]) -> list[AssetAlias]:
    """To which of them events are added."""
    return [outlet for outlet in outlets if isinstance(outlet, AssetAlias)]


def announce(
    context: Context,
    outlets: Iterable[object],
    log_table: str,
    rows: Iterable[LogRow],
    *,
    awaited: bool = False,
) -> int:
    """Add an event for each directory that files arrived in to each AssetAlias among `outlets`. Returns how
    many directories.

    Airflow registers them when the task succeeds.
    """
    aliases = aliases_among(outlets)
    events = asset_events(rows, awaited=awaited) if aliases else []
    most = int(number(MOST_ASSET_EVENTS)) if events else 0
    for directory, extra in events[:most]:
        asset = arrived_in(log_table, directory)
        for alias in aliases:
            context["outlet_events"][alias].add(asset, extra=extra)
    if len(events) > most:
        log.warning(
            "%d directories have an asset event, and %d have none, from %s on: [file_arrivals] "
            "most_asset_events is the limit", most, len(events) - most, events[most][0],
        )  # fmt: skip
    return min(len(events), most)
