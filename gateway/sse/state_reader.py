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

OnUserState = Callable[[UserStreams, UserState, int], object]

OnState = Callable[[UserState | None, int], object]

OnRun = Callable[[str, float], None]
"""Is called with the outcome of a run over at most 256 users, ``done``, ``skipped`` (room unavailable) or ``failed``,
and with the seconds it took."""


class StateReader:
    """Each read has a number, given when it begins. A read with a higher number began later, whenever its reply comes.

    ``latest`` is the last number given.
    """

    def __init__(self, states: States, on_run: OnRun) -> None:
        self._states = states
        self._on_run = on_run
        self.latest = 0

    def read_one(self, user: str, on_state: OnState) -> None:
        """Reads one user's state and calls ``on_state(state, number)``. The state is ``None`` if the room is
        unavailable or the read failed."""
        read = self._next_number()
        try:
            states = self._states.status(user)
        except (QueueUnavailable, QueueFailed):
            on_state(None, read)
            return
        states.add_done_callback(partial(_deliver, on_state, read))

    async def read_each(self, entries: Sequence[UserStreams], on_state: OnUserState) -> None:
        """Calls ``on_state(entry, state, number)`` for each of ``entries``, in short runs.

        A batch is skipped if the room is unavailable. If it fails for another reason, that is logged as well.
        """
        for start in range(0, len(entries), BATCH):
            began = perf_counter()
            outcome = "done"
            try:
                await self._batch(entries[start : start + BATCH], on_state)
            except QueueUnavailable:
                outcome = "skipped"
            except Exception:
                _log.exception("telling users their state failed")
                outcome = "failed"
            self._on_run(outcome, perf_counter() - began)

    async def _batch(self, entries: Sequence[UserStreams], on_state: OnUserState) -> None:
        read = self._next_number()
        states = await self._states.statuses([entry.user for entry in entries])

        def pass_on(pair: tuple[UserStreams, UserState]) -> None:
            on_state(*pair, read)

        await in_slices(list(zip(entries, states, strict=True)), pass_on)

    def _next_number(self) -> int:
        self.latest += 1
        return self.latest


def _deliver(on_state: OnState, read: int, answer: asyncio.Future[Any]) -> None:
    state = None
    if not answer.cancelled():
        error = answer.exception()
        if error is None:
            state = answer.result()
        elif not isinstance(error, QueueUnavailable | QueueFailed):
            _log.error("asking for a user's state failed", exc_info=error)
    on_state(state, read)
