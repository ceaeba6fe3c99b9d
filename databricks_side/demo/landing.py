"""Files that land: written under a hidden name first, then renamed, so that nobody ever sees half of one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from demo.scenario import LandingFile


def land(root: Path, files: Iterable[LandingFile]) -> dict[str, float]:
    """Land the files below `root`, all at once: for each absolute path the time at which it was there."""
    written = [_write(root, file, nth) for nth, file in enumerate(files)]
    landed = {}
    for draft, path in written:
        os.rename(draft, path)
        landed[str(path)] = time.time()
    return landed


def _write(root: Path, file: LandingFile, nth: int) -> tuple[Path, Path]:
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{file.wave}-{nth}.part"
    draft.write_bytes(file.content)
    return draft, path
