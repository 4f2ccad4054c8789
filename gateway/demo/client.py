"""One person's browser: HTTP calls and an event stream, each observed as it happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from gateway.demo.seen import (
    INTERRUPTED,
    Answered,
    Call,
    Ended,
    Heard,
    Opened,
    Seen,
    Sent,
    Unanswered,
    heard,
    standing_of,
)
from gateway.demo.sse import Parser

CALL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
# Seconds to wait for the server to end a stream after its last frame.
END_PATIENCE = 2.5


class StreamEnded(Exception):
    """The server ended the stream without a last frame: come back after ``retry`` seconds."""

    def __init__(self, retry: float) -> None:
        self.retry = retry
        super().__init__(f"come back in {retry} s")


class Reply(NamedTuple):
    """An answer as observed, and its body (anything JSON; None if it was none)."""

    seen: Answered
    body: Any


class Client:
    """Speaks for one person. ``see`` gets every fact, ``http`` is shared by the whole crowd."""

    def __init__(
        self, person: int, base: str, http: aiohttp.ClientSession, see: Callable[[Seen], None]
    ) -> None:
        self.token = ""
        self._person = person
        self._base = base
        self._http = http
        self._see = see
        self._streams = 0

    async def call(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """Make one request; None if no answer came."""
        sent_headers = dict(headers or {})
        if self.token and call is not Call.ANONYMOUS:
            sent_headers["Authorization"] = f"Bearer {self.token}"
        sent = time.monotonic()
        self._see(Sent(self._person, sent, call))
        try:
            async with self._http.request(
                method, self._base + path, json=body, headers=sent_headers, timeout=CALL_TIMEOUT
            ) as response:
                raw = await response.read()
        except asyncio.CancelledError:
            self._see(Unanswered(self._person, time.monotonic(), call, sent, INTERRUPTED))
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            self._see(Unanswered(self._person, time.monotonic(), call, sent, type(error).__name__))
            return None
        at = time.monotonic()
        content = _json(raw)
        seen = Answered(
            self._person,
            at,
            call,
            sent,
            response.status,
            standing_of(content),
            identity=_identity(content) if call in (Call.GATED, Call.PAY) else "",
            retry_after=_seconds(response.headers.get("Retry-After")),
        )
        self._see(seen)
        return Reply(seen, content)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listening]:
        """Open a stream; it is closed on leaving, without a word to the server unless that has ended it.

        Raises StreamEnded if it can't be opened.
        """
        sent = time.monotonic()
        self._streams += 1
        number = self._streams
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        url = self._base + "/api/v1/queue/stream"
        try:
            response = await self._http.get(url, headers=headers, timeout=STREAM_TIMEOUT)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StreamEnded(1.0) from error
        listening = Listening(self._person, number, response, self._see)
        self._see(Opened(self._person, time.monotonic(), number, sent, response.status))
        try:
            if response.status != 200:
                raise StreamEnded(_seconds(response.headers.get("Retry-After")) or 1.0)
            yield listening
            await listening.finish()
        finally:
            response.close()
            self._see(Ended(self._person, time.monotonic(), number, by_us=not listening.at_end))


class Listening:
    """An open stream, read event by event."""

    def __init__(
        self, person: int, number: int, response: aiohttp.ClientResponse, see: Callable[[Seen], None]
    ) -> None:
        self.at_end = False
        self._person = person
        self._number = number
        self._response = response
        self._see = see
        self._parser = Parser()
        self._last: Heard | None = None

    async def last_frame(self, until: float) -> Heard | None:
        """Read on until the stream's last frame and return it; None when it is ``until`` (loop's clock) first.

        Raises StreamEnded if the server ends the stream without one.
        """
        try:
            async with asyncio.timeout_at(until):
                while self._last is None:
                    if not await self._read():
                        raise StreamEnded((self._parser.retry or 1000) / 1000)
        except TimeoutError:
            return None
        return self._last

    async def finish(self) -> None:
        """After a last frame, hear the stream out: the server should end it, and say nothing more."""
        if self._last is None:
            return
        try:
            async with asyncio.timeout(END_PATIENCE):
                while await self._read():
                    pass
        except TimeoutError:
            return

    async def _read(self) -> bool:
        """Take the next chunk; False at the end."""
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError:
            chunk = b""
        if not chunk:
            self.at_end = True
            return False
        at = time.monotonic()
        for event in self._parser.feed(chunk):
            fact = heard(self._person, at, self._number, event)
            if fact.last and self._last is None:
                self._last = fact
            self._see(fact)
        return True


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _identity(content: Any) -> str:
    return str(content.get("userId", "")) if isinstance(content, Mapping) else ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
