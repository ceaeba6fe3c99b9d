"""A checkpoint, read as Spark itself wrote it."""

from __future__ import annotations

import shutil

import pytest

from databricks_file_arrivals.core.errors import StreamRefused
from file_arrivals_stream.checkpoint import Checkpoint, stream_id
from tests.databricks_side.file_arrivals_stream.conftest import Site


def test_a_checkpoint_from_new_to_used(connect_site: Site) -> None:
    spark, path = connect_site.log.spark, f"{connect_site.checkpoint}/"
    assert Checkpoint.read(spark, path) == Checkpoint(None, -1, -1)
    (connect_site.root / "1").touch()
    rows = connect_site.run()
    assert Checkpoint.read(spark, path) == Checkpoint(rows[0].stream_id, 0, 0)
    for batch in ("9", "11"):
        shutil.copy(connect_site.checkpoint / "offsets" / "0", connect_site.checkpoint / "offsets" / batch)
    at = Checkpoint.read(spark, path)
    assert at == Checkpoint(rows[0].stream_id, 11, 0), "11 comes after 9, as a number"


@pytest.mark.parametrize("text", ["", "no json", "{}", "[1]"])
def test_what_is_not_a_query_is_refused(connect_site: Site, text: str) -> None:
    connect_site.checkpoint.mkdir()
    (connect_site.checkpoint / "metadata").write_text(text)
    with pytest.raises(StreamRefused, match="new checkpoint_directory with already_logged=skip"):
        stream_id(connect_site.log.spark, str(connect_site.checkpoint))


def test_what_cannot_be_read_is_refused(connect_site: Site) -> None:
    with pytest.raises(StreamRefused, match="Give this principal access to it"):
        stream_id(connect_site.log.spark, "nosuchscheme://bucket/checkpoint")
