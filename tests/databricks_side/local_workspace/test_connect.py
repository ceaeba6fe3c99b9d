"""The bare service: is it there, and end a session."""

from __future__ import annotations

import socket
import uuid

import pytest
from pyspark.errors import PySparkException

from local_workspace.connect import EngineError, answers, release
from local_workspace.engine import Engine, free_port
from local_workspace.runtime import session


def test_a_server_that_is_there_answers(engine: Engine) -> None:
    assert answers(engine.remote)


def test_one_that_is_not_does_not() -> None:
    nobody = f"sc://127.0.0.1:{free_port()}"
    assert not answers(nobody, timeout=5)
    assert not release(nobody, str(uuid.uuid4()), timeout=5)


def test_a_released_session_is_over(engine: Engine) -> None:
    opened = session(engine.remote, engine.state)
    opened.range(1).collect()
    assert release(engine.remote, opened.session_id)
    with pytest.raises(PySparkException, match="SESSION"):
        opened.range(1).collect()
    assert release(engine.remote, opened.session_id)  # a second time, or of one never opened: no effect
    assert release(engine.remote, str(uuid.uuid4()))


def test_a_server_that_hears_and_does_not_answer_is_an_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(EngineError, match="could not be released: Deadline"):
            release(f"sc://127.0.0.1:{silent.getsockname()[1]}", str(uuid.uuid4()), timeout=0.5)
