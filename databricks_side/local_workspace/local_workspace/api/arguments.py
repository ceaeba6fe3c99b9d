"""The arguments of a call, wherever the client put them: query string, JSON body, or both."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from local_workspace.api.errors import InvalidParameter, MalformedRequest


class Arguments:
    """The arguments of one call, asked for by name and type.

    Clients of Databricks send numbers as text and booleans as `True`; both are taken, as Databricks does. The
    stock Airflow hook sends the arguments of an asynchronous GET as a JSON body.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    @classmethod
    def parse(cls, query: bytes, body: bytes) -> "Arguments":
        """The arguments of a request; those of the query win."""
        values: dict[str, Any] = {}
        if body.strip():
            try:
                parsed = json.loads(body)
            except ValueError as error:
                raise MalformedRequest(f"The body is not valid JSON: {error}") from error
            if not isinstance(parsed, dict):
                raise MalformedRequest("The body has to be a JSON object.")
            values.update(parsed)
        values.update(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        return cls(values)

    def only(self, *names: str) -> None:
        """Refuse arguments that this call does not know, so that none is silently without effect."""
        unknown = sorted(set(self.values) - set(names))
        if unknown:
            raise InvalidParameter(
                f"Unknown argument {unknown[0]!r}. Known here: {', '.join(sorted(names))}."
            )

    def text(self, name: str) -> str:
        """A text that has to be there."""
        value = self.optional_text(name)
        if value is None:
            raise InvalidParameter(f"Missing required field: {name}")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None where it is missing or empty."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise InvalidParameter(f"{name} has to be a string, not {json.dumps(value)}.")
        return value

    def integer(self, name: str) -> int:
        """A whole number that has to be there."""
        value = self.optional_integer(name)
        if value is None:
            raise InvalidParameter(f"Missing required field: {name}")
        return value

    def optional_integer(self, name: str) -> int | None:
        """A whole number, or None where it is missing."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError as error:
                raise InvalidParameter(f"{name} has to be a whole number, not {value!r}.") from error
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
            raise InvalidParameter(f"{name} has to be a whole number, not {json.dumps(value)}.")
        return value

    def limit(self, name: str, default: int, most: int) -> int:
        """A page size between 1 and `most`."""
        value = self.optional_integer(name)
        if value is None:
            return default
        if not 1 <= value <= most:
            raise InvalidParameter(f"{name} has to be between 1 and {most}, not {value}.")
        return value

    def boolean(self, name: str) -> bool:
        """A yes or no; no where it is missing."""
        value = self.values.get(name)
        if value is None or value == "":
            return False
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise InvalidParameter(f"{name} has to be true or false, not {json.dumps(value)}.")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where it is missing."""
        value = self.values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InvalidParameter(f"{name} has to be an object, not {json.dumps(value)}.")
        return value

    def sequence(self, name: str) -> list[Any]:
        """A JSON array; empty where it is missing."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidParameter(f"{name} has to be an array, not {json.dumps(value)}.")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """A JSON object of texts; numbers and booleans are written as text."""
        return {key: as_text(value, f"{name}.{key}") for key, value in self.mapping(name).items()}


def as_text(value: Any, name: str) -> str:
    """A parameter's value as the text that a job gets."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise InvalidParameter(f"{name} has to be a string, not {json.dumps(value)}.")
