"""The faults and points are such as a workspace takes, and their hits are counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from crash import troubles
from crash.troubles import FAULTS, POINTS, Troubles
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound

from local_workspace.faults import FaultClient
from local_workspace.testing import RunningWorkspace


@pytest.mark.parametrize("name", [*FAULTS, *POINTS])
def test_the_workspace_takes_each(name: str, workspace: RunningWorkspace) -> None:
    terms: dict[str, Any] = {"kind": "delay", **(FAULTS.get(name) or POINTS[name]), "principal": "bob"}
    with workspace.faults.added(**terms) as fault:
        assert fault.hits == 0


class Patient:
    """As much of the stage as troubles need."""

    def __init__(self, faults: FaultClient) -> None:
        self.faults = faults

    def patient(self, call: Callable[[], Any], what: str) -> Any:
        return call()


@pytest.fixture
def made(workspace: RunningWorkspace, monkeypatch: pytest.MonkeyPatch) -> Troubles:
    """Troubles for alice, whose only fault is one for a call of no other test."""
    monkeypatch.setattr(troubles, "PRINCIPAL", "alice")
    terms = {"calls": "GET /api/2.0/preview/scim/v2/Me", "kind": "error", "status": 404}
    monkeypatch.setattr(troubles, "FAULTS", {"who am I": {**terms, "skip": 0, "times": 2}})
    stage: Any = Patient(workspace.faults)
    return Troubles(stage, random.Random(1))


def test_hits_are_counted_when_a_fault_is_taken_away(made: Troubles, workspace: RunningWorkspace) -> None:
    assert made.set_one() == "who am I"
    alice = WorkspaceClient(host=workspace.url, token=workspace.token("alice"))
    with pytest.raises(NotFound):
        alice.current_user.me()
    made.take_old()
    assert made.hits == 0, "it has not lasted yet"
    made.clear()
    assert made.hits == 1 and workspace.faults.all() == []


def test_what_has_lasted_is_taken_away_once(
    made: Troubles, workspace: RunningWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "time", SimpleNamespace(monotonic=iter([0.0, 1000.0]).__next__))
    made.set_one()
    made.take_old()
    assert workspace.faults.all() == []
    made.take_old()
