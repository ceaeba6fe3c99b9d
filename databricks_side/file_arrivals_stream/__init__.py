"""The Databricks side of databricks_file_arrivals: the stream job, and what job code imports.

>>> from file_arrivals_stream import arrived_files
>>> arrived_files(trigger_id, log_table).show()  # doctest: +SKIP
"""

from databricks_file_arrivals import __version__
from databricks_file_arrivals.core.errors import ArrivedFilesError
from file_arrivals_stream.arrived_files import arrived_files, arrived_paths
from file_arrivals_stream.deploy import deploy_framework
from file_arrivals_stream.job import run_job

__all__ = [
    "ArrivedFilesError",
    "__version__",
    "arrived_files",
    "arrived_paths",
    "deploy_framework",
    "run_job",
]
