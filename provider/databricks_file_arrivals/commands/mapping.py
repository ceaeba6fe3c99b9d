"""`file-arrivals mapping check | plan | apply`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databricks_file_arrivals.commands import arguments as takes
from databricks_file_arrivals.commands import mapping_file
from databricks_file_arrivals.commands.screen import confirm, counted, json_text, plain, wrapped
from databricks_file_arrivals.core.errors import BadInput, ChangedSince, StatementFailed
from databricks_file_arrivals.core.mapping_check import Finding, Severity
from databricks_file_arrivals.core.mapping_edit import Change, Edit, OpenHold, RowChange, edit, ended
from databricks_file_arrivals.core.tables import Names, TableName
from databricks_file_arrivals.workspace.log_tables import table_missing
from databricks_file_arrivals.workspace.mapping_checks import MappingChecks
from databricks_file_arrivals.workspace.mapping_table import MappingTable, open_holds

_SIGNS = {Change.ADD: "+", Change.CHANGE: "~", Change.DELETE: "-"}
_SHOWN_HOLDS = 20


def add(commands: takes.Commands) -> None:
    """Say what the commands take."""
    group = commands.add_parser(
        "mapping", help="check the mapping table, or keep it in a file", description="The mapping table."
    )
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    checked = takes.command(
        inner,
        "check",
        check,
        "report what is wrong with the mapping",
        "Exit code 1 when there is an error, 0 when there are warnings only.",
    )
    takes.log_table(checked)
    takes.mapping_table(checked)
    takes.output(checked)
    planned = takes.command(
        inner, "plan", plan, "show what a file would change in the mapping table, and change nothing"
    )
    applied = takes.command(
        inner, "apply", apply, "make the mapping table hold what a file says, in one commit, after asking"
    )
    for parser in (planned, applied):
        parser.add_argument("file", type=Path, metavar="FILE", help="rows, as .yml, .yaml or .csv")
        takes.mapping_table(parser)
        takes.log_table(parser, required=False, more="; shows which open holds would end")
        takes.output(parser)
    takes.yes(applied)
    applied.add_argument(
        "--allow-deletes",
        type=int,
        metavar="N",
        help="delete up to N rows (default: up to 10, and up to a fifth of the table's)",
    )
    applied.add_argument("--plan", metavar="ID", help="refuse unless it is the change that `plan` showed")


def check(arguments: argparse.Namespace) -> takes.Said:
    """Print all findings."""
    names = takes.names(arguments)
    hook = takes.hook(arguments)
    rows, findings = MappingChecks(hook, names).findings(hook)
    counts = Counter(finding.severity for finding in findings)
    if arguments.output == "json":
        yield json_text({"rows": rows, "findings": findings})
    else:
        for finding in findings:
            yield _found(finding)
        errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
        yield f"{counted(rows, 'row')}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
    return 1 if counts[Severity.ERROR] else 0


def _found(finding: Finding) -> str:
    head = f"{finding.severity.value:<7}  {finding.kind.value:<12}  {plain(finding.subject)}"
    return f"{head}\n{wrapped(finding.message, 4)}"


@dataclass(frozen=True, slots=True)
class _Plan:
    """An edit, and what it would end; None where that was not looked at."""

    edit: Edit
    ends: tuple[OpenHold, ...] | None

    def as_dict(self) -> dict[str, Any]:
        changes = [{"change": c.change, "before": c.before, "after": c.after} for c in self.edit.changes]
        return {"plan": self.edit.plan_id, "changes": changes, "ends_as_inactive": self.ends}


def plan(arguments: argparse.Namespace) -> takes.Said:
    """Print what a file would change."""
    planned = _planned(arguments, MappingTable(takes.hook(arguments), _table(arguments)))
    if arguments.output == "json":
        yield json_text(planned.as_dict())
        return 0
    yield from _shown(planned)
    if planned.edit.changes:
        yield f"plan {planned.edit.plan_id}; nothing was changed"
    return 0


def apply(arguments: argparse.Namespace) -> takes.Said:
    """Change the table after asking."""
    hook = takes.hook(arguments)
    table = MappingTable(hook, _table(arguments))
    planned = _planned(arguments, table)
    if arguments.output == "text":
        yield from _shown(planned)
    _check_plan(planned.edit, arguments)
    if planned.edit.changes:
        confirm(f"Change {table.name}?", arguments)
        try:
            table.apply(planned.edit)
        except ChangedSince:
            # A statement that is sent again after a lost answer meets its own effect.
            if edit(table.read(), mapping_file.read(arguments.file)).changes:
                raise
    if arguments.output == "json":
        yield json_text(planned.as_dict())
    elif planned.edit.changes:
        yield f"changed {table.name}: the next claim reads it"
    return 0


def _table(arguments: argparse.Namespace) -> TableName:
    return TableName.parse(arguments.workflow_mapping_table)


def _planned(arguments: argparse.Namespace, table: MappingTable) -> _Plan:
    wanted = mapping_file.read(arguments.file)
    made = edit(table.read(), wanted)
    table.check_columns(made)
    return _Plan(made, _ends(arguments, wanted) if arguments.log_table else None)


def _ends(arguments: argparse.Namespace, wanted: Sequence[Mapping[str, Any]]) -> tuple[OpenHold, ...]:
    names = Names.of(arguments.log_table, arguments.workflow_mapping_table)
    try:
        return ended(open_holds(takes.hook(arguments), names), wanted)
    except StatementFailed as error:
        raise table_missing(error, names) from error


def _check_plan(made: Edit, arguments: argparse.Namespace) -> None:
    if arguments.plan and arguments.plan != made.plan_id:
        raise ChangedSince(
            f"This is plan {made.plan_id}, not {arguments.plan}: the table or the file was changed since. "
            "Nothing was changed; look at the plan again."
        )
    if arguments.allow_deletes is not None and arguments.allow_deletes < 0:
        raise BadInput("--allow-deletes takes a number of rows.")
    made.check_deletes(arguments.allow_deletes)


def _shown(planned: _Plan) -> Iterator[str]:
    for change in planned.edit.changes:
        yield _changed(change)
    for hold in (planned.ends or ())[:_SHOWN_HOLDS]:
        files = counted(hold.file_count, "held file")
        yield f"! {plain(hold.directory)} → {plain(hold.workflow_name)}"
        yield f"    {files} of the consumer {hold.consumer} would end as INACTIVE"
    if planned.ends is None:
        yield "open holds were not looked at: --log-table shows those that would end"
    elif planned.ends:
        yield (
            f"{counted(len(planned.ends), 'open hold')} would end as INACTIVE; replay starts them as they are"
        )
    counts = {change: planned.edit.count(change) for change in Change}
    yield (
        f"{counts[Change.ADD]} to add, {counts[Change.CHANGE]} to change, {counts[Change.DELETE]} to delete, "
        f"of {counted(planned.edit.table_rows, 'row')}"
    )


def _changed(change: RowChange) -> str:
    """A change, with a line for each column."""
    note = f"  ({change.note})" if change.note else ""
    lines = [f"{_SIGNS[change.change]} {plain(change.subject)}{note}"]
    for name, before, after in change.differences:
        if change.change is Change.CHANGE:
            lines.append(f"    {name}: {_value(before)} → {_value(after)}")
        elif name not in ("directory", "workflow_name", "file_pattern"):
            lines.append(f"    {name}: {_value(after if change.after else before)}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    return "null" if value is None else plain(value)
