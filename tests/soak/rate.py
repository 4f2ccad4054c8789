"""Users line up in a room with a rate, faster than it admits them. What their answers prove about the rate.

Nobody outside knows when exactly a user was admitted: it was after the last call that was answered with WAITING was
sent, and before the first answer with ALLOWED_IN. The rate is broken if more of these spans lie within some time than
the rate allows in it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.demo.rules import SWEPT, Rule
from tests.soak.caller import Caller, Say
from tests.soak.watched_rooms import PER_SECOND

_POLL_SECONDS = 0.2
_IN_LINE = 5
_POLLED = 3
_SETTLED = 1.0
"""Admissions are judged after so long, when it is known whether Redis was emptied meanwhile."""
_KEPT = 30.0


class Span(NamedTuple):
    """The time within which a user was admitted."""

    earliest: float
    latest: float


def too_many(spans: list[Span], per_second: float) -> str | None:
    """What breaks the rate, or None. The bucket holds one second's worth, and one token at least."""
    most = max(1.0, per_second)
    for begin in {span.earliest for span in spans}:
        ends = sorted(span.latest for span in spans if span.earliest >= begin)
        for count, end in enumerate(ends, 1):
            if count > most + per_second * (end - begin) + 1e-6:
                return f"{count} admitted within {end - begin:.2f} s"
    return None


@dataclass(slots=True)
class _Waiting:
    user: str
    sent: float
    """When the last call was sent that was answered with WAITING, or the first call."""
    first_since: float | None = None
    """Since when the user has been the next one."""


class Paced:
    """``say(rule, holds, what)`` takes each check. ``quiet``: seconds since the end of the last fault that blinds."""

    def __init__(self, caller: Caller, say: Say, quiet: Callable[[], float]) -> None:
        self._caller = caller
        self._say = say
        self._quiet = quiet
        self._emptied = False
        self._line: list[_Waiting] = []
        self._spans: list[Span] = []
        self._judged = 0.0

    def emptied(self) -> None:
        """Redis has been emptied."""
        self._emptied = True

    async def run(self) -> None:
        """Until cancelled."""
        for number in itertools.count(1):
            if len(self._line) < _IN_LINE:
                await self._ask(_Waiting(f"paced-{number}", time.monotonic()), "POST", "lineup")
            for waiting in self._line[:_POLLED]:
                await self._ask(waiting, "GET", "status")
            if self._emptied:
                self._emptied = False
                self._line.clear()
                self._spans.clear()
            self._judge()
            await asyncio.sleep(_POLL_SECONDS)

    async def _ask(self, waiting: _Waiting, method: str, what: str) -> None:
        sent = time.monotonic()
        status, body = await self._caller.call(method, what, waiting.user)
        state = body.get("state") if status == 200 else None
        if state == "WAITING":
            waiting.sent = sent
            if waiting not in self._line:
                self._line.append(waiting)
            self._check_progress(waiting, sent, body["data"]["userQueuePosition"])
            return
        if state == "ALLOWED_IN":
            self._spans.append(Span(waiting.sent, time.monotonic()))
        # Of others nothing is known, such as after a call without an answer. They are forgotten.
        if waiting in self._line and (state or status == 404):
            self._line.remove(waiting)

    def _check_progress(self, waiting: _Waiting, sent: float, position: int) -> None:
        """The next user is admitted when a token comes."""
        if position != 1:
            waiting.first_since = None
            return
        waiting.first_since = waiting.first_since or sent
        stands = sent - waiting.first_since
        if not self._emptied and self._quiet() > 2 * SWEPT:
            in_time = stands < 1 / PER_SECOND + SWEPT
            self._say(Rule.ORDER, in_time, f"rate: {waiting.user} has been the next for {stands:.1f} s")

    def _judge(self) -> None:
        now = time.monotonic()
        self._spans = [span for span in self._spans if span.latest > now - _KEPT]
        settled = [span for span in self._spans if span.latest < now - _SETTLED]
        if not settled or settled[-1].latest <= self._judged:
            return
        self._judged = settled[-1].latest
        found = too_many(settled, PER_SECOND)
        self._say(Rule.CAPACITY, found is None, f"rate: {found}")
