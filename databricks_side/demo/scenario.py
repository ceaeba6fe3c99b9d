"""What the demo lands, and for each file which workflows have to read it, or why none may.

Said by construction: a file is put into an area, and the area says who reads it. Nothing here asks the
planner, so that the planner can be judged by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class LeftOut(str, Enum):
    """Why no workflow reads a file."""

    UNMAPPED = "no mapping row"
    INACTIVE = "inactive mapping row"
    NO_SUCH_WORKFLOW = "no such workflow"
    REFUSED = "workflow not permitted"
    HIDDEN = "hidden by its name, never listed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class MappingRow:
    """A row of the mapping table; the directory is relative to the landing folder."""

    directory: str
    workflow: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class LandingFile:
    """A file that lands: where, when, and who reads it. `path` is relative to the landing folder."""

    path: str
    wave: int
    content: bytes
    workflows: frozenset[str] = frozenset()
    left_out: LeftOut | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A job that the demo makes. `runnable`: the principal of Airflow may run it, not only see it."""

    name: str
    notebook: bool
    runnable: bool = True


WORKFLOWS = (
    Workflow("orders_load", notebook=False),
    Workflow("orders_audit", notebook=True),
    Workflow("returns_load", notebook=False),
    Workflow("invoices_load", notebook=True),
    Workflow("clicks_load", notebook=False),
    Workflow("meters_load", notebook=True),
    Workflow("payroll_load", notebook=False, runnable=False),
)
MISSING_WORKFLOW = "parcels_load"


@dataclass(frozen=True, slots=True)
class Area:
    """A directory with a name of its own kind and all that lands below it, in one wave or in both."""

    directory: str
    workflows: tuple[str, ...]
    left_out: LeftOut | None = None
    both_waves: bool = True
    inside: tuple[str, ...] = ("", "2026", "2026/01", "2026/01/day 1", "2026/01/day 1/late", "eu~west")


_FEW = ("", "2026", "2026/01")
AREAS = (
    Area("orders/de", ("orders_load", "orders_audit")),
    Area("orders/de/returns", ("returns_load",)),
    Area("orders/東京", ("orders_load", "orders_audit")),
    Area("orders/o'brien & sons", ("orders_load", "orders_audit")),
    Area('orders/"quoted" ltd', ("orders_load",)),
    Area("orders/100% wool", ("orders_load",)),
    Area("orders/%2Fescaped%20already", ("orders_load",)),
    Area("orders/;-- DROP TABLE orders", ("orders_load",)),
    Area("orders/two\nlines", ("orders_load",)),
    Area("orders/São Paulo", ("orders_load",)),
    Area("orders/back\\slash", ("orders_load",)),
    Area("orders/es", ("orders_load",), both_waves=False),
    Area("invoices/ACME Corp.", ("invoices_load",)),
    Area("invoices/Müller GmbH & Co. KG", ("invoices_load", "orders_audit")),
    Area("invoices/a=b,c=d", ("invoices_load",)),
    Area("invoices/$HOME", ("invoices_load",)),
    Area("invoices/[draft]", ("invoices_load",)),
    Area("invoices/{id}", ("invoices_load",)),
    Area("invoices/it", ("invoices_load",), both_waves=False),
    Area("invoices/nl", ("invoices_load",), both_waves=False),
    Area("clicks/web", ("clicks_load",)),
    Area("clicks/app", ("clicks_load",)),
    Area("clicks/tv #1", ("clicks_load",)),
    Area("clicks/🛒", ("clicks_load",)),
    Area("clicks/kiosk", ("clicks_load",), both_waves=False),
    Area("clicks/partner", ("clicks_load",), both_waves=False),
    Area("clicks/radio", ("clicks_load",), both_waves=False),
    Area("meters/north", ("meters_load",)),
    Area("meters/south", ("meters_load",)),
    Area("meters/east & west", ("meters_load",)),
    Area("meters/-0.5", ("meters_load",)),
    Area("meters/null", ("meters_load",), both_waves=False),
    Area("meters/tab\there", ("meters_load",), both_waves=False),
    Area("meters/x'); DELETE FROM t; --", ("meters_load",), both_waves=False),
    Area("archive/2019", ("orders_load",), LeftOut.INACTIVE, inside=_FEW),
    Area("parcels/post", (MISSING_WORKFLOW,), LeftOut.NO_SUCH_WORKFLOW, inside=_FEW),
    Area("payroll/staff", ("payroll_load",), LeftOut.REFUSED, inside=_FEW),
    Area("lost & found/no rule", (), LeftOut.UNMAPPED, inside=_FEW),
    Area("scratch/tmp", (), LeftOut.UNMAPPED, inside=_FEW, both_waves=False),
)

NAMES = (
    "plain.csv",
    "with space.csv",
    "it's.csv",
    'say "hi".json',
    "100%.csv",
    "%41%2F.csv",
    ";--.sql",
    "new\nline.csv",
    "naïve-日本語.csv",
    "empty.bin",
    "a+b&c=d.csv",
    "#1?.csv",
    "[x]{y}*.csv",
    "back\\slash.csv",
    "$(id)`id`.sh",
)
EMPTY = "empty.bin"
PER_DIRECTORY = {1: 3, 2: 3}
HIDDEN_NAMES = ("_SUCCESS", ".half written.csv")


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it: what the mapping table says, and what lands."""

    mapping: tuple[MappingRow, ...]
    files: tuple[LandingFile, ...]

    def wave(self, number: int) -> tuple[LandingFile, ...]:
        """What lands in one wave."""
        return tuple(file for file in self.files if file.wave == number)

    @property
    def visible(self) -> tuple[LandingFile, ...]:
        """The files that a stream has to see."""
        return tuple(file for file in self.files if file.left_out is not LeftOut.HIDDEN)

    @property
    def directories(self) -> frozenset[str]:
        """The parent directories of all that lands."""
        return frozenset(file.path.rpartition("/")[0] for file in self.files)


def scenario() -> Scenario:
    """The demo's scenario: the same each time."""
    mapping = tuple(
        MappingRow(area.directory, workflow, active=area.left_out is not LeftOut.INACTIVE)
        for area in AREAS
        for workflow in area.workflows
    )
    return Scenario(mapping, (*_files(), *_hidden()))


def _files() -> Iterator[LandingFile]:
    nth = 0
    for wave, count in PER_DIRECTORY.items():
        for area in AREAS:
            if wave == 2 and not area.both_waves:
                continue
            for inside in area.inside:
                folder = f"{area.directory}/{inside}".rstrip("/")
                for number in range(count):
                    nth += 1
                    name = f"{wave}{number} {NAMES[nth % len(NAMES)]}"
                    yield _file(area, f"{folder}/{name}", wave)


def _file(area: Area, path: str, wave: int) -> LandingFile:
    # The path in the content makes each content one of its own: who read the wrong file is found out.
    content = b"" if path.endswith(EMPTY) else f"{path}\nlanded in wave {wave}\n".encode()
    readers = frozenset() if area.left_out else frozenset(area.workflows)
    return LandingFile(path, wave, content, readers, area.left_out)


def _hidden() -> Iterator[LandingFile]:
    for area in AREAS[:4]:
        for name in HIDDEN_NAMES:
            yield LandingFile(f"{area.directory}/{name}", 1, b"not for a workflow\n", left_out=LeftOut.HIDDEN)


EXAMPLE = LandingFile(
    "orders/de/example.csv", 1, b"id,amount\n1,9.99\n", frozenset({"orders_load", "orders_audit"})
)
"""The one file that `up` lands, so that there is something to see."""
