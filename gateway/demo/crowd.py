"""The crowd: everybody comes to the sale, each with a browser of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from gateway.demo.behaviour import Person
from gateway.demo.client import Client
from gateway.demo.plan import Limits
from gateway.demo.sale import Sale
from gateway.demo.seen import Finished, Seen
from gateway.demo.visit import Visit


class Crowd:
    """Everybody, and the sale they come to."""

    def __init__(
        self, people: Sequence[Person], limits: Limits, base: str, see: Callable[[Seen], None]
    ) -> None:
        self._people = people
        self._limits = limits
        self._base = base
        self._see = see

    async def run(self, sale: Sale) -> None:
        """Send everybody to ``sale``; done when the last one has left."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            for person in self._people:
                group.create_task(self._visit(person, http, sale))

    async def _visit(self, person: Person, http: aiohttp.ClientSession, sale: Sale) -> None:
        client = Client(person.number, self._base, http, self._see)
        outcome = await Visit(person, client, self._limits, sale).run()
        self._see(Finished(person.number, asyncio.get_running_loop().time(), outcome))
