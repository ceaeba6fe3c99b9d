"""When to say that something is due, and when to say it again: nothing is lost when a word is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds until a word that nobody took up is said again: they double."""


class Step(Enum):
    """What to do now. AGAIN: make sure that it is still so, and say it again."""

    WAIT = "wait"
    SAY = "say"
    AGAIN = "again"


@dataclass(slots=True)
class Insistence:
    """Says a thing at once, and again with growing pauses while it stays true and nothing is done about it.

    `epoch` tells that something was done: it grows with each claim. What is due after a claim is said at
    once. Times are in seconds, of one clock.
    """

    linger: float = 0.0
    """For how long arrivals are collected before they are spoken of."""
    first_pause: float = FIRST_PAUSE
    longest_pause: float = LONGEST_PAUSE
    _since: float | None = field(default=None, init=False)
    _said: float | None = field(default=None, init=False)
    _epoch: int = field(default=-1, init=False)
    _pause: float = field(default=0.0, init=False)

    def step(self, due: bool, epoch: int, now: float) -> Step:
        """What to do, now that it is known whether something is due."""
        if not due:
            self._since = self._said = None
            return Step.WAIT
        if self._said is None or epoch > self._epoch:
            self._since = now if self._since is None else self._since
            return Step.SAY if now >= self._since + self.linger else Step.WAIT
        return Step.AGAIN if now >= self._said + self._pause else Step.WAIT

    def said(self, epoch: int, now: float) -> None:
        """Remember that it was said."""
        again = self._said is not None and epoch <= self._epoch
        self._pause = min(self._pause * 2, self.longest_pause) if again else self.first_pause
        self._said, self._epoch, self._since = now, epoch, None
