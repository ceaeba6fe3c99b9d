"""A workflow as a Python task: writes down which files it was told of, for the verdict."""

import argparse
import json
import uuid
from pathlib import Path

from file_arrivals_stream import arrived_paths


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("workflow", "run_id", "trigger_id", "log_table", "told"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    paths = [path.removeprefix("file:") for path in arrived_paths(given.trigger_id, given.log_table)]
    record = {
        "workflow": given.workflow,
        "run_id": int(given.run_id),
        "trigger_id": given.trigger_id,
        "paths": paths,
    }
    # A task that is tried again writes another file: each says which run it is of, and runs count once.
    draft = Path(given.told, f".{uuid.uuid4().hex}.draft")
    draft.write_text(json.dumps(record))
    draft.replace(Path(given.told, f"{given.run_id}-{uuid.uuid4().hex[:8]}.json"))
    print(f"told of {len(paths)} files")


if __name__ == "__main__":
    main()
