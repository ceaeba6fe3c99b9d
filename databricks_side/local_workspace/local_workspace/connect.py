"""The bare Connect service: does the server answer, and end a session.

Without the client's imports, which cost two seconds. gRPC itself is imported where it is used: the runner
imports this module and must never open a channel.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# sessions are keyed by user and session id: one user for all, so that any process can release any of them
USER_ID = "local"


class EngineError(RuntimeError):
    """Raised when the Spark server does not start or answer; the message ends with the tail of its log."""


@contextmanager
def _stub(remote: str) -> Iterator[Any]:
    import grpc  # type: ignore[import-untyped]
    from pyspark.sql.connect.proto.base_pb2_grpc import SparkConnectServiceStub

    with grpc.insecure_channel(remote.removeprefix("sc://").split("/")[0]) as channel:
        yield SparkConnectServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code


def answers(remote: str, timeout: float = 30) -> bool:
    """Whether the server runs a statement that needs its catalog; False when it cannot be reached in time."""
    import grpc
    from pyspark.sql.connect.proto import base_pb2, relations_pb2

    session_id = str(uuid.uuid4())
    request = base_pb2.ExecutePlanRequest(
        session_id=session_id,
        user_context=base_pb2.UserContext(user_id=USER_ID),
        plan=base_pb2.Plan(root=relations_pb2.Relation(sql=relations_pb2.SQL(query="SHOW SCHEMAS"))),
    )
    with _stub(remote) as stub:
        try:
            for _ in stub.ExecutePlan(request, timeout=timeout):
                pass
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return False
            raise EngineError(f"The Spark server refuses a statement: {error.details()}") from error
    release(remote, session_id)
    return True


def release(remote: str, session_id: str, timeout: float = 60) -> bool:
    """End a session and whatever runs in it, streaming queries included; False when the server is gone.

    Never call it in a process that forks afterwards: gRPC does not survive a fork.
    """
    import grpc
    from pyspark.sql.connect.proto import base_pb2

    request = base_pb2.ReleaseSessionRequest(
        session_id=session_id, user_context=base_pb2.UserContext(user_id=USER_ID)
    )
    with _stub(remote) as stub:
        try:
            stub.ReleaseSession(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                return False
            raise EngineError(f"Session {session_id} could not be released: {error.details()}") from error
    return True
