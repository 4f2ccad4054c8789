"""The arrivals queue: requests of new users wait for their turn, so that arrivals never starve buyers.

When a sale opens, the gateway has thousands of lineups and new streams to read at once. If it served them as they come,
one iteration of the event loop would take as long as all of them together, and a gated call takes several iterations.
So each iteration takes only a few arrivals from the queue, as many as keep it short. All other requests are served at
once.

While the first connection in the queue has waited too long, the gateway refuses further arrivals and asks them to come
back. It does so directly from the request head, because an overloaded gateway must not spend its time on refusals.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

from gateway.server.head import RequestHead
from gateway.server.whole_response import WholeResponse

ARRIVALS: Final = (b"POST /api/v1/queue/lineup", b"GET /api/v1/queue/stream")
"""How these requests begin. A request line written differently is served at once: the queue decides only when to
serve."""

TARGET_ITERATION_SECONDS: Final = 0.002
"""Target time of one event-loop iteration while arrivals are queued. A gated call takes about ten iterations, including
the gate and the service. With 5 ms the gateway admits no more arrivals than with 2 ms."""

_MIN_BATCH, _INITIAL_BATCH, _MAX_BATCH = 8, 32, 256  # arrivals per iteration
_REFUSALS_PER_ARRIVAL: Final = 2  # refusals that cost about as much as serving one arrival


class QueuedConnection(Protocol):
    """A connection with a request head that may have to wait in the queue."""

    def leave_queue(self, head: bytes, /) -> bool:
        """Takes ``head`` out of the queue. Returns whether it was still waiting."""

    def process_head(self, head: bytes, /) -> None:
        """Processes the head like any other."""

    def refuse(self, head: bytes, refusal_of: RefusalOf, /) -> None:
        """Answers the head at once if it brings a new user; otherwise processes it like any other."""


RefusalOf = Callable[[RequestHead], WholeResponse | None]
"""Returns the refusal for a new user; None if the request does not bring one after all."""


class Arrivals:
    """The queue of arrivals, first come, first served.

    ``max_wait``: seconds that the first connection in the queue may have waited before further arrivals are refused (0:
    no limit). ``refusal_of``: creates the refusal.
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
        self._waiting: deque[tuple[QueuedConnection, bytes, float]] = deque()
        self._refused: deque[tuple[QueuedConnection, bytes]] = deque()
        self._batch_size = _INITIAL_BATCH
        self._served = 0
        self._scheduled = False
        self._iteration_began = 0.0

    def __len__(self) -> int:
        """How many connections wait, including those that wait for their refusal."""
        return len(self._waiting) + len(self._refused)

    def enqueue(self, connection: QueuedConnection, head: bytes) -> bool:
        """Queues ``connection`` with ``head`` if it has to wait. Returns False if it can be served at once."""
        if not self._scheduled:
            self._scheduled = True
            self._served = 0
            self._iteration_began = self._clock()
            asyncio.get_running_loop().call_soon(self._run_iteration)
        if not self._waiting and self._served < self._batch_size:
            self._served += 1
            return False
        now = self._clock()
        if self._max_wait and self._waiting and now - self._waiting[0][2] > self._max_wait:
            self._refused.append((connection, head))
        else:
            self._waiting.append((connection, head, now))
        return True

    def _run_iteration(self) -> None:
        """The next iteration of the event loop: serves the next few arrivals and refuses some."""
        now = self._clock()
        if now - self._iteration_began > TARGET_ITERATION_SECONDS:
            self._batch_size = max(_MIN_BATCH, self._batch_size * 3 // 4)
        elif self._waiting:
            self._batch_size = min(_MAX_BATCH, self._batch_size + 2)
        self._iteration_began = now
        self._served = 0
        try:
            self._serve()
        finally:
            # If one connection fails, the others still get their turn.
            self._scheduled = bool(self._waiting or self._refused)
            if self._scheduled:
                asyncio.get_running_loop().call_soon(self._run_iteration)

    def _serve(self) -> None:
        while self._waiting and self._served < self._batch_size:
            connection, head, _ = self._waiting.popleft()
            if connection.leave_queue(head):
                self._served += 1
                connection.process_head(head)
        refused = _REFUSALS_PER_ARRIVAL * self._batch_size
        while self._refused and refused:
            connection, head = self._refused.popleft()
            if connection.leave_queue(head):
                refused -= 1
                connection.refuse(head, self._refusal_of)
