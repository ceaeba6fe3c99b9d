"""A checkpoint, read as Spark itself wrote it."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.errors import StreamRefused
from file_arrivals_stream.checkpoint import Checkpoint, stream_id
from tests.databricks_side.file_arrivals_stream.conftest import Site


def test_a_checkpoint_from_new_to_used(connect_site: Site) -> None:
    spark, path = connect_site.log.spark, f"{connect_site.checkpoint}/"
    assert Checkpoint.read(spark, path) == Checkpoint(None, -1, -1)
    connect_site.land("a b", *(f"{n}" for n in range(12)))
    rows = connect_site.run(cloudFiles_maxFilesPerTrigger="1")
    at = Checkpoint.read(spark, path)
    assert at == Checkpoint(rows[0].stream_id, 11, 11), "11 comes after 9, as a number"
    (connect_site.checkpoint / "commits" / "11").unlink()
    assert Checkpoint.read(spark, path) == Checkpoint(at.stream_id, 11, 10)


@pytest.mark.parametrize("text", ["", "no json", "{}", "[1]"])
def test_what_is_not_a_query_is_refused(connect_site: Site, text: str) -> None:
    connect_site.checkpoint.mkdir()
    (connect_site.checkpoint / "metadata").write_text(text)
    with pytest.raises(StreamRefused, match="new checkpoint_directory with already_logged=skip"):
        stream_id(connect_site.log.spark, str(connect_site.checkpoint))


def test_what_cannot_be_read_is_refused(connect_site: Site) -> None:
    with pytest.raises(StreamRefused, match="Give this principal access to it"):
        stream_id(connect_site.log.spark, "nosuchscheme://bucket/checkpoint")
