"""A few pages for people: the jobs, the runs of a job, a run with its logs. They only read."""

import datetime
import json
import sqlite3
from html import escape
from urllib.parse import parse_qs

from fastapi import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from local_workspace.api.call import Answer, Call, Route
from local_workspace.api.errors import InvalidParameter
from local_workspace.api.gate import LOGIN_PATH
from local_workspace.api.logins import Logins
from local_workspace.api.principals import Principals
from local_workspace.api.run_store import RunFilter
from local_workspace.api.run_views import states

LOG_BYTES = 200_000
ROWS = 100
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #ddd}pre{background:#f4f4f4;padding:1rem;overflow:auto;white-space:pre-wrap}"
    "h1 a{color:inherit}.SUCCESS{color:#176d2c}.FAILED,.INTERNAL_ERROR{color:#a61717}"
)
# Links of the old form, `/#job/<id>` and `/#job/<id>/run/<id>`, never reach a server: the browser turns them.
_TURN = (
    "const m=location.hash.match(/^#job\\/(\\d+)(?:\\/run\\/(\\d+))?/);"
    "if(m)location.replace('/jobs/'+m[1]+(m[2]?'/runs/'+m[2]:''));"
)


def _page(title: str, body: str, script: str = "", status: int = 200) -> HTMLResponse:
    html = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1><a href=/>Local workspace</a></h1><h2>{escape(title)}</h2>{body}"
        f"<script>{script}</script></html>"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'self'"
    return HTMLResponse(html, status, {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<table><tr>{head}{body}</table>" if rows else "<p>None yet.</p>"


def _time(at: int | None) -> str:
    if at is None:
        return ""
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _state(row: sqlite3.Row, is_job_run: bool = True) -> str:
    state = states(row, is_job_run)["state"]
    word = state.get("result_state") or state["life_cycle_state"]
    return f"<span class={escape(word)}>{escape(word)}</span> {escape(state['state_message'])}"


def jobs_page(call: Call) -> Answer:
    """GET /"""
    jobs, _ = call.workspace.jobs.page(call.caller, None, ROWS, None)
    rows = [
        [
            f"<a href=/jobs/{job.job_id}>{escape(job.settings['name'])}</a>",
            str(job.job_id),
            _time(job.created_at),
        ]
        for job in jobs
    ]
    return _page("Jobs", _table(["name", "id", "created"], rows), _TURN)


def job_page(call: Call) -> Answer:
    """GET /jobs/{job_id}"""
    job = call.workspace.jobs.get(call.caller, _number(call.path["job_id"]))
    runs, _ = call.workspace.runs.page(call.caller, RunFilter(job_id=job.job_id), ROWS, None)
    rows = [
        [
            f"<a href=/jobs/{job.job_id}/runs/{run['run_id']}>{run['run_id']}</a>",
            _state(run),
            _time(run["created_at"]),
            _time(run["ended_at"]),
            escape(run["parameters"]),
        ]
        for run in runs
    ]
    settings = f"<h3>Settings</h3><pre>{escape(json.dumps(job.settings, indent=2))}</pre>"
    table = _table(["run", "state", "accepted", "ended", "parameters"], rows)
    return _page(job.settings["name"], table + settings)


def run_page(call: Call) -> Answer:
    """GET /jobs/{job_id}/runs/{run_id}"""
    runs = call.workspace.runs
    run = runs.find(call.caller, _number(call.path["run_id"]))
    parts = [
        f"<p>{_state(run)}<p>accepted {_time(run['created_at'])}, started {_time(run['started_at'])}, "
        f"ended {_time(run['ended_at'])}, by {escape(run['creator'])}<pre>{escape(run['parameters'])}</pre>"
    ]
    for task_run in runs.task_runs(run["run_id"]):
        log, _ = call.workspace.launcher.log(task_run["task_run_id"], LOG_BYTES)
        parts.append(
            f"<h3>{escape(task_run['task_key'])} "
            f"(run {task_run['task_run_id']}, attempt {task_run['attempt']})</h3>"
            f"<p>{_state(task_run, False)}<pre>{escape(log)}</pre>"
        )
    name = json.loads(run["settings"])["name"]
    return _page(f"{name}: run {run['run_id']}", "".join(parts))


def _number(text: str) -> int:
    if not text.isdecimal():
        raise InvalidParameter(f"{text!r} is not an id.")
    return int(text)


def login_form(target: str, problem: str = "") -> HTMLResponse:
    """The form that asks for a token."""
    form = (
        f"<p>{escape(problem)}<form method=post action='{LOGIN_PATH}'>"
        f"<input type=hidden name=next value='{escape(target)}'>"
        "<label>Access token (<code>local-workspace token</code> prints it): "
        "<input type=password name=token autofocus size=50></label> <button>Log in</button></form>"
    )
    return _page("Log in", form, status=401 if problem else 200)


async def login(request: Request, principals: Principals, logins: Logins) -> Response:
    """Answer the form: the page asked for with a cookie, or the form again."""
    fields = parse_qs((await request.body())[:10_000].decode("latin-1"))
    target = local_path(fields.get("next", ["/"])[0])
    principal = principals.authenticate(fields.get("token", [""])[0].strip())
    if principal is None:
        return login_form(target, "That is not a valid access token of this workspace.")
    return RedirectResponse(target, 303, {"Set-Cookie": logins.begin(principal)})


def local_path(target: str) -> str:
    """A path of this server, never an address elsewhere."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"


ROUTES = [
    Route("GET", "/", jobs_page),
    Route("GET", "/jobs/{job_id}", job_page),
    Route("GET", "/jobs/{job_id}/runs/{run_id}", run_page),
]
