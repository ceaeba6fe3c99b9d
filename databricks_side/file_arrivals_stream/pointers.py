"""The stream's pointer on the signal volume: which batch is the newest, so that who waits wakes no warehouse.

Plain files, because the batch function may run in a process that has no dbutils and no client. A pointer that
is lost makes its arrivals late, until the tables are asked; so nothing here ever fails a batch.
"""

from __future__ import annotations

import logging
from pathlib import Path

from databricks_file_arrivals.core.signals import StreamPointer, streams_in

logger = logging.getLogger(__name__)


def make_directory(signal_volume: str) -> None:
    """Make the directory of the streams' pointers, so that who waits for the first one finds it; warn where
    that is not possible."""
    directory = streams_in(signal_volume)
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _warn(f"{directory} cannot be made", error)


def write_pointer(signal_volume: str, pointer: StreamPointer) -> None:
    """Write the pointer in place of the last one; warn where that is not possible."""
    path = Path(streams_in(signal_volume), pointer.file)
    try:
        path.write_text(pointer.text())
    except OSError as error:
        _warn(f"{path} cannot be written", error)


def _warn(what: str, error: OSError) -> None:
    logger.warning(
        "signal_volume: %s (%s). Arrivals are logged all the same, and seen when the tables are asked. "
        "This principal needs WRITE VOLUME",
        what,
        error,
    )
