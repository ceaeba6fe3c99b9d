"""The files of a volume: never outside of it, replaced whole or not at all."""

import threading
from pathlib import Path

import pytest

from local_workspace.api.errors import InvalidParameter, NoSuchFile, PathTaken
from local_workspace.api.volume_files import VolumeFiles, VolumePath


@pytest.fixture
def files(tmp_path: Path) -> VolumeFiles:
    (tmp_path / "volume").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    return VolumeFiles(tmp_path / "volume")


def _write(files: VolumeFiles, below: tuple[str, ...], content: bytes, overwrite: bool = True) -> None:
    with files.draft(below) as draft:
        draft.file.write(content)
        draft.keep(overwrite)


def _read(files: VolumeFiles, below: tuple[str, ...]) -> bytes:
    with files.open(below) as file:
        return file.read()


def test_a_path_names_a_volume_and_what_is_below_it() -> None:
    assert VolumePath.parse("Volumes/main/a/b/c d/é\n") == VolumePath("main.a.b", ("c d", "é\n"))
    assert VolumePath.parse("Volumes/main/a/b/") == VolumePath("main.a.b", ())
    for path in ("Volumes/main/a", "Workspace/a/b/c", "", "Volumes/m/a/b/../c", "Volumes/m/a/b//c", "a\0b"):
        with pytest.raises(InvalidParameter):
            VolumePath.parse(path)


def test_a_link_does_not_lead_out_of_the_volume(files: VolumeFiles) -> None:
    (files.root / "out").symlink_to(files.root.parent / "outside")
    (files.root / "in").symlink_to(files.root / "folder")
    _write(files, ("in", "file"), b"x")
    assert (files.root / "folder" / "file").read_bytes() == b"x"
    for call in (files.open, files.delete, files.delete_directory, files.make_directory):
        with pytest.raises(NoSuchFile, match="out of the volume"):
            call(("out", "secret"))
    with pytest.raises(NoSuchFile), files.draft(("out", "new")):
        pass
    assert [entry.name for entry in files.entries((), "", 9)[0]] == ["folder", "in"]
    assert [path.name for path in (files.root.parent / "outside").iterdir()] == ["secret"]


def test_a_file_that_was_not_sent_whole_leaves_nothing(files: VolumeFiles) -> None:
    _write(files, ("a",), b"old")
    with pytest.raises(ZeroDivisionError), files.draft(("a",)) as draft:
        draft.file.write(b"ne")
        assert [entry.name for entry in files.entries((), "", 9)[0]] == ["a"]
        1 / 0  # noqa: B018  # the connection is lost
    assert _read(files, ("a",)) == b"old" and len(list(files.root.iterdir())) == 1


def test_who_reads_finds_the_old_file_or_the_new_one(files: VolumeFiles) -> None:
    contents = [letter * 300_000 for letter in (b"a", b"b")]
    _write(files, ("x",), contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            _write(files, ("x",), contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(_read(files, ("x",)))
    writer.join()
    assert seen <= set(contents)


def test_a_file_that_is_not_to_be_overwritten_stays(files: VolumeFiles) -> None:
    _write(files, ("d", "a"), b"1", overwrite=False)
    with pytest.raises(PathTaken):
        _write(files, ("d", "a"), b"2", overwrite=False)
    assert _read(files, ("d", "a")) == b"1"
    for overwrite in (True, False):
        with pytest.raises(PathTaken):
            _write(files, ("d",), b"2", overwrite)
        with pytest.raises(PathTaken):
            _write(files, ("d", "a", "b"), b"2", overwrite)


def test_directories_are_made_listed_by_page_and_deleted_empty(files: VolumeFiles) -> None:
    files.make_directory(("a", "b"))
    files.make_directory(("a", "b"))
    for name in ("2", "10", "1"):
        _write(files, ("a", name), name.encode())
    entries, more = files.entries(("a",), "", 3)
    assert ([(each.name, each.is_directory) for each in entries], more) == (
        [("1", False), ("10", False), ("2", False)],
        True,
    )
    assert entries[1].size == 2 and abs(entries[1].modified_ms / 1000 - files.root.stat().st_mtime) < 60
    rest, more = files.entries(("a",), "2", 3)
    assert ([(each.name, each.is_directory) for each in rest], more) == ([("b", True)], False)
    with pytest.raises(InvalidParameter, match="not empty") as refused:
        files.delete_directory(("a",))
    assert refused.value.body()["details"][0]["reason"] == "FILES_API_DIRECTORY_IS_NOT_EMPTY"
    files.delete_directory(("a", "b"))
    with pytest.raises(InvalidParameter, match="own directory"):
        files.delete_directory(())
    with pytest.raises(PathTaken):
        files.make_directory(("a", "1"))


def test_what_a_killed_process_left_is_not_seen_and_not_in_the_way(files: VolumeFiles) -> None:
    files.make_directory(("a",))
    (files.root / "a" / f".draft-{'0' * 32}").write_text("half")
    assert files.entries(("a",), "", 9) == ([], False)
    files.delete_directory(("a",))
    assert not (files.root / "a").exists()


def test_what_is_not_there_or_of_another_kind_is_not_found(files: VolumeFiles) -> None:
    files.make_directory(("folder",))
    _write(files, ("file",), b"")
    (files.root / "loop").symlink_to("loop")
    for below in (("folder",), ("none",), ("none", "x"), ("file", "x"), ("loop",)):
        with pytest.raises(NoSuchFile, match="The file being accessed is not found"):
            files.open(below)
    for below in (("file",), ("none",)):
        for call in (files.require_directory, files.delete_directory, lambda at: files.entries(at, "", 1)):
            with pytest.raises(NoSuchFile, match="The directory being accessed is not found"):
                call(below)
    with pytest.raises(NoSuchFile):
        files.delete(("folder",))
    with pytest.raises(InvalidParameter, match="too long"):
        _write(files, ("x" * 300,), b"")
