"""Newcomers wait in a lane of their own, so that arrivals never starve buyers.

When a sale opens, thousands of lineups and new streams are readable at once. Served as they come, each turn of the loop
would take as long as all of them together, and a call of somebody who is in takes several turns. So a turn takes a few
newcomers from the lane, as many as keep it short, and everybody else's requests are served at once. Whoever comes while
the first of the lane has waited too long is told to come back: from the parsed head straight to the answer, because
refusing people must not be what an overloaded gateway spends its time on.

Inner parts relied on, all of aiohttp 3.14: ``RequestHandler._waiter``, ``_messages``, ``_parser``,
``_request_factory``, ``_task_handler``, ``_keepalive``, ``_keepalive_handle``, ``_next_keepalive_close_time`` and
``_process_keepalive``.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from aiohttp import web
from aiohttp.http_writer import StreamWriter

from gateway.server.whole_response import WholeAnswer
from gateway.server.write_timeout import ReaderWatch

NEWCOMERS: Final = (b"POST /api/v1/queue/lineup", b"GET /api/v1/queue/stream")
"""How their requests begin. Written otherwise they are served like anybody's: this decides when, not whether."""

TURN_SECONDS: Final = 0.002
"""What a turn of the loop is to take while newcomers wait. A call of somebody who is in takes some ten turns, with gate
and service; and with 5 ms as many newcomers are let in as with 2."""

_FEWEST, _FIRST, _MOST = 8, 32, 256  # newcomers a turn
_REFUSED_FOR_ONE: Final = 2  # refusals that cost about as much as letting one in


AnswerOf = Callable[[web.BaseRequest], WholeAnswer | None]
"""Makes the refusal of a newcomer; None if the request is none of a newcomer after all."""


class Laned(ReaderWatch):
    """A connection whose newcomers may have to wait in ``_lane``."""

    __slots__ = ("_lane", "_laned")

    _lane: Lane | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._laned = b""
        """A whole head that waits in the lane."""

    def waits(self, data: bytes) -> bool:
        """Whether ``data``, a whole head, has to wait in the lane now."""
        if self._lane is None or not data.startswith(NEWCOMERS) or not self._lane.keeps(self, data):
            return False
        self._laned = data
        return True

    def leave_lane(self, data: bytes) -> bool:
        """Whether ``data`` still waits, which it no longer does then."""
        if self._laned is not data:
            return False
        self._laned = b""
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Waits for nothing any more."""
        self._laned = b""
        super().connection_lost(exc)

    @abstractmethod
    def take(self, data: bytes) -> None:
        """Takes in ``data``, a whole head; nothing is unfinished before it."""

    def refuse_newcomer(self, data: bytes, answer_of: AnswerOf) -> None:
        """Answers ``data``, a whole head, at once, if that is all there is to it; else it goes the usual way."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.take(data)
            return
        # Nobody is woken up for what is answered here.
        self._waiter = None
        try:
            self.take(data)
        finally:
            self._waiter = waiter
        if not self._answered(answer_of) and self._messages and not waiter.done():
            waiter.set_result(None)

    def _answered(self, answer_of: AnswerOf) -> bool:
        transport, parser = self.transport, self._parser
        if transport is None or parser is None or len(self._messages) != 1 or self.writing_paused:
            return False
        message: Any
        message, payload = self._messages[0]
        # What could not be read has no such attribute.
        if not payload.is_eof() or getattr(message, "upgrade", True) or self._request_factory is None:
            return False
        task: Any = self._task_handler
        request = self._request_factory(message, payload, self, StreamWriter(self, self._loop), task)
        answer = answer_of(request)
        if answer is None:
            return False
        self._messages.clear()
        parser.message_consumed()
        transport.write(answer.whole(request))
        if not request.keep_alive:
            self.close()
            transport.close()
            return True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._keepalive = True
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        return True


class Lane:
    """Who waits to be let in, first come first served.

    ``patience``: seconds that the first of the lane may have waited before whoever comes is refused (0: as long as it
    takes). ``answer_of``: makes the refusal.
    """

    def __init__(
        self,
        patience: float,
        answer_of: AnswerOf,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._patience = patience
        self._answer_of = answer_of
        self._clock = clock
        self._waiting: deque[tuple[Laned, bytes, float]] = deque()
        self._refused: deque[tuple[Laned, bytes]] = deque()
        self._a_turn = _FIRST
        self._taken = 0
        self._turning = False
        self._began = 0.0

    def __len__(self) -> int:
        """How many wait, those included who wait to be refused."""
        return len(self._waiting) + len(self._refused)

    def keeps(self, connection: Laned, head: bytes) -> bool:
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
        if self._patience and self._waiting and now - self._waiting[0][2] > self._patience:
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
            if connection.leave_lane(head):
                self._taken += 1
                connection.take(head)
        refused = _REFUSED_FOR_ONE * self._a_turn
        while self._refused and refused:
            connection, head = self._refused.popleft()
            if connection.leave_lane(head):
                refused -= 1
                connection.refuse_newcomer(head, self._answer_of)
