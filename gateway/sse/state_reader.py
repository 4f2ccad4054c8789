"""Reads the room for the hub: in batches, numbered, and without errors while the room is unavailable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from gateway.errors import QueueFailed, QueueUnavailable
from gateway.sse.interfaces import States, UserState
from gateway.sse.pacing import in_slices
from gateway.sse.registry import UserStreams

_log = logging.getLogger(__name__)

BATCH = 256
"""The maximum number of users in one call of ``States.statuses``."""

Tell = Callable[[UserStreams, UserState, int], object]

Told = Callable[[UserState | None, int], object]

OnRun = Callable[[str, float], None]
"""Is called with the outcome of a run over at most 256 users, ``done``, ``skipped`` (room unavailable) or ``failed``,
and with the seconds it took."""


class Reader:
    """Each read has a number, given when it begins. A read with a higher number began later, whenever its reply comes.

    ``latest`` is the last number given.
    """

    def __init__(self, states: States, on_run: OnRun) -> None:
        self._states = states
        self._on_run = on_run
        self.latest = 0

    def one(self, user: str, told: Told) -> None:
        """Reads one user's state and calls ``told(state, number)``. The state is ``None`` if the room is unavailable or
        the read failed."""
        read = self._number()
        try:
            states = self._states.status(user)
        except (QueueUnavailable, QueueFailed):
            told(None, read)
            return
        states.add_done_callback(partial(_tell, told, read))

    async def each(self, people: Sequence[UserStreams], tell: Tell) -> None:
        """Calls ``tell(person, state, number)`` for each of ``people``, in short runs.

        A batch is skipped if the room is unavailable. If it fails for another reason, that is logged as well.
        """
        for start in range(0, len(people), BATCH):
            began = perf_counter()
            outcome = "done"
            try:
                await self._batch(people[start : start + BATCH], tell)
            except QueueUnavailable:
                outcome = "skipped"
            except Exception:
                _log.exception("telling users their state failed")
                outcome = "failed"
            self._on_run(outcome, perf_counter() - began)

    async def _batch(self, people: Sequence[UserStreams], tell: Tell) -> None:
        read = self._number()
        states = await self._states.statuses([person.user for person in people])

        def pass_on(pair: tuple[UserStreams, UserState]) -> None:
            tell(*pair, read)

        await in_slices(list(zip(people, states, strict=True)), pass_on)

    def _number(self) -> int:
        self.latest += 1
        return self.latest


def _tell(told: Told, read: int, answer: asyncio.Future[Any]) -> None:
    state = None
    if not answer.cancelled():
        error = answer.exception()
        if error is None:
            state = answer.result()
        elif not isinstance(error, QueueUnavailable | QueueFailed):
            _log.error("asking for a user's state failed", exc_info=error)
    told(state, read)
