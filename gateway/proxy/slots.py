"""Limits how many requests a service gets at a time; the others wait for their turn, or are refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from gateway.errors import UpstreamBusy
from gateway.fair_places import FairPlaces
from gateway.proxy.websocket import TunnelPlace
from gateway.resilience.services import ServicePolicy

_RETRY_SECONDS: Final = 1.0


class ServiceSlots:
    """The slots of one service: ``most`` requests at a time, and ``most_waiting`` that wait, first come first
    served.

    A WebSocket holds its slot for as long as its client likes. So if all slots are taken, a request ends the newest
    WebSocket of the client with the most, unless its own client has as many.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._websockets: FairPlaces[TunnelPlace] = FairPlaces(most)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def acquire(self, seconds: float, client: str = "", websocket: TunnelPlace | None = None) -> None:
        """Takes a slot; ``release`` must follow. ``client``: whom the slot counts for; ``websocket``: its place, if it
        is one. Raises UpstreamBusy if too many wait, or if there is none within ``seconds``."""
        if self.taken >= self.most:
            await self._wait(seconds, client)
        else:
            self.taken += 1
        if websocket is not None:
            self._websockets.take(client, websocket)

    async def _wait(self, seconds: float, client: str) -> None:
        displaced = self._websockets.displace(client)
        if displaced is not None:
            displaced.give_up()
        elif len(self._waiting) >= self.most_waiting:
            raise UpstreamBusy(_RETRY_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The slot came together with the end of the wait.
                self.release()
            else:
                with suppress(ValueError):
                    self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise UpstreamBusy(_RETRY_SECONDS) from None
            raise

    def release(self, websocket: TunnelPlace | None = None) -> None:
        """Gives the slot to the next request that waits, or back. ``websocket``: as for ``acquire``."""
        if websocket is not None:
            self._websockets.leave(websocket)
        while self._waiting:
            turn = self._waiting.popleft()
            # One that gave up may not have been taken out of the line yet.
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1


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
