"""`file-arrivals cursor`: saved in one place, restored in another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from databricks_file_arrivals.cli import main
from tests.databricks_file_arrivals.commands.conftest import Story


def test_a_cursor_is_saved_restored_and_moved(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = ["--log-table", str(story.log.names.log)]
    file = tmp_path / "cursor.json"
    assert main(["cursor", "export", *log, str(file)]) == 0
    assert "saved the consumer default" in capsys.readouterr().out
    assert main(["cursor", "export", *log]) == 0
    saved = json.loads(file.read_text())
    assert saved == json.loads(capsys.readouterr().out)
    assert saved["cursor"] == {"s-1": 0, "s-2": 0} and saved["schema_version"] == 1
    # Elsewhere: the consumer is made, and begins with a higher epoch than it had.
    file.write_text(
        json.dumps({**saved, "consumer": "restored", "epoch": 70, "cursor": {"s-1": 0, "s-9": 4}})
    )
    assert main(["cursor", "import", *log, str(file)]) == 0
    out = capsys.readouterr().out
    assert "the stream s-9 has logged nothing here" in out and "made the consumer restored, 2 streams" in out
    made = story.log.ledger.consumer("restored")
    assert made is not None and (made.epoch, made.cursor) == (70, {"s-1": 0, "s-9": 4})
    assert main(["cursor", "import", *log, str(file)]) == 0
    assert "stands there already" in capsys.readouterr().out
    # It is moved only when that is said, and after what that does was shown.
    file.write_text(json.dumps({**saved, "consumer": "restored", "epoch": 3, "cursor": {"s-2": 0}}))
    assert main(["cursor", "import", *log, str(file)]) == 1
    said = capsys.readouterr()
    assert "--force moves it" in said.err
    assert "stream s-1: batches 0 to 0, 6 files: seen and started again" in said.out
    assert "stream s-2: batches 0 to 0, 5 files: skipped, and never started" in said.out
    assert main(["cursor", "import", *log, str(file), "--force", "--yes"]) == 0
    moved = story.log.ledger.consumer("restored")
    assert moved is not None and moved.epoch == 71
    assert moved.cursor == {"s-1": -1, "s-2": 0, "s-9": -1}


def test_a_consumer_that_is_not_there_is_named(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cursor", "export", "--log-table", str(story.log.names.log), "--consumer", "nobody"]) == 1
    assert "no consumer 'nobody'" in capsys.readouterr().err
