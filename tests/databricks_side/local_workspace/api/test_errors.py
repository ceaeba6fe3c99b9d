"""Errors: the body that clients of Databricks read."""

from local_workspace.api import errors


def _all(kind: type[errors.ApiError]) -> list[type[errors.ApiError]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in _all(sub))]


def test_each_error_has_a_status_a_code_and_a_message() -> None:
    kinds = _all(errors.ApiError)
    assert len(kinds) > 8
    for kind in kinds:
        error = kind("why")
        assert 400 <= error.status <= 599
        assert error.body() == {"error_code": kind.code, "message": "why"}


def test_the_sdk_reads_them_as_its_own_classes() -> None:
    from databricks.sdk.errors import platform

    for kind in (errors.DoesNotExist, errors.InvalidParameter, errors.AlreadyExists, errors.InvalidState):
        assert kind.code in platform.ERROR_CODE_MAPPING
    for other in (errors.Unauthenticated, errors.PermissionDenied, errors.NotImplementedHere):
        assert other.status in platform.STATUS_CODE_MAPPING
