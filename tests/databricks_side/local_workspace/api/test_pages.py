"""Pages for people: behind a login, read-only, and safe with any name."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from local_workspace.api.app import create_app
from local_workspace.api.call import Workspace
from local_workspace.api.pages import local_path
from local_workspace.api.principals import issue_tokens

EVIL = "<script>alert(1)</script>'\""


@pytest.fixture
def browser(parts: Workspace) -> TestClient:
    """A browser that has logged in."""
    client = TestClient(create_app(parts))
    answer = client.post("/login", content=f"token={issue_tokens(parts.state, [])['admin']}&next=/")
    assert answer.status_code == 200 and answer.url.path == "/"
    return client


def test_jobs_runs_and_logs_are_shown(
    browser: TestClient, admin: Any, job: dict[str, Any], parts: Workspace
) -> None:
    job_id = admin.post("/api/2.2/jobs/create", **{**job, "name": EVIL})["job_id"]
    run_id = admin.post("/api/2.2/jobs/run-now", job_id=job_id, job_parameters={"p": EVIL})["run_id"]
    folder = parts.launcher.folder(parts.runs.task_runs(run_id)[0]["task_run_id"])
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"printed {EVIL}")
    run = admin.get("/api/2.2/jobs/runs/get", run_id=run_id)
    for path in ("/", f"/jobs/{job_id}", run["run_page_url"].removeprefix(parts.host)):
        page = browser.get(path)
        assert page.status_code == 200 and str(job_id) in page.text + path
        assert "alert(1)</script>" not in page.text and "&lt;script&gt;" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "printed " in page.text


def test_the_cookie_opens_pages_only(browser: TestClient) -> None:
    assert browser.get("/api/2.2/jobs/list").status_code == 401
    assert browser.get("/local/calls").status_code == 401


def test_a_wrong_token_gets_the_form_again(parts: Workspace) -> None:
    client = TestClient(create_app(parts))
    assert client.get("/login?next=/jobs/7").text.count("value='/jobs/7'") == 1
    answer = client.post("/login", content="token=wrong&next=/")
    assert answer.status_code == 401 and "not a valid access token" in answer.text and not client.cookies


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", ""])
def test_a_login_leads_nowhere_else(target: str) -> None:
    assert local_path(target) == "/"
    assert local_path("/jobs/1") == "/jobs/1"


def test_pages_show_only_what_the_caller_may_see(parts: Workspace, admin: Any, job: dict[str, Any]) -> None:
    job_id = admin.post("/api/2.2/jobs/create", **job)["job_id"]
    client = TestClient(create_app(parts))
    client.post("/login", content=f"token={issue_tokens(parts.state, [])['alice']}&next=/")
    assert "small" not in client.get("/").text
    assert client.get(f"/jobs/{job_id}").status_code == 403
