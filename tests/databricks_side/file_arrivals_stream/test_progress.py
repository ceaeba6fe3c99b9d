"""One line for each batch, with what the log holds of it."""

from __future__ import annotations

import logging
import re

import pytest

from tests.databricks_side.file_arrivals_stream.conftest import Site


def test_each_batch_is_told_once(connect_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    connect_site.land("d", "1", "2", "3")
    with caplog.at_level(logging.INFO, "file_arrivals_stream"):
        rows = connect_site.run(cloudFiles_maxFilesPerTrigger="2")
    told = re.findall(r"stream (\S+) batch (\d+): (\d+) files logged in \d+\.\d s", caplog.text)
    assert told == [(rows[0].stream_id, "0", "2"), (rows[0].stream_id, "1", "1")]
    assert "the stream has ended: 3 files in 2 batches" in caplog.text
