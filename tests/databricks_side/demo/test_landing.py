"""Files land whole, under the names that they are to have."""

from __future__ import annotations

import time
from pathlib import Path

from demo.landing import land
from demo.scenario import scenario


def test_all_files_land_with_their_content(tmp_path: Path) -> None:
    wanted = scenario()
    begun = time.time()
    landed = land(tmp_path, wanted.wave(1)) | land(tmp_path, wanted.wave(2))
    there = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {str(tmp_path / file.path): file.content for file in wanted.files}
    assert set(landed) == set(there)
    assert all(begun - 1 <= moment <= time.time() for moment in landed.values())
