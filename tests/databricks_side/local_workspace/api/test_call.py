"""Calls and their routes."""

from collections.abc import AsyncIterator

import pytest
from starlette.datastructures import Headers

from local_workspace.api.arguments import Arguments
from local_workspace.api.call import Call, Route, Workspace
from local_workspace.api.errors import PermissionDenied
from local_workspace.api.jobs import get
from local_workspace.api.principals import Principal


def test_a_route_stands_in_each_of_its_versions() -> None:
    assert Route("GET", "jobs/get", get, ("2.0", "2.2")).paths() == ["/api/2.0/jobs/get", "/api/2.2/jobs/get"]
    assert Route("GET", "/local/calls", get).paths() == ["/local/calls"]


def test_only_an_admin_is_an_admin(parts: Workspace) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    def call(is_admin: bool) -> Call:
        return Call(parts, Principal("x", 1, is_admin), Arguments({}), "2.2", {}, Headers(), nothing())

    call(True).require_admin("do this")
    with pytest.raises(PermissionDenied, match="do this"):
        call(False).require_admin("do this")
