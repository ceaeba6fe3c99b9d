"""What the logs know of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from databricks_file_arrivals.core.journeys import Arrived, covers, spellings
from databricks_file_arrivals.core.outcomes import LogRow, Status
from databricks_file_arrivals.workspace.log_rows import read_log_row
from databricks_file_arrivals.workspace.log_tables import LogTables

_MOST = 100  # arrivals of one file: it is overwritten, or seen by several streams


class Journeys(LogTables):
    """The arrival log, the trigger log and the mapping table, asked about one file."""

    def mapping_rows(self) -> Sequence[Mapping[str, Any]]:
        """The mapping table's rows, bad ones too."""
        return self._query(f"SELECT * FROM {self.names.mapping.sql}")

    def roots(self) -> list[str]:
        """The directories that streams look into."""
        found = self._query(f"SELECT DISTINCT root FROM {self.names.streams.sql}")
        return sorted(row["root"] for row in found)

    def arrivals(self, path: str) -> list[Arrived]:
        """The arrivals of a file, the newest first."""
        ways = spellings(path)
        rows = self._query(
            "SELECT stream_id, batch_id, root, directory, path, file_size, logged_at "
            f"FROM {self.names.arrivals.sql} WHERE path IN ({', '.join(f':p{i}' for i in range(len(ways)))}) "
            f"ORDER BY logged_at DESC, stream_id, batch_id DESC LIMIT {_MOST}",
            {f"p{i}": way for i, way in enumerate(ways)},
        )
        return [Arrived(**row) for row in rows]

    def outcomes(self, arrived: Arrived) -> list[LogRow]:
        """The state of all requests and holds of an arrival, by consumer and then the oldest first."""
        known = {status.value for status in Status}
        rows = self._query(
            f"SELECT * FROM {self.names.log.derive('_latest').sql} WHERE stream_id = :stream "
            "AND directories[:directory].after < :batch AND directories[:directory].up_to >= :batch "
            "ORDER BY consumer, epoch, workflow_name",
            {"stream": arrived.stream_id, "directory": arrived.directory, "batch": arrived.batch_id},
        )
        found = [read_log_row(row) for row in rows if row["status"] in known]
        return [row for row in found if covers(row, arrived)]

    def behind(self, arrived: Arrived) -> list[str]:
        """The consumers that have not claimed an arrival."""
        rows = self._query(
            f"SELECT consumer FROM {self.names.consumers.sql} "
            "WHERE coalesce(cursor[:stream], -1) < :batch ORDER BY consumer",
            {"stream": arrived.stream_id, "batch": arrived.batch_id},
        )
        return [row["consumer"] for row in rows]
