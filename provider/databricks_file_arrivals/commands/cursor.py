"""`file-arrivals cursor export | import`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.commands.screen import confirm, counted, json_text
from databricks_file_arrivals.core.cursors import Move, SavedCursor
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.workspace.cursors import Mover, shown_moves


def add(commands: takes.Commands) -> None:
    """Say what the commands take."""
    group = commands.add_parser(
        "cursor",
        help="save how far a consumer has claimed, or restore it",
        description="How far a consumer has claimed.",
    )
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    saving = takes.command(inner, "export", export, "save how far a consumer has claimed, as JSON")
    takes.log_table(saving)
    takes.consumer(saving, "whose cursor")
    saving.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: standard output")
    restoring = takes.command(
        inner,
        "import",
        restore,
        "make a consumer that stands where a saved one stood",
        "One that is there already is moved with --force only, after showing what would be skipped or seen "
        "again.",
    )
    takes.log_table(restoring)
    restoring.add_argument("file", type=Path, metavar="FILE", help="what `cursor export` wrote")
    restoring.add_argument("--force", action="store_true", help="move a consumer that is there already")
    takes.yes(restoring)


def export(arguments: argparse.Namespace) -> takes.Said:
    """Print or write a cursor."""
    mover = Mover(takes.hook(arguments), takes.names(arguments), arguments.consumer)
    row = mover.consumer()
    if row is None:
        raise BadInput(f"There is no consumer {arguments.consumer!r} in {takes.names(arguments).consumers}.")
    text = json_text(mover.cursors.saved(row).document())
    if arguments.file is None:
        yield text
    else:
        _write(arguments.file, text + "\n")
        yield (
            f"saved the consumer {row.consumer}, epoch {row.epoch}, {counted(len(row.cursor), 'stream')}: "
            f"{arguments.file}"
        )
    return 0


def restore(arguments: argparse.Namespace) -> takes.Said:
    """Make or move a consumer."""
    saved = SavedCursor.parse(_read(arguments.file))
    mover = Mover(takes.hook(arguments), takes.names(arguments), saved.consumer)
    row = mover.consumer()
    for stream in mover.cursors.unknown(saved.cursor):
        yield f"note: the stream {stream} has logged nothing here"
    if row is None:
        mover.cursors.make(saved)
        yield f"made the consumer {saved.consumer}, {counted(len(saved.cursor), 'stream')}"
        return 0
    moved = shown_moves(mover.cursors, row, saved)
    yield from _shown(moved)
    if not moved:
        yield f"the consumer {row.consumer} stands there already"
        return 0
    if not arguments.force:
        raise BadInput(
            f"The consumer {row.consumer!r} is there already: --force moves it. Nothing was changed."
        )
    confirm(f"Move the consumer {row.consumer}?", arguments)
    mover.move(row, saved)
    yield f"moved the consumer {row.consumer}"
    return 0


def _shown(moved: list[tuple[Move, int]]) -> Iterator[str]:
    for move, files in moved:
        what = "seen and started again" if move.again else "skipped, and never started"
        batches = f"batches {move.low + 1} to {move.high}"
        yield f"stream {move.stream_id}: {batches}, {counted(files, 'file')}: {what}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error}") from error
