"""What Airflow's provider discovery reads. It imports nothing of Airflow, because Airflow loads it while it
loads itself."""

from __future__ import annotations

from typing import Any

from databricks_file_arrivals import __version__

_INTEGRATION = "Databricks File Arrivals"


def get_provider_info() -> dict[str, Any]:
    """The provider as Airflow lists it. There is no connection type: connections are the Databricks
    provider's."""

    def modules(name: str) -> list[dict[str, Any]]:
        return [
            {"integration-name": _INTEGRATION, "python-modules": [f"databricks_file_arrivals.{name}"]},
        ]

    return {
        "package-name": "airflow-provider-databricks-file-arrivals",
        "name": _INTEGRATION,
        "description": "Runs the right Databricks job for each batch of arriving files, once, told exactly "
        "which files are its own.",
        "versions": [__version__],
        "hooks": modules("hooks"),
        "operators": modules("operators"),
        "sensors": modules("sensors"),
        "triggers": modules("triggers"),
    }
