"""People as a browser would have them: calls at any gateway, and a stream that comes back when it breaks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from tests.support.gateway import Answer, Caller, Event, Stream

STREAM = aiohttp.ClientTimeout(total=None, sock_connect=2.0)
CALL = aiohttp.ClientTimeout(total=8.0)
COMES_BACK_SECONDS = 0.1
"""Less than the ``retry:`` of the gateway: who comes back soon is the harder case."""


class Person:
    """One user. ``ticket`` is what the gateway last said in answer to a lineup or a status; None: not in line."""

    def __init__(
        self, name: str, token: str, session: aiohttp.ClientSession, bases: Callable[[], Sequence[str]]
    ) -> None:
        self.name = name
        self.token = token
        self.ticket: int | None = None
        self.inside = False
        """Was told of being allowed in, and has not left since."""
        self.heard: list[tuple[float, Event]] = []
        self.openings: list[float] = []
        """When each stream so far was opened, by the loop's clock."""
        self.last: Event | None = None
        """The last frame of the stream, once it has come."""
        self._session = session
        self._bases = bases
        self._turn: Iterator[int] = itertools.count(sum(name.encode()))
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _base(self) -> str:
        bases = self._bases()
        return bases[next(self._turn) % len(bases)]

    async def call(self, method: str, path: str, *, base: str | None = None, **options: Any) -> Answer:
        """A call at one of the gateways, the next one each time. Raises ClientError or TimeoutError."""
        caller = Caller(self._session, base or self._base(), self.token)
        return await caller(method, path, timeout=CALL, **options)

    async def lineup(self, *, base: str | None = None) -> Answer:
        """Lines up and remembers what was said."""
        return self._take(await self.call("POST", "/api/v1/queue/lineup", base=base))

    async def status(self, *, base: str | None = None) -> Answer:
        """Asks, and remembers what was said."""
        return self._take(await self.call("GET", "/api/v1/queue/status", base=base))

    async def gated(self, *, base: str | None = None) -> Answer:
        """A call for which one must be allowed in."""
        return await self.call("POST", "/api/v1/reservations", base=base)

    async def leave(self, *, base: str | None = None) -> Answer:
        """Gives up the slot."""
        answer = await self.call("DELETE", "/api/v1/queue/allowed-in-token", base=base)
        if answer.status == 200:
            self.inside = False
        return answer

    async def in_the_end(self) -> Answer:
        """Lines up, whatever it takes: an answer that says nothing is followed by asking what happened."""
        ask = self.lineup
        while True:
            try:
                answer = await ask()
            except (aiohttp.ClientError, TimeoutError):
                ask = self.status
                continue
            if answer.status == 200:
                return answer
            ask = self.status if answer.status == 503 else self.lineup
            await asyncio.sleep(0.05)

    def _take(self, answer: Answer) -> Answer:
        if answer.status == 200:
            state = answer.json
            self.inside = state["state"] == "ALLOWED_IN"
            self.ticket = None if self.inside else state["data"]["ticket"]
        return answer

    # -- the stream -----------------------------------------------------------------------------------

    def watch(self) -> None:
        """Opens a stream, and another one whenever it ends without a last frame."""
        self.last = None
        self._task = asyncio.create_task(self._listen(), name=f"stream of {self.name}")

    async def close(self) -> None:
        """Closes the tab."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while self.last is None:
            headers = {"Authorization": f"Bearer {self.token}"}
            url = self._base() + "/api/v1/queue/stream"
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(url, headers=headers, timeout=STREAM) as response:
                    if response.status == 200:
                        self.openings.append(asyncio.get_running_loop().time())
                        await self._follow(Stream(response))
            if self.last is None:
                await asyncio.sleep(COMES_BACK_SECONDS)

    async def _follow(self, stream: Stream) -> None:
        while (event := await stream.next(60.0)) is not None:
            assert self.last is None, f"{event} follows the last frame {self.last}"
            self.heard.append((asyncio.get_running_loop().time(), event))
            if event.name in {"ALLOWED_IN", "ERROR"}:
                self.last = event
                self.inside = event.name == "ALLOWED_IN"
                self.ticket = None
            self._news.set()
            self._news = asyncio.Event()

    def updates(self) -> list[Any]:
        """The data of all STATUS_UPDATEs so far."""
        return [event.data for _, event in self.heard if event.name == "STATUS_UPDATE"]

    async def until(self, holds: Callable[[], object], seconds: float, what: str = "") -> None:
        """Waits for news until ``holds()``."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._news.wait()
        except TimeoutError:
            heard = [(round(at, 2), event) for at, event in self.heard[-4:]]
            raise AssertionError(
                f"{self.name} never heard {what} within {seconds:g} s; last: {heard}"
            ) from None

    async def updated(self, seconds: float) -> Any:
        """The data of the next STATUS_UPDATE."""
        known = len(self.updates())
        await self.until(lambda: len(self.updates()) > known, seconds, "a STATUS_UPDATE")
        return self.updates()[-1]

    async def says(self, truth: Mapping[str, object], seconds: float) -> None:
        """Waits for a new STATUS_UPDATE with that in it."""
        known = len(self.updates())

        def told() -> bool:
            updates = self.updates()
            return len(updates) > known and truth.items() <= updates[-1].items()

        await self.until(told, seconds, f"a STATUS_UPDATE with {truth}")

    async def told(self, seconds: float) -> Event:
        """The last frame."""
        await self.until(lambda: self.last, seconds, "a last frame")
        assert self.last is not None
        return self.last
