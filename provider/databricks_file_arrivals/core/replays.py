"""Replays: outcomes that a person wants driven again. Which may be, and what rows that makes.

A replay is a claim of its own that moves no cursor. Each of its rows says in `replay_of` whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from databricks_file_arrivals.core import parameters
from databricks_file_arrivals.core.errors import BadInput
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow, Status, retry_at
from databricks_file_arrivals.core.planning import Claim, Decision, Job, Route, Situation, decide, plan

DEFAULT = (
    Status.UNMAPPED,
    Status.INACTIVE,
    Status.NO_SUCH_WORKFLOW,
    Status.ERROR,
    Status.NOT_RUN,
    Status.FAILED,
)
"""Outcomes that are replayed when none are named."""

NAMED_ONLY = (Status.TRIGGERED, Status.SUCCEEDED, Status.COALESCED)
"""Outcomes whose files have a run: they are replayed when they are named."""

REPLAYABLE = (*DEFAULT, *NAMED_ONLY)

RETRIED = (Status.ERROR, Status.NOT_RUN)
"""Outcomes that the operators try again by themselves, for a while."""

_NEVER: Mapping[Status, str] = {
    Status.PLANNED: "it is being started",
    Status.HELD: "it is held, and is started by itself; what it waits for stands in the mapping table",
    Status.OVERDUE: "it has no files",
    Status.DRY_RUN: "it is of a dry run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which outcomes a person means. `since` and `until` are about when they were recorded."""

    consumer: str
    directory: str | None = None
    """This one and all below it."""
    workflow: str | None = None
    statuses: tuple[Status, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    trigger_ids: tuple[str, ...] = ()
    """Or the beginnings of them."""
    start: str | None = None
    """The workflow to start instead."""
    force: bool = False

    def __post_init__(self) -> None:
        never = next((status for status in self.statuses if status not in REPLAYABLE), None)
        if never is not None:
            known = ", ".join(status.value for status in REPLAYABLE)
            raise BadInput(f"{never} is not replayed: {_NEVER.get(never, 'it is no outcome')}. {known} are.")
        short = next((each for each in self.trigger_ids if len(each) < _SHORTEST_ID), None)
        if short is not None:
            raise BadInput(
                f"{short!r} is too short for a trigger_id: give {_SHORTEST_ID} characters or more."
            )

    @property
    def asked(self) -> tuple[Status, ...]:
        """The statuses that count: those named, or the default ones."""
        return self.statuses or DEFAULT


_SHORTEST_ID = 16  # the epoch's twelve, and some of its own


@dataclass(frozen=True, slots=True)
class Known:
    """What the log knows of an outcome beside its row."""

    replayed: bool = False
    failed_at: tuple[datetime, ...] = ()
    """When it, or an earlier attempt of it, ended as ERROR or NOT_RUN."""
    planned_at: datetime | None = None


def refusal(row: LogRow, known: Known, selection: Selection, now: datetime, give_up_after: timedelta) -> str:
    """Why an outcome is not replayed, or ""."""
    if row.status in _NEVER:
        return _NEVER[row.status]
    if row.status not in selection.asked:
        return f"it is {row.status}: add --status {row.status} if you mean it"
    if selection.force:
        return ""
    if known.replayed:
        return "it was replayed before: --force does it again"
    if row.status in RETRIED:
        due = retry_at(known.failed_at, give_up_after)
        if due is not None:
            return f"it is tried again by itself, {'now' if due <= now else f'at {due:%Y-%m-%d %H:%M:%S}'}"
    return ""


def may_have_started(row: LogRow) -> bool:
    """Whether there may be a run of a request that the log has none of: its answer was lost."""
    return row.status is Status.ERROR and row.job_id is not None


# Rows.


def restarted(row: LogRow, claim: Claim, workflow: str | None, jobs: Sequence[Job]) -> LogRow:
    """The row that starts a stored request again, or `workflow` for its files.

    Parameters that were filled in stay as they are; those of a row that was never started are filled in now.
    `jobs` are those of the workflow's name.
    """
    other = workflow is not None and workflow != row.workflow_name
    part = replace(
        row,
        replay_of=row.trigger_id,
        workflow_name=workflow or row.workflow_name,
        rule_id=None if other else row.rule_id,
        job_id=None,
        started_run_id=None,
        job_trigger_time=None,
        error=None,
        waits_for=None,
    )
    (made,) = plan(claim, [Decision(Status.PLANNED, (part,))], {part.workflow_name or "": jobs})
    if row.job_id is None or len(jobs) != 1:
        return made
    told = parameters.retold(row, made.trigger_id or "").job_parameters or {}
    own = {name: value for name, value in told.items() if name in jobs[0].parameters}
    return replace(made, job_parameters={**(made.job_parameters or {}), **own, **_ours(made)})


def _ours(made: LogRow) -> dict[str, str]:
    """What no stored value may stand for: by these a job finds its files."""
    return {n: v for n, v in (made.job_parameters or {}).items() if n in parameters.OURS}


def rerouted(
    row: LogRow,
    claim: Claim,
    routes: Iterable[Route],
    mapping: WorkflowMapping,
    now: datetime,
    jobs: Mapping[str, Sequence[Job]],
) -> tuple[LogRow, ...]:
    """The rows that cover the files of an outcome that had no workflow, as the mapping is now; none when it
    has none for any of them still.

    What goes together is started at once: nothing is held. What still has no workflow gets a row too, when
    something else is started: it can be replayed by itself.
    """
    decisions = decide([_at_once(route, row) for route in routes], mapping, Situation(as_of=now))
    parts = [
        replace(d, parts=tuple(replace(part, replay_of=row.trigger_id) for part in d.parts))
        for d in decisions
    ]
    made = plan(claim, parts, jobs)
    return made if any(each.status is Status.PLANNED for each in made) else ()


def _at_once(route: Route, row: LogRow) -> Route:
    """A route whose rule holds nothing, and whose files are none that the row had left out."""
    excluded = tuple(sorted({*route.excluded, *(row.excluded_patterns or ())}))
    rule = route.rule and replace(
        route.rule, settle_seconds=0, min_files=0, completion_marker=None, min_interval_seconds=0
    )
    return replace(route, rule=rule, excluded=excluded, marker_seen=False)
