"""A stream that would lose or double arrivals does not start, and says what to do instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from databricks_file_arrivals.core.errors import BadInput, StreamRefused, TableMissing
from databricks_file_arrivals.core.tables import Names
from file_arrivals_stream.spark_sql import SparkSql
from file_arrivals_stream.start_checks import check_root, check_tables
from local_workspace.runtime import FileSystem
from tests.databricks_side.file_arrivals_stream.conftest import Log, Site


@pytest.fixture
def logged(connect_site: Site) -> Site:
    """A site whose first two files are logged, in two batches."""
    connect_site.land("d", "1", "2")
    connect_site.run(cloudFiles_maxFilesPerTrigger="1")
    return connect_site


def names(site: Site) -> list[str]:
    return [Path(path).name for path in site.logged()]


def test_a_deleted_checkpoint_is_refused(logged: Site) -> None:
    shutil.rmtree(logged.checkpoint)
    with pytest.raises(StreamRefused, match=r"already_logged=skip .*already_logged=again"):
        logged.run()
    assert names(logged) == ["1", "2"]
    assert not logged.checkpoint.exists()


def test_skip_leaves_out_what_is_logged(logged: Site) -> None:
    shutil.rmtree(logged.checkpoint)
    logged.land("d", "3")
    logged.land("d", "2", size=77)  # changed since: another size
    logged.run(already_logged="skip")
    assert names(logged) == ["1", "2", "2", "3"]
    logged.land("d", "4")
    logged.run()
    assert names(logged) == ["1", "2", "2", "3", "4"], "and then it goes on by itself"


def test_again_logs_all_once_more(logged: Site) -> None:
    shutil.rmtree(logged.checkpoint)
    logged.run(already_logged="again")
    assert names(logged) == ["1", "1", "2", "2"]


def test_a_restored_checkpoint_is_refused(logged: Site) -> None:
    older = shutil.copytree(logged.checkpoint, logged.folder / "older")
    logged.land("d", "3")
    logged.run()
    shutil.rmtree(logged.checkpoint)
    older.rename(logged.checkpoint)
    logged.land("d", "4")
    with pytest.raises(StreamRefused, match=r"ends at batch 1, but .* holds batch 2 .* already_logged=skip"):
        logged.run()
    logged.run(checkpoint_directory=str(logged.folder / "new"), already_logged="skip")
    assert names(logged) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("root", ["d", "", ".."])
def test_a_root_that_overlaps_is_refused(logged: Site, root: str) -> None:
    """Equal, below and above: each would log the same files again."""
    with pytest.raises(StreamRefused, match=r"overlaps .* would log them a second time"):
        logged.run(
            monitored_directory=f"file:{(logged.root / root).resolve()}/",
            checkpoint_directory=str(logged.folder.parent / f"{logged.folder.name}-other"),
        )


def test_a_root_beside_is_free(logged: Site) -> None:
    beside = Site(logged.log, logged.folder / "beside")
    beside.land("d", "5")
    beside.run()
    assert names(beside) == ["5"]


def test_a_stream_that_never_logged_is_no_obstacle(connect_site: Site) -> None:
    connect_site.land("d", "1")
    connect_site.run(cloudFiles_includeExistingFiles="false")
    shutil.rmtree(connect_site.checkpoint)
    connect_site.run()
    assert names(connect_site) == ["1"]


def test_a_checkpoint_of_another_root_is_refused(logged: Site) -> None:
    (logged.folder / "elsewhere").mkdir()
    with pytest.raises(StreamRefused, match=r"belongs to a stream of .*/landing, not of .*/elsewhere"):
        logged.run(monitored_directory=str(logged.folder / "elsewhere"))


def test_a_checkpoint_that_logged_elsewhere_is_refused(logged: Site) -> None:
    log = logged.log
    other = Names.of(str(log.names.log.derive("_2")))
    for name in ("arrivals", "streams"):
        made, like = getattr(other, name).sql, getattr(log.names, name).sql
        log.query(f"CREATE TABLE {made} SHALLOW CLONE {like}")
        log.query(f"DELETE FROM {made}")
    with pytest.raises(StreamRefused, match="those files were logged elsewhere, and would be missing here"):
        logged.run(log_table=str(other.log))


def test_a_damaged_checkpoint_is_refused(logged: Site) -> None:
    (logged.checkpoint / "metadata").write_text("no json")
    (logged.checkpoint / ".metadata.crc").unlink()
    with pytest.raises(StreamRefused, match="`metadata` does not hold a query's id"):
        logged.run()
    assert names(logged) == ["1", "2"]


def test_a_checkpoint_that_is_a_file_is_refused(connect_site: Site) -> None:
    connect_site.checkpoint.write_text("x")
    with pytest.raises(Exception, match="checkpoint"):
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
