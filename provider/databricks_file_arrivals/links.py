"""Links from a task to the workspace's pages: its run, its job, its trigger log.

A task leaves each page's address under a key of its own in XCom, where Airflow 3's UI looks for it at once;
on Airflow 2 the webserver asks the link's class, which reads the same key.
"""

from __future__ import annotations

from databricks_file_arrivals.compat import BaseOperator, BaseOperatorLink, Context, TaskInstanceKey, XCom
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.pages import job_page, run_page, table_page


class _PageLink(BaseOperatorLink):
    """A page whose address the task left in XCom; no link where it left none."""

    key: str

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 looks for the address."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, or ""."""
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


class DatabricksRunLink(_PageLink):
    """The run that the task started."""

    name = "Databricks run"
    key = "databricks_run_page"


class DatabricksJobLink(_PageLink):
    """The job of that run."""

    name = "Databricks job"
    key = "databricks_job_page"


class TriggerLogLink(_PageLink):
    """The trigger log in Catalog Explorer."""

    name = "Trigger log"
    key = "trigger_log_page"


def link_run(context: Context, workspace: str, row: LogRow) -> None:
    """Leave the pages of a request's run and job.

    :param workspace: the workspace's address; "" where the connection names no host
    """
    _leave(context, DatabricksRunLink, run_page(workspace, row.job_id, row.started_run_id))
    _leave(context, DatabricksJobLink, job_page(workspace, row.job_id))


def link_log(context: Context, workspace: str, log_table: str) -> None:
    """Leave the page of the trigger log, where its name has a catalog and a schema."""
    _leave(context, TriggerLogLink, table_page(workspace, log_table))


def _leave(context: Context, link: type[_PageLink], page: str) -> None:
    if page:
        context["ti"].xcom_push(key=link.key, value=page)
