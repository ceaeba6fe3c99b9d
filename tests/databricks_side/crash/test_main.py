"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash.__main__ import parser


def test_the_full_run_is_the_default() -> None:
    given = parser().parse_args([])
    assert given.kills >= 100 and given.arrivals >= 10_000 and given.seed is None
    assert given.state == Path(".state/crash").absolute()


def test_a_small_one_can_be_asked_for() -> None:
    given = parser().parse_args(["--kills", "3", "--arrivals", "50", "--seed", "7", "--minutes", "1.5"])
    assert (given.kills, given.arrivals, given.seed, given.minutes) == (3, 50, 7, 1.5)


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--kills" in text and "exit code 1 if anything was lost or told twice" in text
