"""What is due is said, however many words are lost; and not more often than it must be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from databricks_file_arrivals.core.insistence import FIRST_PAUSE, LONGEST_PAUSE, Insistence, Step


def said_at(insistence: Insistence, moments: list[tuple[float, bool, int]]) -> list[float]:
    """When it speaks, of moments of (time, due, epoch)."""
    found = []
    for now, due, epoch in moments:
        if insistence.step(due, epoch, now) is not Step.WAIT:
            insistence.said(epoch, now)
            found.append(now)
    return found


def test_it_says_it_at_once_and_again_with_pauses_that_double() -> None:
    found = said_at(Insistence(), [(float(s), True, 1) for s in range(3000)])
    pauses = [b - a for a, b in pairwise(found)]
    assert found[0] == 0 and pauses[:5] == [30, 60, 120, 240, 480] and max(pauses) == LONGEST_PAUSE


def test_what_is_due_after_a_claim_is_said_at_once() -> None:
    assert said_at(Insistence(), [(0, True, 1), (1, True, 1), (2, True, 2), (3, True, 2)]) == [0, 2]


def test_what_was_done_and_is_due_anew_is_said_at_once() -> None:
    assert said_at(Insistence(), [(0, True, 1), (1, False, 2), (2, True, 2)]) == [0, 2]


def test_a_trickle_is_collected() -> None:
    trickle = [(float(s), True, s // 20) for s in range(100)]  # claimed every 20 s, and always more
    assert said_at(Insistence(linger=10), trickle) == [10, 30, 50, 70, 90]


def test_again_is_told_from_the_first_time() -> None:
    made = Insistence()
    assert made.step(True, 1, 0) is Step.SAY
    made.said(1, 0)
    assert made.step(True, 1, 29) is Step.WAIT
    assert made.step(True, 1, 30) is Step.AGAIN


@given(
    before=st.lists(st.tuples(st.floats(0, 60), st.booleans(), st.integers(0, 1)), max_size=20),
    waits=st.lists(st.floats(0.1, 60), min_size=1, max_size=60),
    linger=st.sampled_from([0.0, 5.0]),
)
def test_nothing_stays_unsaid_and_nobody_is_flooded(
    before: list[tuple[float, bool, int]], waits: list[float], linger: float
) -> None:
    """Whatever was before: what stays due after a claim is said once its linger is over, and then again with
    pauses within their bounds."""
    made = Insistence(linger)
    now, epoch = 0.0, 0
    for seconds, due, claims in before:
        now, epoch = now + seconds, epoch + claims
        said_at(made, [(now, due, epoch)])
    moments = []
    for seconds in waits:
        moments.append((now, True, epoch + 1))
        now += seconds
    found = said_at(made, moments)
    times = [moment for moment, _, _ in moments]
    lingering = [moment for moment in times if moment >= times[0] + linger]
    assert found[:1] == lingering[:1] or (found and found[0] <= lingering[0])
    for one, other in pairwise(found):
        assert other - one >= FIRST_PAUSE
        assert all(moment < one + LONGEST_PAUSE for moment in times if one < moment < other)
