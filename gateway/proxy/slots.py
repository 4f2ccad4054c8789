"""Limits how many requests a service gets at a time; the others wait for their turn, or are refused."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from gateway.errors import UpstreamBusy
from gateway.fair_places import FairPlaces
from gateway.proxy.websocket import TunnelPlace
from gateway.resilience.services import ServicePolicy

_RETRY_SECONDS: Final = 1.0

Turn = asyncio.Future[None]

Rank = tuple[int, int, int]
"""How many slots a client has, the number of the last one that it got by waiting (0: none), and that of its first
request that waits. The lowest is next."""

_MOST_OUTDATED: Final = 2
"""As many times the clients that wait, and some more, may be in the order of ranks before it is cleared."""


class ServiceSlots:
    """The slots of one service: ``most`` requests at a time, and ``most_waiting`` that wait.

    A free slot goes to the client with the fewest slots; among equals, to the one whose last slot is the longest ago.
    If as many requests wait as may, clients share the places evenly: see ``FairPlaces``. So no client keeps the others
    from the service.

    A WebSocket holds its slot for as long as its client likes. So if all slots are taken, a request ends the newest
    WebSocket of the client with the most, unless its own client has and wants as many slots.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.taken = 0
        self.taken_by: Counter[str] = Counter()
        """How many slots each client has; clients without any are left out."""
        self._places: FairPlaces[Turn] = FairPlaces(most_waiting)
        self._waiting: dict[str, OrderedDict[Turn, int]] = {}
        """By client, the requests that wait, in the order in which they came, each with its number. The first of a
        plain dictionary takes the longer to find, the more have left before it."""
        self._client_of: dict[Turn, str] = {}
        self._ranks: list[tuple[Rank, str]] = []
        """A heap of the clients that wait. Whenever the rank of a client changes, an entry is added, and those before
        it are outdated. Thousands of requests may wait, and no method looks at all of them."""
        self._came = 0
        self._given = 0
        self._last: dict[str, int] = {}
        """By client: the number of the last slot that the client got by waiting. Clients that neither have a slot nor
        wait are left out."""
        self._websockets: FairPlaces[TunnelPlace] = FairPlaces(most)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._client_of)

    async def acquire(self, seconds: float, client: str = "", websocket: TunnelPlace | None = None) -> None:
        """Takes a slot; ``release`` must follow. ``client``: whom the slot counts for; ``websocket``: its place, if it
        is one. Raises UpstreamBusy if too many wait, if there is none within ``seconds``, or if another client needs
        the place to wait in."""
        if self.taken >= self.most:
            await self._wait(seconds, client)
        else:
            self.taken += 1
            self.taken_by[client] += 1
        if websocket is not None:
            self._websockets.take(client, websocket)

    async def _wait(self, seconds: float, client: str) -> None:
        turn: Turn = asyncio.get_running_loop().create_future()
        # All requests of its own client count: many slow ones must not end the WebSockets of all others.
        ended = self._websockets.displace(client, self.taken_by[client] + len(self._waiting.get(client, ())))
        if ended is not None:
            # A slot comes for it, so it needs no place.
            ended.give_up()
        else:
            self._take_place(client, turn)
        self._came += 1
        self._waiting.setdefault(client, OrderedDict())[turn] = self._came
        self._client_of[turn] = client
        self._ranked(client)
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

    def _take_place(self, client: str, turn: Turn) -> None:
        placed, displaced = self._places.take(client, turn)
        if not placed:
            raise UpstreamBusy(_RETRY_SECONDS)
        if displaced is not None:
            self._leave(displaced)
            if not displaced.done():
                displaced.set_exception(UpstreamBusy(_RETRY_SECONDS))

    def _leave(self, turn: Turn) -> None:
        self._places.leave(turn)
        client = self._client_of.pop(turn, None)
        if client is None:
            return
        line = self._waiting[client]
        del line[turn]
        if not line:
            del self._waiting[client]
        self._ranked(client)
        self._forget(client)

    def _forget(self, client: str) -> None:
        """Drops what is remembered of a client who has nothing here any more."""
        if client not in self.taken_by and client not in self._waiting:
            self._last.pop(client, None)

    def release(self, client: str = "", websocket: TunnelPlace | None = None) -> None:
        """Gives the slot to the next request that waits, or back. The rest is as for ``acquire``."""
        if websocket is not None:
            self._websockets.leave(websocket)
        self.taken_by[client] -= 1
        if not self.taken_by[client]:
            del self.taken_by[client]
        self._ranked(client)
        while self._waiting:
            owner = self._next_client()
            turn = next(iter(self._waiting[owner]))
            # One that gave up may not have been taken out of the line yet.
            if turn.done():
                self._leave(turn)
                continue
            self.taken_by[owner] += 1
            self._given += 1
            self._last[owner] = self._given
            self._leave(turn)
            turn.set_result(None)
            break
        else:
            self.taken -= 1
        self._forget(client)

    def _rank(self, client: str) -> Rank:
        line = self._waiting[client]
        return self.taken_by[client], self._last.get(client, 0), line[next(iter(line))]

    def _ranked(self, client: str) -> None:
        """The rank of a client has changed, if it waits at all."""
        if client not in self._waiting:
            return
        heappush(self._ranks, (self._rank(client), client))
        if len(self._ranks) > _MOST_OUTDATED * len(self._waiting) + 100:
            self._ranks = [(self._rank(each), each) for each in self._waiting]
            heapify(self._ranks)

    def _next_client(self) -> str:
        """The client whose turn it is, of those that wait."""
        while True:
            rank, client = self._ranks[0]
            if client in self._waiting and rank == self._rank(client):
                return client
            heappop(self._ranks)


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
