"""Limits how many requests a service gets at a time; the others wait for their turn, or are refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from gateway.errors import UpstreamBusy
from gateway.fair_places import FairPlaces
from gateway.resilience.services import ServicePolicy

_RETRY_SECONDS: Final = 1.0

Turn = asyncio.Future[None]


class ServiceSlots:
    """The slots of one service: ``most`` requests at a time, and ``most_waiting`` that wait.

    A free slot goes to the client who has the fewest; of those who have equally many, to the one who got none for the
    longest time. If as many requests wait as may, clients share the places evenly: see ``FairPlaces``. So no client
    keeps the others from the service.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.taken = 0
        self.taken_by: Counter[str] = Counter()
        """How many slots each client has; clients without any are left out."""
        self._places: FairPlaces[Turn] = FairPlaces(most_waiting)
        self._waiting: dict[Turn, str] = {}
        """The client of each request that waits, in the order in which they came."""
        self._given = 0
        self._last: dict[str, int] = {}
        """The number of the last slot that each client got by waiting, of those who have one or wait."""

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def acquire(self, seconds: float, client: str = "") -> None:
        """Takes a slot for ``client``; ``release`` must follow. Raises UpstreamBusy if too many wait, if there is none
        within ``seconds``, or if another client needs the place to wait in."""
        if self.taken < self.most:
            self.taken += 1
            self.taken_by[client] += 1
            return
        turn: Turn = asyncio.get_running_loop().create_future()
        placed, displaced = self._places.take(client, turn)
        if not placed:
            raise UpstreamBusy(_RETRY_SECONDS)
        if displaced is not None:
            self._leave(displaced)
            if not displaced.done():
                displaced.set_exception(UpstreamBusy(_RETRY_SECONDS))
        self._waiting[turn] = client
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            self._leave(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The slot came together with the end of the wait.
                self.release(client)
            if isinstance(error, TimeoutError):
                raise UpstreamBusy(_RETRY_SECONDS) from None
            raise

    def _leave(self, turn: Turn) -> None:
        client = self._waiting.pop(turn, None)
        self._places.leave(turn)
        if client is not None and client not in self.taken_by and not self._places.count(client):
            self._last.pop(client, None)

    def release(self, client: str = "") -> None:
        """Gives the slot that ``client`` has to the next request that waits, or back."""
        self.taken_by[client] -= 1
        if not self.taken_by[client]:
            del self.taken_by[client]
        while self._waiting:
            turn, owner = min(self._waiting.items(), key=self._rank)
            self._leave(turn)
            # One that gave up may not have been taken out of the line yet.
            if not turn.done():
                self.taken_by[owner] += 1
                self._given += 1
                self._last[owner] = self._given
                turn.set_result(None)
                break
        else:
            self.taken -= 1
        if client not in self.taken_by and not self._places.count(client):
            self._last.pop(client, None)

    def _rank(self, waiting: tuple[Turn, str]) -> tuple[int, int]:
        client = waiting[1]
        return self.taken_by[client], self._last.get(client, 0)


def slots_of(
    policies: Mapping[str, ServicePolicy], before: Mapping[str, ServiceSlots]
) -> dict[str, ServiceSlots]:
    """The slots of all services that have a limit. Those of ``before`` stay if their limits are the same."""
    slots: dict[str, ServiceSlots] = {}
    for service, policy in policies.items():
        if policy.max_connections:
            known = before.get(service)
            same = known is not None and (known.most, known.most_waiting) == (
                policy.max_connections,
                policy.max_waiting,
            )
            slots[service] = (
                known
                if known is not None and same
                else ServiceSlots(policy.max_connections, policy.max_waiting)
            )
    return slots
