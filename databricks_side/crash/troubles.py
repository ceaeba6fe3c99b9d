"""The faults that are switched on and off meanwhile, and the points at which an operator is killed."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.workspace import PRINCIPAL

from crash.stage import CrashStage
from local_workspace.faults import FaultState

RUN_NOW = "POST /api/2.*/jobs/run-now"
STATEMENT = "POST /api/2.0/sql/statements"
PLAN = ("INSERT INTO", '"PLANNED"')
RECORD = ("INSERT INTO", '"CLAIMED"')
SWAP = ("UPDATE", "claim_id")
LASTS_SECONDS = 60.0

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "run-now 429": {"calls": RUN_NOW, "kind": "error", "status": 429, "retry_after": 1},
    "run-now 500": {"calls": RUN_NOW, "kind": "error", "status": 500},
    "run-now done, answered 503": {"calls": RUN_NOW, "kind": "error", "status": 503, "when": "after"},
    "run-now done, answer dropped": {"calls": RUN_NOW, "kind": "drop", "when": "after"},
    "run-now late": {"calls": RUN_NOW, "kind": "delay", "seconds": 6},
    "append done, answer dropped": {"calls": STATEMENT, "contains": PLAN, "kind": "drop", "when": "after"},
    "append failed": {"calls": STATEMENT, "contains": PLAN, "kind": "statement_failed"},
    "append late": {"calls": STATEMENT, "contains": PLAN, "kind": "delay", "seconds": 8},
    "swap done, answer dropped": {"calls": STATEMENT, "contains": SWAP, "kind": "drop", "when": "after"},
    "swap done, answered FAILED": {
        "calls": STATEMENT,
        "contains": SWAP,
        "kind": "statement_failed",
        "when": "after",
    },
    "swap failed": {"calls": STATEMENT, "contains": SWAP, "kind": "statement_failed"},
    "swap late": {"calls": STATEMENT, "contains": SWAP, "kind": "delay", "seconds": 8},
    "record done, answer dropped": {"calls": STATEMENT, "contains": RECORD, "kind": "drop", "when": "after"},
    "record failed": {"calls": STATEMENT, "contains": RECORD, "kind": "statement_failed"},
    "statement failed": {"calls": STATEMENT, "contains": ("SELECT",), "kind": "statement_failed"},
    "statement 503": {"calls": STATEMENT, "kind": "error", "status": 503},
    "warehouse stopped": {
        "calls": STATEMENT,
        "kind": "warehouse_stopped",
        "contains": ("SELECT",),
        "seconds": 7,
        "times": 3,
    },
}

POINTS: Mapping[str, Mapping[str, Any]] = {
    "before the plan": {"calls": STATEMENT, "contains": PLAN},
    "after the plan": {"calls": STATEMENT, "contains": PLAN, "when": "after"},
    "before the swap": {"calls": STATEMENT, "contains": SWAP},
    "after the swap": {"calls": STATEMENT, "contains": SWAP, "when": "after"},
    "before some run-now": {"calls": RUN_NOW, "skip": 1, "times": 2},
    "after run-now": {"calls": RUN_NOW, "when": "after", "times": 2},
    "before the record": {"calls": STATEMENT, "contains": RECORD},
    "after the record": {"calls": STATEMENT, "contains": RECORD, "when": "after"},
}


@dataclass
class Troubles:
    """Sets faults, takes them away after a while, and counts how often they hit."""

    stage: CrashStage
    random: random.Random
    hits: int = 0
    _set: dict[int, tuple[FaultState, float]] = field(default_factory=dict)

    def set_one(self) -> str:
        """Set a fault at random: its name."""
        name = self.random.choice(list(FAULTS))
        terms = {"skip": self.random.randint(0, 3), "times": self.random.randint(1, 3), **FAULTS[name]}
        fault = self.stage.patient(
            lambda: self.stage.faults.add(**{"principal": PRINCIPAL, **terms}), "a fault is set"
        )
        self._set[fault.fault_id] = (fault, time.monotonic())
        return name

    def take_old(self) -> None:
        """Take away those that have lasted."""
        for fault, since in list(self._set.values()):
            if time.monotonic() - since > LASTS_SECONDS:
                del self._set[fault.fault_id]
                self.hits += sum(each.hits for each in self._taken(fault))

    def _taken(self, fault: FaultState) -> list[FaultState]:
        def take() -> list[FaultState]:
            # They end with the API process, which is killed too.
            there = any(each.fault_id == fault.fault_id and each.kind == fault.kind for each in faults.all())
            return [faults.delete(fault)] if there else []

        faults = self.stage.faults
        return self.stage.patient(take, "a fault is taken away")

    def clear(self) -> None:
        """Take all away, and let go what they hold."""
        taken = self.stage.patient(self.stage.faults.clear, "the faults are taken away")
        self.hits += sum(each.hits for each in taken)
        self._set.clear()
