"""A stream that would lose or double arrivals does not start, and says what to do instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from databricks_file_arrivals.core.errors import BadInput, StreamRefused, TableMissing
from databricks_file_arrivals.core.tables import ARRIVALS, STREAMS, Names
from file_arrivals_stream.checkpoint import Checkpoint
from file_arrivals_stream.spark_sql import SparkSql
from file_arrivals_stream.start_checks import check_root, check_stream, check_tables
from local_workspace.runtime import FileSystem
from tests.databricks_side.file_arrivals_stream.conftest import Log, Site


@pytest.fixture(scope="module")
def logged(connect: Log, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site whose two files are logged, in two batches; `older` is its checkpoint after the first."""
    site = Site(connect, tmp_path_factory.mktemp("logged"))
    site.land("d", "1")
    site.run()
    shutil.copytree(site.checkpoint, site.folder / "older")
    site.land("d", "2")
    site.run()
    return site


def names(site: Site) -> list[str]:
    return [Path(path).name for path in site.logged()]


def checked(site: Site, **changes: str) -> tuple[str, ...]:
    """What the checks say, without a start."""
    settings = site.settings(**changes)
    spark = site.log.spark
    return check_stream(SparkSql(spark), settings, Checkpoint.read(spark, settings.checkpoint))


def test_a_restart_is_no_new_stream(logged: Site) -> None:
    assert checked(logged) == ()


def test_a_deleted_checkpoint_is_refused(logged: Site) -> None:
    gone = str(logged.folder / "gone")
    with pytest.raises(StreamRefused, match=r"already_logged=skip .*already_logged=again"):
        logged.run(checkpoint_directory=gone)
    assert not Path(gone).exists() and names(logged) == ["1", "2"]
    stream = logged.log.arrivals(logged.root)[0].stream_id
    assert stream in checked(logged, checkpoint_directory=gone, already_logged="skip")
    assert checked(logged, checkpoint_directory=gone, already_logged="again") == ()


def test_a_restored_checkpoint_is_refused(logged: Site) -> None:
    with pytest.raises(StreamRefused, match=r"ends at batch 0, but .* holds batch 1 .* already_logged=skip"):
        logged.run(checkpoint_directory=str(logged.folder / "older"))
    assert names(logged) == ["1", "2"]


@pytest.mark.parametrize("root", ["d", "", ".."])
def test_a_root_that_overlaps_is_refused(logged: Site, root: str) -> None:
    """Equal, below and above: each would log the same files again."""
    with pytest.raises(StreamRefused, match=r"overlaps .* would log them a second time"):
        checked(
            logged,
            monitored_directory=f"file:{(logged.root / root).resolve()}/",
            checkpoint_directory=f"{logged.folder}-other",
        )


def test_a_root_beside_is_free(logged: Site) -> None:
    new = {"checkpoint_directory": str(logged.folder / "new"), "monitored_directory": f"{logged.root}2"}
    assert checked(logged, **new) == ()


def test_a_stream_that_never_logged_is_no_obstacle(connect_site: Site) -> None:
    streams = connect_site.log.names.streams.sql
    connect_site.log.query(
        f"INSERT INTO {streams} (stream_id, root, checkpoint) VALUES ('silent', '{connect_site.root}', '/c')"
    )
    assert checked(connect_site) == ()


def test_a_checkpoint_of_another_root_is_refused(logged: Site) -> None:
    with pytest.raises(StreamRefused, match=r"belongs to a stream of .*/landing, not of .*/elsewhere"):
        checked(logged, monitored_directory=str(logged.folder / "elsewhere"))


def test_a_checkpoint_that_logged_elsewhere_is_refused(logged: Site) -> None:
    other = Names.of(str(logged.log.names.log.derive("_2")))
    logged.log.query(ARRIVALS.create(other.arrivals))
    logged.log.query(STREAMS.create(other.streams))
    with pytest.raises(StreamRefused, match="those files were logged elsewhere, and would be missing here"):
        logged.run(log_table=str(other.log))


def test_a_damaged_checkpoint_is_refused(logged: Site) -> None:
    damaged = Path(shutil.copytree(logged.checkpoint, logged.folder / "damaged"))
    (damaged / "metadata").write_text("no json")
    (damaged / ".metadata.crc").unlink()
    with pytest.raises(StreamRefused, match="`metadata` does not hold a query's id"):
        logged.run(checkpoint_directory=str(damaged))


def test_again_logs_all_once_more_and_skip_what_is_new_or_changed(logged: Site) -> None:
    """The last test of `logged`: it changes it."""
    logged.run(checkpoint_directory=str(logged.folder / "again"), already_logged="again")
    assert names(logged) == ["1", "1", "2", "2"]
    logged.land("d", "3")
    logged.land("d", "2", size=77)
    new = str(logged.folder / "skip")
    logged.run(checkpoint_directory=new, already_logged="skip")
    assert names(logged) == ["1", "1", "2", "2", "2", "3"]
    logged_by = {row.stream_id for row in logged.log.arrivals(logged.root)}
    own = Checkpoint.read(logged.log.spark, new).stream_id
    left_out = set(checked(logged, checkpoint_directory=new))
    assert left_out == logged_by - {own}, "what was chosen at the first start holds at the next"


def test_a_checkpoint_that_is_a_file_is_an_error(connect_site: Site) -> None:
    connect_site.checkpoint.write_text("x")
    with pytest.raises(StreamRefused, match="checkpoint cannot be read: it is a file"):
        connect_site.run()


def test_both_tables_are_asked_for(connect: Log) -> None:
    with pytest.raises(TableMissing, match="nothing_arrivals"):
        check_tables(SparkSql(connect.spark), Names.of(str(connect.names.log.derive("_nothing"))))


def test_where_there_is_dbutils_it_lists_the_root(connect: Log, tmp_path: Path) -> None:
    class Utilities:
        fs = FileSystem()

    check_root(connect.spark, str(tmp_path), Utilities())
    with pytest.raises(BadInput, match="does not exist or cannot be listed"):
        check_root(connect.spark, str(tmp_path / "gone"), Utilities())
