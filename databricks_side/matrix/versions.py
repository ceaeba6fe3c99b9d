"""The Airflows of the matrix: what a plain installation of each holds, as Airflow's own constraints pin it.

A release's constraints are the newest packages of the moment they were made, less what some provider holds
back. So a moment and the few pins that were held back give the same environment: for those that Amazon MWAA
has, each package was compared with the constraints in the public sources of its images
(aws/amazon-mwaa-docker-images), and none differed. For 3.1.7 no such file was at hand: its moment is that of
its release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demo.processes import DemoError

AIRFLOW_ITSELF = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
"""Released after its own constraints were made."""


@dataclass(frozen=True, slots=True)
class Version:
    """One Airflow: the stock Databricks provider and the Python that its users have it with.

    `constrained`: when its constraints were made, in UTC. `pins`: what they hold back. `missing`: what the
    stock provider imports without asking for it. `end_to_end`: whether files land and jobs run in it too.
    """

    airflow: str
    databricks: str
    python: str
    where: str
    constrained: str
    pins: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    end_to_end: bool = False

    @property
    def major(self) -> int:
        """2 or 3."""
        return int(self.airflow.split(".")[0])


VERSIONS = (
    Version(
        airflow="2.11.0",
        databricks="7.4.0",
        python="3.12",
        where="MWAA",
        constrained="2025-05-19T22:10:51Z",
        pins=("httpx==0.27.2", "importlib-metadata==6.11.0", "jmespath==0.10.0", "thrift==0.16.0"),
    ),
    Version(
        airflow="2.11.2",
        databricks="7.10.0",
        python="3.12",
        where="MWAA",
        constrained="2026-03-08T06:42:28Z",
        pins=(
            *("cryptography==44.0.3", "importlib-metadata==6.11.0", "jmespath==0.10.0", "jsonschema==4.24.1"),
            *("numpy==1.26.4", "pandas==2.1.4", "protobuf==5.29.6", "pyarrow==22.0.0", "thrift==0.16.0"),
        ),
        # 7.10 and 7.11 of the stock provider cannot be imported without it (apache/airflow#63518).
        missing=("aiofiles==24.1.0",),
        end_to_end=True,
    ),
    Version(
        airflow="3.0.6",
        databricks="7.7.1",
        python="3.12",
        where="MWAA",
        constrained="2025-08-23T18:07:05Z",
        pins=(
            *("cryptography==42.0.8", "databricks-sqlalchemy==1.0.2", "dill==0.3.1.1", "flask==2.2.5"),
            *("grpcio==1.65.5", "importlib-metadata==8.4.0", "numpy==1.26.4", "opentelemetry-api==1.27.0"),
            *("opentelemetry-sdk==1.27.0", "pandas==2.1.4", "protobuf==4.25.8", "pyarrow==18.1.0"),
            *("rich==13.9.4", "thrift==0.16.0", "werkzeug==2.2.3"),
        ),
        end_to_end=True,
    ),
    Version(
        airflow="3.1.7",
        databricks="7.9.0",
        python="3.11",
        where="Composer",
        constrained="2026-02-04T11:33:30Z",
    ),
    Version(
        airflow="3.2.1",
        databricks="7.12.1",
        python="3.12",
        where="MWAA",
        constrained="2026-04-21T00:39:48Z",
        pins=(
            *("cadwyn==6.2.0", "pydantic==2.13.1", "pydantic-settings==2.13.1", "rich==13.9.4"),
            "thrift==0.16.0",
        ),
    ),
    Version(
        airflow="3.3.1",
        databricks="7.18.1",
        python="3.12",
        where="MWAA",
        constrained="2026-08-12T08:36:04Z",
        pins=(
            *("alembic==1.19.0", "cachetools==6.2.6", "greenlet==3.5.4", "grpcio==1.78.0"),
            *("importlib-metadata==8.9.0", "numpy==2.5.1", "protobuf==6.33.6", "pyarrow==25.0.0"),
            *("rich==14.3.4", "sqlalchemy==2.0.51", "starlette==1.5.0", "typing-inspection==0.4.2"),
            "websockets==16.1.1",
        ),
        end_to_end=True,
    ),
)


def chosen(names: Sequence[str]) -> list[Version]:
    """The versions of these names, `3.3` for all of 3.3; all when none is named. Raises DemoError."""
    unknown = [name for name in names if not any(_named(version, name) for version in VERSIONS)]
    if unknown:
        known = ", ".join(version.airflow for version in VERSIONS)
        raise DemoError(f"{', '.join(unknown)}: not in the matrix, which has {known}.")
    return [version for version in VERSIONS if not names or any(_named(version, name) for name in names)]


def _named(version: Version, name: str) -> bool:
    return f"{version.airflow}.".startswith(f"{name}.")
