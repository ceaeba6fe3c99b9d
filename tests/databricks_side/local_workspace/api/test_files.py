"""The Files API: with the unmodified SDK, and call by call."""

import contextlib
import io
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound, PermissionDenied
from databricks.sdk.service.catalog import PermissionsChange, Privilege, VolumeType
from starlette.testclient import TestClient

from local_workspace.api.call import Workspace
from local_workspace.api.errors import NoSuchRange
from local_workspace.api.files import byte_range
from local_workspace.testing import RunningWorkspace
from tests.databricks_side.local_workspace.conftest import eventually

VOLUME = "/Volumes/main/filed/signals"
NAMES = ["plain", "with space", "100%25", "100%", "ünïcode ☂", "a\nb", "a+b?c#d", "ends in \n", ".dot"]


@pytest.fixture(scope="module")
def sdk(workspace: RunningWorkspace) -> Iterator[WorkspaceClient]:
    """The admin's client, with the volume `main.filed.signals`."""
    client = WorkspaceClient(host=workspace.url, token=workspace.token())
    client.schemas.create("filed", "main")
    client.volumes.create("main", "filed", "signals", VolumeType.MANAGED)
    yield client
    client.schemas.delete("main.filed", force=True)


def _read(client: WorkspaceClient, path: str) -> bytes:
    contents = client.files.download(path).contents
    assert contents is not None
    with contents:
        return contents.read()


def test_the_sdk_sends_reads_lists_and_deletes_files(sdk: WorkspaceClient) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(300_000))
    sdk.files.upload(f"{VOLUME}/streams/a/big", io.BytesIO(content))
    assert _read(sdk, f"{VOLUME}/streams/a/big") == content
    told = sdk.files.get_metadata(f"{VOLUME}/streams/a/big")
    assert (told.content_length, told.content_type) == (len(content), "application/octet-stream")
    sdk.files.upload(f"{VOLUME}/streams/a/big", io.BytesIO(b"small"), overwrite=True)
    assert _read(sdk, f"{VOLUME}/streams/a/big") == b"small"
    with pytest.raises(AlreadyExists):
        sdk.files.upload(f"{VOLUME}/streams/a/big", io.BytesIO(b"x"), overwrite=False)
    (entry,) = sdk.files.list_directory_contents(f"{VOLUME}/streams/a/")
    assert (entry.path, entry.name, entry.file_size) == (f"{VOLUME}/streams/a/big", "big", 5)
    (above,) = sdk.files.list_directory_contents(f"{VOLUME}/streams")
    assert above.is_directory and above.file_size is None and not entry.is_directory
    sdk.files.delete(f"{VOLUME}/streams/a/big")
    for call in (sdk.files.delete, sdk.files.get_metadata, sdk.files.download):
        with pytest.raises(NotFound):
            call(f"{VOLUME}/streams/a/big")


def test_the_sdk_makes_looks_at_and_deletes_directories(sdk: WorkspaceClient) -> None:
    sdk.files.create_directory(f"{VOLUME}/d/e")
    sdk.files.create_directory(f"{VOLUME}/d/e")
    sdk.files.get_directory_metadata(f"{VOLUME}/d/e")
    with pytest.raises(BadRequest, match="not empty"):
        sdk.files.delete_directory(f"{VOLUME}/d")
    sdk.files.delete_directory(f"{VOLUME}/d/e")
    for call in (sdk.files.get_directory_metadata, sdk.files.delete_directory):
        with pytest.raises(NotFound):
            call(f"{VOLUME}/d/e")
    for path in (f"{VOLUME}/none", "/Volumes/main/filed/none"):
        with pytest.raises(NotFound):
            list(sdk.files.list_directory_contents(path))


def test_names_of_all_kinds_come_back_as_they_were(sdk: WorkspaceClient) -> None:
    for name in NAMES:
        sdk.files.upload(f"{VOLUME}/names/{name}", io.BytesIO(name.encode()))
    listed = list(sdk.files.list_directory_contents(f"{VOLUME}/names", page_size=2))
    assert [entry.name for entry in listed] == sorted(NAMES)
    for entry in listed:
        assert entry.path is not None and entry.name is not None
        assert _read(sdk, entry.path) == entry.name.encode()


def test_who_may_not_read_or_write_is_refused(sdk: WorkspaceClient, workspace: RunningWorkspace) -> None:
    bob = WorkspaceClient(host=workspace.url, token=workspace.token("bob"))
    bob.files.upload(f"{VOLUME}/granted", io.BytesIO(b"1"))
    _take(sdk, Privilege.WRITE_VOLUME)
    assert _read(bob, f"{VOLUME}/granted") == b"1"
    for change in (
        lambda: bob.files.upload(f"{VOLUME}/granted", io.BytesIO(b"2")),
        lambda: bob.files.delete(f"{VOLUME}/granted"),
        lambda: bob.files.create_directory(f"{VOLUME}/granted2"),
    ):
        with pytest.raises(PermissionDenied, match="WRITE VOLUME"):
            change()
    _take(sdk, Privilege.READ_VOLUME)
    with pytest.raises(PermissionDenied, match="READ VOLUME"):
        _read(bob, f"{VOLUME}/granted")
    with pytest.raises(PermissionDenied):
        bob.files.get_directory_metadata(VOLUME)
    assert _read(sdk, f"{VOLUME}/granted") == b"1"


def _take(sdk: WorkspaceClient, privilege: Privilege) -> None:
    changes = [PermissionsChange(principal="account users", remove=[privilege])]
    sdk.grants.update("volume", "main.filed.signals", changes=changes)


def test_faults_hit_files_before_and_after_their_effect(
    sdk: WorkspaceClient, workspace: RunningWorkspace
) -> None:
    put = f"PUT /api/2.0/fs/files{VOLUME}/*"
    with workspace.faults.added("error", put, status=429, retry_after=0) as limited:
        sdk.files.upload(f"{VOLUME}/limited", io.BytesIO(b"x"))  # the SDK tries again
        assert workspace.faults.find(limited).hits == 1
    with workspace.faults.added("error", put, status=403), pytest.raises(PermissionDenied):
        sdk.files.upload(f"{VOLUME}/refused", io.BytesIO(b"x"))
    with workspace.faults.added("error", put, when="after", status=403), pytest.raises(PermissionDenied):
        sdk.files.upload(f"{VOLUME}/unsure", io.BytesIO(b"x"))
    assert _read(sdk, f"{VOLUME}/unsure") == b"x"
    with pytest.raises(NotFound):
        sdk.files.get_metadata(f"{VOLUME}/refused")


@pytest.mark.parametrize("faults", [False, True])
def test_an_upload_that_is_broken_off_changes_nothing(
    sdk: WorkspaceClient, workspace: RunningWorkspace, faults: bool
) -> None:
    volume = sdk.volumes.read("main.filed.signals").storage_location
    assert volume is not None
    sdk.files.upload(f"{VOLUME}/whole/a", io.BytesIO(b"whole"))
    request = (
        f"PUT /api/2.0/fs/files{VOLUME}/whole/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
        f"Authorization: Bearer {workspace.token()}\r\n\r\nhalf"
    )
    with workspace.faults.added("delay", "GET /none") if faults else contextlib.nullcontext():
        # A call that did not come as far as its route is counted under its own path.
        call = f"PUT /api/2.0/fs/files{VOLUME}/whole/a" if faults else "PUT /api/2.0/fs/files/{path}"
        before = _count(sdk, call)
        with socket.create_connection(("127.0.0.1", workspace.port)) as connection:
            connection.sendall(request.encode())
            if not faults:
                eventually(lambda: len(list(Path(volume, "whole").iterdir())) == 2)  # its draft
        eventually(lambda: _count(sdk, call) > before)
    assert _read(sdk, f"{VOLUME}/whole/a") == b"whole"
    assert [path.name for path in Path(volume, "whole").iterdir()] == ["a"]
    assert "ClientDisconnect" not in (workspace.folder / "server" / "api.log").read_text()


def _count(sdk: WorkspaceClient, call: str) -> int:
    counts: Any = sdk.api_client.do("GET", "/local/calls")
    return int(counts.get(call, 0))


# From here on without a Spark server: the volume is made behind the API.


@pytest.fixture
def bob(parts: Workspace, as_user: Callable[[str], Any]) -> TestClient:
    alice = parts.principals.find("alice")
    assert alice is not None
    parts.volumes.create(alice, "filed", "signals", None)
    client: TestClient = as_user("bob").client
    return client


FILES = f"/api/2.0/fs/files{VOLUME}"
DIRECTORIES = f"/api/2.0/fs/directories{VOLUME}"


def test_answers_have_the_codes_that_clients_look_at(bob: TestClient) -> None:
    assert _code(bob.put(f"{FILES}/a", content=b"{not json")) == (204, None)
    assert _code(bob.put(f"{FILES}/a?overwrite=false", content=b"x")) == (409, "ALREADY_EXISTS")
    assert _code(bob.put(FILES, content=b"x")) == (400, "INVALID_PARAMETER_VALUE")
    assert _code(bob.put(f"{FILES}/a?x=1", content=b"x")) == (400, "INVALID_PARAMETER_VALUE")
    assert _code(bob.get(f"{FILES}/none")) == (404, "NOT_FOUND")
    assert _code(bob.get("/api/2.0/fs/files/Volumes/main/filed/none/a")) == (404, "NOT_FOUND")
    assert _code(bob.put(f"{DIRECTORIES}/a")) == (409, "ALREADY_EXISTS")
    assert _code(bob.put(f"{DIRECTORIES}/d")) == (204, None)
    assert _code(bob.get(f"{FILES}/d")) == (404, "NOT_FOUND")
    assert _code(bob.get(f"{DIRECTORIES}/a")) == (404, "NOT_FOUND")
    assert _code(bob.get("/api/2.0/fs/directories/Volumes/main/filed")) == (400, "INVALID_PARAMETER_VALUE")
    assert _code(bob.delete(f"{DIRECTORIES}/d")) == (204, None)
    assert _code(bob.delete(f"{FILES}/a")) == (204, None)
    assert bob.head(f"{FILES}/a").status_code == 404 and bob.head(DIRECTORIES).status_code == 200


def _code(response: Any) -> tuple[int, str | None]:
    return response.status_code, response.json()["error_code"] if response.content else None


@pytest.mark.parametrize("path", ["/%2e%2e/other", "/a/..%2f..%2f..", "/a%00b", "/a//b", "/%2e/a"])
def test_no_path_leads_out_of_the_volume(bob: TestClient, path: str) -> None:
    # Sent as it is: the test client would resolve the dots itself.
    target = f"/api/2.0/fs/files{VOLUME}{path}".encode()
    url = bob.base_url.copy_with(raw_path=target)
    for method in ("GET", "PUT", "DELETE"):
        assert _code(bob.request(method, url)) == (400, "INVALID_PARAMETER_VALUE")


def test_a_path_may_be_escaped_as_a_whole(bob: TestClient) -> None:
    bob.put(f"{FILES}/d/a%20b", content=b"x")
    whole = quote(f"{VOLUME}/d/a b".lstrip("/"), safe="")
    assert bob.get(f"/api/2.0/fs/files/{whole}").content == b"x"


def test_a_part_of_a_file_and_a_file_that_was_not_touched(bob: TestClient) -> None:
    bob.put(f"{FILES}/a", content=b"0123456789")
    part = bob.get(f"{FILES}/a", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert (part.headers["content-range"], part.headers["content-length"]) == ("bytes 2-4/10", "3")
    assert _code(bob.get(f"{FILES}/a", headers={"Range": "bytes=10-"})) == (416, "RANGE_NOT_SATISFIABLE")
    modified = bob.head(f"{FILES}/a").headers["last-modified"]
    assert bob.get(f"{FILES}/a", headers={"If-Unmodified-Since": modified}).content == b"0123456789"
    old = {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert _code(bob.get(f"{FILES}/a", headers=old)) == (412, "PRECONDITION_FAILED")
    assert bob.get(f"{FILES}/a", headers={"If-Unmodified-Since": "yesterday"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None), ("bytes=0-0", (0, 1)), ("bytes=3-", (3, 7)), ("bytes=-4", (6, 4)),
        ("bytes=-99", (0, 10)), ("bytes=8-99", (8, 2)), ("bytes=4-2", None), ("bytes=-", None),
        ("bytes=0-1,3-4", None), ("lines=1-2", None),
    ],
)  # fmt: skip
def test_byte_range(header: str | None, part: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == part


def test_a_range_of_nothing() -> None:
    for header, size in (("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10)):
        with pytest.raises(NoSuchRange):
            byte_range(header, size)


def test_pages_go_on_where_the_last_one_ended(bob: TestClient) -> None:
    for name in "abc":
        bob.put(f"{FILES}/{name}", content=name.encode())
    first = bob.get(DIRECTORIES, params={"page_size": 2}).json()
    bob.delete(f"{FILES}/b")
    second = bob.get(DIRECTORIES, params={"page_token": first["next_page_token"]}).json()
    assert [entry["name"] for entry in first["contents"] + second["contents"]] == ["a", "b", "c"]
    assert "next_page_token" not in second
    assert second["contents"][0] == {
        "path": f"{VOLUME}/c", "name": "c", "is_directory": False, "file_size": 1,
        "last_modified": second["contents"][0]["last_modified"],
    }  # fmt: skip
    assert second["contents"][0]["last_modified"] > 1_600_000_000_000
    assert _code(bob.get(DIRECTORIES, params={"page_token": "!"}))[0] == 400
    assert _code(bob.get(DIRECTORIES, params={"page_size": 0}))[0] == 400
    # as the stock hook sends an asynchronous GET
    in_body = bob.request("GET", DIRECTORIES, content=json.dumps({"page_size": 1}))
    assert len(in_body.json()["contents"]) == 1


def test_files_are_counted_under_their_pattern(bob: TestClient, parts: Workspace) -> None:
    bob.put(f"{FILES}/a", content=b"x")
    bob.head(f"{FILES}/a")
    bob.get(DIRECTORIES)
    assert parts.counts.as_dict("bob") == {
        "GET /api/2.0/fs/directories/{path}": 1,
        "HEAD /api/2.0/fs/files/{path}": 1,
        "PUT /api/2.0/fs/files/{path}": 1,
    }
