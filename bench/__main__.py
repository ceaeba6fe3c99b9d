"""`python -m bench`: every measurement, one after the other, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

NOT_MEASUREMENTS = {"__init__", "__main__", "report"}


def main() -> int:
    """Run them all: 0 when each did what it should."""
    names = sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - NOT_MEASUREMENTS)
    return max(subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
