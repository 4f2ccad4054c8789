"""The arrivals queue: requests of new users wait for their turn, so that arrivals never starve buyers.

When a sale opens, thousands of lineups and new streams are readable at once. Served as they come, each iteration of the
event loop would take as long as all of them together, and a gated call takes several iterations. So an iteration takes
a few arrivals from the queue, as many as keep it short, and all other requests are served at once. While the first of
the queue has waited too long, further arrivals are told to come back: from the head straight to the answer, because
refusing users must not be what an overloaded gateway spends its time on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

from gateway.server.head import RequestHead
from gateway.server.whole_response import WholeAnswer

ARRIVALS: Final = (b"POST /api/v1/queue/lineup", b"GET /api/v1/queue/stream")
"""How their requests begin. Written otherwise they are served like anybody's: this decides when, not whether."""

TURN_SECONDS: Final = 0.002
"""What a turn of the loop is to take while newcomers wait. A call of somebody who is in takes some ten turns, with gate
and service; and with 5 ms as many newcomers are let in as with 2."""

_FEWEST, _FIRST, _MOST = 8, 32, 256  # newcomers a turn
_REFUSED_FOR_ONE: Final = 2  # refusals that cost about as much as letting one in


class Queued(Protocol):
    """A connection with a head that may have to wait."""

    def leave_queue(self, head: bytes, /) -> bool:
        """Whether ``head`` still waits, which it no longer does then."""

    def take(self, head: bytes, /) -> None:
        """Takes the head in, as any other."""

    def refuse(self, head: bytes, refusal_of: RefusalOf, /) -> None:
        """Answers the head at once, if it is that of a new user; else takes it in."""


RefusalOf = Callable[[RequestHead], WholeAnswer | None]
"""Makes the refusal of a new user; None if the request brings none after all."""


class Arrivals:
    """Who waits to be let in, first come first served.

    ``max_wait``: seconds that the first of the lane may have waited before whoever comes is refused (0: as long as it
    takes). ``refusal_of``: makes the refusal.
    """

    def __init__(
        self,
        max_wait: float,
        refusal_of: RefusalOf,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._max_wait = max_wait
        self._refusal_of = refusal_of
        self._clock = clock
        self._waiting: deque[tuple[Queued, bytes, float]] = deque()
        self._refused: deque[tuple[Queued, bytes]] = deque()
        self._a_turn = _FIRST
        self._taken = 0
        self._turning = False
        self._began = 0.0

    def __len__(self) -> int:
        """How many wait, those included who wait to be refused."""
        return len(self._waiting) + len(self._refused)

    def keeps(self, connection: Queued, head: bytes) -> bool:
        """Whether ``connection`` has to wait with ``head``; else it goes on at once."""
        if not self._turning:
            self._turning = True
            self._taken = 0
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._turn)
        if not self._waiting and self._taken < self._a_turn:
            self._taken += 1
            return False
        now = self._clock()
        if self._max_wait and self._waiting and now - self._waiting[0][2] > self._max_wait:
            self._refused.append((connection, head))
        else:
            self._waiting.append((connection, head, now))
        return True

    def _turn(self) -> None:
        """The next turn of the loop: the next few are let in, and some are refused."""
        now = self._clock()
        if now - self._began > TURN_SECONDS:
            self._a_turn = max(_FEWEST, self._a_turn * 3 // 4)
        elif self._waiting:
            self._a_turn = min(_MOST, self._a_turn + 2)
        self._began = now
        self._taken = 0
        try:
            self._serve()
        finally:
            # Whatever goes wrong with one, the others get their turn.
            self._turning = bool(self._waiting or self._refused)
            if self._turning:
                asyncio.get_running_loop().call_soon(self._turn)

    def _serve(self) -> None:
        while self._waiting and self._taken < self._a_turn:
            connection, head, _ = self._waiting.popleft()
            if connection.leave_queue(head):
                self._taken += 1
                connection.take(head)
        refused = _REFUSED_FOR_ONE * self._a_turn
        while self._refused and refused:
            connection, head = self._refused.popleft()
            if connection.leave_queue(head):
                refused -= 1
                connection.refuse(head, self._refusal_of)
