"""What Airflow's provider discovery reads. It imports nothing of Airflow, because Airflow loads it while it
loads itself."""

from __future__ import annotations

from typing import Any

from databricks_file_arrivals import __version__
from databricks_file_arrivals.core.asset_events import SCHEME
from databricks_file_arrivals.core.config_options import OPTIONS, SECTION, Option

_INTEGRATION = "Databricks File Arrivals"


def get_provider_info() -> dict[str, Any]:
    """The provider as Airflow lists it. There is no connection type: connections are the Databricks
    provider's."""

    def modules(*names: str) -> list[dict[str, Any]]:
        found = [f"databricks_file_arrivals.{name}" for name in names]
        return [{"integration-name": _INTEGRATION, "python-modules": found}]

    uris = [
        {"schemes": [SCHEME], "handler": "databricks_file_arrivals.core.asset_events.sanitize_uri"},
    ]
    return {
        "package-name": "airflow-provider-databricks-file-arrivals",
        "name": _INTEGRATION,
        "description": "Runs the right Databricks job for each batch of arriving files, once, told exactly "
        "which files are its own.",
        "versions": [__version__],
        "hooks": modules("hooks"),
        "operators": modules("operators", "replays"),
        "sensors": modules("sensors"),
        "triggers": modules("triggers"),
        "extra-links": [
            f"databricks_file_arrivals.links.{name}"
            for name in ("DatabricksRunLink", "DatabricksJobLink", "TriggerLogLink")
        ],
        "asset-uris": uris,
        "dataset-uris": uris,  # Airflow 2 reads these
        "config": {
            SECTION: {
                "description": "Defaults of this provider's operators, read when a task runs.",
                "options": {option.name: _described(option) for option in OPTIONS},
            }
        },
    }


def _described(option: Option) -> dict[str, Any]:
    return {
        "description": option.description,
        "version_added": option.version_added,
        "type": "integer" if option.whole else "float",
        "example": None,
        "default": str(option.default),
    }
