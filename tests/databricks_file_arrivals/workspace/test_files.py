"""Small files on a volume, through the Files API of a real server, blocking and on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from databricks_file_arrivals.core.errors import Refused
from databricks_file_arrivals.hooks import FileArrivalsHook
from databricks_file_arrivals.workspace.exchange import Exchange, run, run_async
from databricks_file_arrivals.workspace.files import list_files, read_file, write_file
from tests.airflow_side import Signals

ODD = "a/../b c%2F+?#ü.json"


def driven(hook: FileArrivalsHook, exchange: Exchange[Any], on_a_loop: bool) -> Any:
    async def loop() -> Any:
        async with FileArrivalsHook() as fresh:
            return await run_async(exchange, fresh.a_call)

    return asyncio.run(loop()) if on_a_loop else run(exchange, hook.call)


@pytest.mark.parametrize("on_a_loop", [False, True])
def test_what_is_written_is_listed_and_read(
    hook: FileArrivalsHook, new_signals: Callable[[], Signals], on_a_loop: bool
) -> None:
    signals = new_signals()
    name = ODD.replace("/", "%2F")
    path = f"{signals.path}/consumers/{name}"
    for content in (b"{}", b'{"a": 1}'):
        driven(hook, write_file(path, content), on_a_loop)
        assert driven(hook, read_file(path), on_a_loop) == content
    (entry,) = driven(hook, list_files(f"{signals.path}/consumers"), on_a_loop)
    assert entry.path == path and entry.version[1] == 8
    assert driven(hook, list_files(signals.path), on_a_loop) == [], "directories are no files"


def test_what_is_missing_or_forbidden_is_refused(
    hook: FileArrivalsHook, new_signals: Callable[[], Signals], admin: Any
) -> None:
    signals = new_signals()
    missing_ones: list[Exchange[Any]] = [list_files(f"{signals.path}/no"), read_file(f"{signals.path}/no")]
    for asked in missing_ones:
        with pytest.raises(Refused) as missing:
            driven(hook, asked, False)
        assert missing.value.status == 404
    change = {"principal": "account users", "remove": ["READ_VOLUME", "WRITE_VOLUME"]}
    path = f"/api/2.1/unity-catalog/permissions/volume/{signals.full_name}"
    admin.api_client.do("PATCH", path, body={"changes": [change]})
    forbidden_ones: list[Exchange[Any]] = [list_files(signals.path), write_file(f"{signals.path}/x/y", b"")]
    for asked in forbidden_ones:
        with pytest.raises(Refused) as forbidden:
            driven(hook, asked, False)
        assert forbidden.value.status == 403
