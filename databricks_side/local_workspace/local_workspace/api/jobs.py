"""The Jobs API: jobs."""

from local_workspace.api.call import ALL_VERSIONS, Answer, Call, Route
from local_workspace.api.errors import InvalidParameter
from local_workspace.api.run_store import cancel_runs_of


def create(call: Call) -> Answer:
    """POST jobs/create"""
    return {"job_id": call.workspace.jobs.create(call.caller, call.arguments.values, call.version)}


def list_jobs(call: Call) -> Answer:
    """GET jobs/list"""
    given = call.arguments
    given.only("name", "limit", "page_token", "offset", "expand_tasks", "include_user_names")
    if given.optional_integer("offset"):
        raise InvalidParameter("offset is not supported any more; page with page_token.")
    jobs, token = call.workspace.jobs.page(
        call.caller,
        given.optional_text("name"),
        given.limit("limit", 20, 100),
        given.optional_text("page_token"),
    )
    expand = given.boolean("expand_tasks")
    answer: dict[str, object] = {"jobs": [job.view(expand) for job in jobs]} if jobs else {}
    if call.version != "2.2":
        answer["has_more"] = token is not None
    if token is not None:
        answer["next_page_token"] = token
    return answer


def get(call: Call) -> Answer:
    """GET jobs/get"""
    call.arguments.only("job_id", "page_token")
    return call.workspace.jobs.get(call.caller, call.arguments.integer("job_id")).view()


def reset(call: Call) -> Answer:
    """POST jobs/reset"""
    given = call.arguments
    given.only("job_id", "new_settings")
    # The stock hook sends the whole of what it would create; its access list goes by a call of its own.
    settings = {
        key: value for key, value in given.mapping("new_settings").items() if key != "access_control_list"
    }
    call.workspace.jobs.reset(call.caller, given.integer("job_id"), settings, call.version)
    return {}


def update(call: Call) -> Answer:
    """POST jobs/update"""
    given = call.arguments
    given.only("job_id", "new_settings", "fields_to_remove")
    removed = [str(name) for name in given.sequence("fields_to_remove")]
    changes = given.mapping("new_settings")
    call.workspace.jobs.update(call.caller, given.integer("job_id"), changes, removed, call.version)
    return {}


def delete(call: Call) -> Answer:
    """POST jobs/delete"""
    call.arguments.only("job_id")
    call.workspace.jobs.delete(call.caller, call.arguments.integer("job_id"), cancel_runs_of)
    call.workspace.scheduler.wake()
    return {}


ROUTES = [
    Route("POST", "jobs/create", create, ALL_VERSIONS),
    Route("GET", "jobs/list", list_jobs, ALL_VERSIONS),
    Route("GET", "jobs/get", get, ALL_VERSIONS),
    Route("POST", "jobs/reset", reset, ALL_VERSIONS),
    Route("POST", "jobs/update", update, ALL_VERSIONS),
    Route("POST", "jobs/delete", delete, ALL_VERSIONS),
]
