"""What Databricks says of a run, and what that means here.

The API tells it twice: in `state`, which is deprecated, and in `status`, which older workspaces lack. New
states and codes may come at any time: a state that is not known is one to wait for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUEUED = frozenset({"QUEUED", "PENDING", "BLOCKED"})
"""Accepted, and no task has begun: waiting for a place, for its cluster, or for what it depends on."""

EXECUTING = frozenset({"RUNNING", "WAITING", "WAITING_FOR_RETRY"})
"""A task has begun. A run that waits for a retry has had its first try.

TERMINATING says nothing of that: a run that is dropped from the queue passes it too, and is waited for.
"""

ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})

KNOWN = QUEUED | EXECUTING | ENDED | {"TERMINATING"}
"""All states that Databricks had when this was written."""

SUCCEEDED = frozenset({"SUCCESS", "SUCCESS_WITH_FAILURES"})
"""The second: a task failed, and the job's own conditions made up for it."""

NEVER_RAN = frozenset(
    {
        "SKIPPED",
        "DISABLED",
        "MAXIMUM_CONCURRENT_RUNS_REACHED",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
        "MAX_JOB_QUEUE_SIZE_EXCEEDED",
        "WORKSPACE_RUN_LIMIT_EXCEEDED",
        "CLUSTER_REQUEST_LIMIT_EXCEEDED",
    }
)
"""Ends of runs that were accepted and then not executed: skipped, dropped, or over a limit."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as Databricks described it last. `result` and `code` are "" until it has ended."""

    run_id: int
    job_id: int
    state: str
    """The life-cycle state."""
    result: str = ""
    """The `result_state` of `state`."""
    code: str = ""
    """The termination code of `status`."""
    message: str = ""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Run:
        """A run of runs/get or runs/list."""
        old, new = answer.get("state") or {}, answer.get("status") or {}
        details = new.get("termination_details") or new.get("queue_details") or {}
        return cls(
            run_id=int(answer["run_id"]),
            job_id=int(answer.get("job_id") or 0),
            state=str(new.get("state") or old.get("life_cycle_state") or ""),
            result=str(old.get("result_state") or ""),
            code=str((new.get("termination_details") or {}).get("code") or ""),
            message=str(details.get("message") or old.get("state_message") or ""),
        )

    @property
    def queued(self) -> bool:
        """Accepted, and not executing yet: it will see whatever is there when it begins."""
        return self.state in QUEUED

    @property
    def executing(self) -> bool:
        """It has begun and has not ended."""
        return self.state in EXECUTING

    @property
    def known(self) -> bool:
        """Whether its state is one that this version has heard of."""
        return self.state in KNOWN

    @property
    def ended(self) -> bool:
        """It will not change any more. A state that is not known has not ended."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """It ended as it should."""
        return self.ended and bool({self.result, self.code} & SUCCEEDED)

    @property
    def never_ran(self) -> bool:
        """It ended without having been executed: skipped, or dropped from the queue. One that was cancelled
        in it is not meant: somebody wanted that, and nobody else is to start it again."""
        return self.ended and bool({self.state, self.result, self.code} & NEVER_RAN)

    def __str__(self) -> str:
        words = dict.fromkeys(word for word in (self.state or "no state", self.result, self.code) if word)
        said = f": {self.message}" if self.message else ""
        return f"run {self.run_id} is {' '.join(words)}{said}"
