"""Quotes of the ready DAGs in README and docs, taken from their regions: `make quotes` writes them anew.

A region stands between `# [START name]` and `# [END name]`; a quote is a block of Python after
`<!-- dags/file.py: name -->`.
"""

import re
import sys
from pathlib import Path
from textwrap import dedent

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
QUOTE = re.compile(
    r"(?P<mark><!-- (?P<file>dags/\w+\.py): (?P<region>\w+) -->\n)```python\n.*?```", re.DOTALL
)


def region(file: str, name: str) -> str:
    """The lines of a region. Raises ValueError where there is none of that name."""
    text = (REPOSITORY / file).read_text("utf-8")
    found = re.search(
        rf"^[ ]*# \[START {name}\]\n(.*?)^[ ]*# \[END {name}\]$", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ValueError(f"{file} has no region {name}")
    return dedent(found[1])


def quoted(text: str) -> str:
    """A document with its quotes as the DAGs are now."""
    return QUOTE.sub(lambda q: f"{q['mark']}```python\n{region(q['file'], q['region'])}```", text)


def main() -> int:
    """Write the quotes anew; with --check say which documents would change: 1 if any does."""
    stale = [path for path in DOCUMENTS if quoted(path.read_text("utf-8")) != path.read_text("utf-8")]
    for path in stale:
        if "--check" not in sys.argv:
            path.write_text(quoted(path.read_text("utf-8")), "utf-8")
        sys.stdout.write(f"{path.relative_to(REPOSITORY)}: quotes are out of date\n")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
