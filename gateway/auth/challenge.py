"""Asks an outside service whether a visitor may have a place. The gateway has no such check of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final
from weakref import WeakValueDictionary

import aiohttp

from gateway.errors import ChallengeRequired, QueueUnavailable
from gateway.name_threads import NameResolver

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
"""Questions to one service under way at a time, at most; others wait for their turn."""
MAX_WAITING: Final = 256
"""Questions to one service that wait for their turn, at most."""
MAX_WAITING_OF_CLIENT: Final = 32
"""The same for one client: a visitor who is refused may ask again at once, and would leave no turn to others."""
MAX_WAITING_OF_SITE: Final = 64
"""The same for a whole /48 of IPv6, which providers give to one customer: it holds 65,536 networks of /64."""
MAX_WAIT_SECONDS: Final = 2.0
"""How long one waits for its turn. With the longest time for an answer, 5 s, that is less than the 10 s for which
``reserve.lua`` keeps the place, and than the 8 s that the shipped proxies wait for an answer."""

BUSY_RETRY_SECONDS: Final = 5.0


class Turns:
    """The turns of the questions to one service."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._waiting = 0
        self.waiting: Counter[str] = Counter()
        """How many wait, by client and by site; those of whom none waits are left out."""

    async def take(self, client: str, site: str = "") -> bool:
        """Waits until one question less is under way. Returns whether this one may be asked: it may not if that takes
        too long, or if too many wait already. ``give_back`` must follow if it may. ``site``: to whom the client belongs
        together with others; "": to no one."""
        if self._free.locked() and (
            self.waiting[client] >= MAX_WAITING_OF_CLIENT
            or (site and self.waiting[site] >= MAX_WAITING_OF_SITE)
            or self._waiting >= MAX_WAITING
        ):
            return False
        self._waiting += 1
        counted = (client, site) if site else (client,)
        self.waiting.update(counted)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
            for each in counted:
                self.waiting[each] -= 1
                if not self.waiting[each]:
                    del self.waiting[each]
        return True

    def give_back(self) -> None:
        """The question has been answered, or is given up."""
        self._free.release()


class Challenges:
    """Asks such services, inside ``running()``. ``on_answer`` is called with the room and what came of each question:
    ``passed``, ``refused``, ``failed`` or ``busy``."""

    def __init__(self, on_answer: Callable[[str, str], None] = lambda room, outcome: None) -> None:
        self._on_answer = on_answer
        self._session: aiohttp.ClientSession | None = None
        self._turns: WeakValueDictionary[str, Turns] = WeakValueDictionary()
        """By the address of the service, while there are questions to it. A service that hangs must not hold up lineups
        in rooms that ask another one."""
        self._failing: set[str] = set()
        """Rooms whose service did not answer the last time."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Asks until the block ends."""
        # No cookies, no proxies of the environment, and connections of its own: a slow service must not hold up others.
        # ``Turns`` limits the connections to each.
        connector = aiohttp.TCPConnector(limit=0, resolver=NameResolver())
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def ask(
        self,
        url: str,
        room: str,
        visitor: str,
        address: str,
        *,
        client: str,
        site: str = "",
        seconds: float,
        fail_open: bool,
    ) -> None:
        """Asks whether ``visitor`` at ``address`` may have a place in ``room``. ``client`` and ``site``: whose
        questions count together. ``seconds``: for the whole question, from its turn on. Raises ChallengeRequired if the
        answer is not 2xx. Without an answer raises QueueUnavailable, unless ``fail_open``. Raises QueueUnavailable in
        any case if too many questions wait for their turn: otherwise many lineups at a time would pass a service that
        refuses all of them."""
        question = {"room": room, "visitor": visitor, "address": address}
        turns = self._turns.get(url)
        if turns is None:
            turns = self._turns[url] = Turns()
        if not await turns.take(client, site):
            self._on_answer(room, "busy")
            raise QueueUnavailable("too many questions wait for the challenge's service", BUSY_RETRY_SECONDS)
        try:
            status = await self._status(url, question, seconds)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._on_answer(room, "failed")
            if room not in self._failing:
                self._failing.add(room)
                log.warning(
                    "room %s: the challenge's service does not answer: %s", room, type(error).__name__
                )
            if not fail_open:
                raise QueueUnavailable("the challenge's service does not answer") from None
            return
        finally:
            turns.give_back()
        if room in self._failing:
            self._failing.discard(room)
            log.info("room %s: the challenge's service answers again", room)
        passed = 200 <= status < 300
        self._on_answer(room, "passed" if passed else "refused")
        if not passed:
            raise ChallengeRequired

    async def _status(self, url: str, question: dict[str, str], seconds: float) -> int:
        if self._session is None:
            raise OSError("closed")
        async with (
            asyncio.timeout(seconds),
            self._session.post(url, json=question, allow_redirects=False) as response,
        ):
            return response.status
