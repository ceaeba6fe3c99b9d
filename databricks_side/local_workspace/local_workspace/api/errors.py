"""Errors as Databricks words them: an HTTP status and a body of `error_code` and `message`.

ApiError
├── InvalidParameter      400 INVALID_PARAMETER_VALUE
├── MalformedRequest      400 MALFORMED_REQUEST
├── InvalidState          400 INVALID_STATE
├── Unauthenticated       401 UNAUTHENTICATED
├── PermissionDenied      403 PERMISSION_DENIED
├── DoesNotExist          404 RESOURCE_DOES_NOT_EXIST
├── NoSuchFile            404 NOT_FOUND
├── AlreadyExists         400 RESOURCE_ALREADY_EXISTS
├── PathTaken             409 ALREADY_EXISTS
├── FileChanged           412 PRECONDITION_FAILED
├── NoSuchRange           416 RANGE_NOT_SATISFIABLE
├── TooManyRequests       429 REQUEST_LIMIT_EXCEEDED
├── NotImplementedHere    501 NOT_IMPLEMENTED
└── Unavailable           503 TEMPORARILY_UNAVAILABLE
"""

from typing import Any, ClassVar

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN = "filesystem.databricks.com"


class ApiError(Exception):
    """Raised when a call is answered with an error; never raised as itself."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason

    def body(self) -> dict[str, Any]:
        """The answer's JSON; a reason is told where clients look for one."""
        body: dict[str, Any] = {"error_code": self.code, "message": self.message}
        if self.reason is not None:
            body["details"] = [{"@type": _ERROR_INFO, "reason": self.reason, "domain": _DOMAIN}]
        return body


class InvalidParameter(ApiError):
    """Raised when an argument has a value that Databricks refuses too."""

    status, code = 400, "INVALID_PARAMETER_VALUE"


class MalformedRequest(ApiError):
    """Raised when the body is not a JSON object."""

    status, code = 400, "MALFORMED_REQUEST"


class InvalidState(ApiError):
    """Raised when the object is not in a state that allows the call."""

    status, code = 400, "INVALID_STATE"


class Unauthenticated(ApiError):
    """Raised when the token is missing or wrong."""

    status, code = 401, "UNAUTHENTICATED"


class PermissionDenied(ApiError):
    """Raised when the principal may not do this."""

    status, code = 403, "PERMISSION_DENIED"


class DoesNotExist(ApiError):
    """Raised when the named object is not there."""

    status, code = 404, "RESOURCE_DOES_NOT_EXIST"


class JobDoesNotExist(ApiError):
    """Raised when the Jobs API is asked for a job or run that is not there."""

    # The Jobs API answers 400 with this code, and clients look at both.
    status, code = 400, "INVALID_PARAMETER_VALUE"


class NoSuchFile(ApiError):
    """Raised when the Files API is asked for a file, directory or volume that is not there."""

    # The Files API has codes of its own, and clients look at them.
    status, code = 404, "NOT_FOUND"


class AlreadyExists(ApiError):
    """Raised when an object of that name is there already."""

    status, code = 400, "RESOURCE_ALREADY_EXISTS"


class PathTaken(ApiError):
    """Raised when the Files API finds something at a path where nothing is to be."""

    status, code = 409, "ALREADY_EXISTS"


class FileChanged(ApiError):
    """Raised when a file is younger than the caller allows."""

    status, code = 412, "PRECONDITION_FAILED"


class NoSuchRange(ApiError):
    """Raised when the bytes that are asked for lie beyond the end of the file."""

    status, code = 416, "RANGE_NOT_SATISFIABLE"


class TooManyRequests(ApiError):
    """Raised when the workspace takes no more work for the moment."""

    status, code = 429, "REQUEST_LIMIT_EXCEEDED"


class NotImplementedHere(ApiError):
    """Raised when Databricks would do this and the local workspace does not; the message names it."""

    status, code = 501, "NOT_IMPLEMENTED"


class Unavailable(ApiError):
    """Raised when the engine cannot be reached; the supervisor is starting it again."""

    status, code = 503, "TEMPORARILY_UNAVAILABLE"
