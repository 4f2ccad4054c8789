"""The client of one person: HTTP calls and an event stream, each reported as observations."""

from __future__ import annotations

import asyncio
import codecs
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp

from gateway.demo.observations import (
    INTERRUPTED,
    Call,
    EventReceived,
    Observation,
    QueueStatus,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    StreamClosed,
    StreamOpened,
)

CALL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
# Seconds to wait for the server to end a stream after its last frame.
END_PATIENCE = 2.5


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event. ``id`` is the last one the stream has set so far ("" if none)."""

    name: str
    data: str
    id: str


class EventParser:
    """An incremental parser of server-sent events (HTML standard, 9.2.6). A chunk may end anywhere.

    ``retry``: the reconnection time that the server asked for last, in milliseconds (None: never). ``last_event_id``:
    what a reconnection would send.
    """

    __slots__ = (
        "_data",
        "_decoder",
        "_line",
        "_name",
        "_skip_lf",
        "_started",
        "last_event_id",
        "retry",
    )

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._skip_lf = False
        self._started = False
        self._name = ""
        self._data: list[str] = []
        self.retry: int | None = None
        self.last_event_id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete, in order."""
        text = self._decoder.decode(chunk)
        if not self._started and text:
            self._started = True
            text = text.removeprefix("\ufeff")
        events = []
        for line in self._lines(text):
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _lines(self, text: str) -> list[str]:
        # A line ends with CR, LF or CRLF, and a chunk may end between the two: then the LF that opens
        # the next chunk belongs to the line already seen.
        if self._skip_lf and text:
            text = text.removeprefix("\n")
            self._skip_lf = False
        if text.endswith("\r"):
            self._skip_lf = True
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = self._line + lines[0]
            self._line = rest
        else:
            self._line += rest
        return lines

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self.last_event_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        if not data:
            return None
        return Event(name or "message", "\n".join(data), self.last_event_id)


class StreamInterrupted(Exception):
    """The stream ended without a last frame, or could not be opened: reconnect after ``retry`` seconds."""

    def __init__(self, retry: float) -> None:
        self.retry = retry
        super().__init__(f"come back in {retry} s")


class Reply(NamedTuple):
    """A response as an observation, and its body (any JSON value; None if it is no JSON)."""

    observed: ResponseReceived
    body: Any


class Client:
    """Makes the requests of one person. ``observe`` gets every observation; the crowd shares ``http``."""

    def __init__(
        self, person: int, base: str, http: aiohttp.ClientSession, observe: Callable[[Observation], None]
    ) -> None:
        self.token = ""
        self._person = person
        self._base = base
        self._http = http
        self._observe = observe
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
        self._observe(RequestSent(self._person, sent, call))
        try:
            async with self._http.request(
                method, self._base + path, json=body, headers=sent_headers, timeout=CALL_TIMEOUT
            ) as response:
                raw = await response.read()
        except asyncio.CancelledError:
            self._observe(RequestFailed(self._person, time.monotonic(), call, sent, INTERRUPTED))
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            self._observe(RequestFailed(self._person, time.monotonic(), call, sent, type(error).__name__))
            return None
        at = time.monotonic()
        content = _json(raw)
        observed = ResponseReceived(
            self._person,
            at,
            call,
            sent,
            response.status,
            parse_queue_status(content),
            identity=_identity(content) if call in (Call.GATED, Call.PAY) else "",
            retry_after=_seconds(response.headers.get("Retry-After")),
        )
        self._observe(observed)
        return Reply(observed, content)

    @asynccontextmanager
    async def open_stream(self) -> AsyncIterator[EventStream]:
        """Open a stream, and close its connection on leaving.

        Raises StreamInterrupted if it can't be opened.
        """
        sent = time.monotonic()
        self._streams += 1
        number = self._streams
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        url = self._base + "/api/v1/queue/stream"
        try:
            response = await self._http.get(url, headers=headers, timeout=STREAM_TIMEOUT)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StreamInterrupted(1.0) from error
        stream = EventStream(self._person, number, response, self._observe)
        self._observe(StreamOpened(self._person, time.monotonic(), number, sent, response.status))
        try:
            if response.status != 200:
                raise StreamInterrupted(_seconds(response.headers.get("Retry-After")) or 1.0)
            yield stream
            await stream.finish()
        finally:
            response.close()
            self._observe(StreamClosed(self._person, time.monotonic(), number, by_us=not stream.at_end))


class EventStream:
    """An open stream, read event by event."""

    def __init__(
        self,
        person: int,
        number: int,
        response: aiohttp.ClientResponse,
        observe: Callable[[Observation], None],
    ) -> None:
        self.at_end = False
        self._person = person
        self._number = number
        self._response = response
        self._observe = observe
        self._parser = EventParser()
        self._last: EventReceived | None = None

    async def last_frame(self, until: float) -> EventReceived | None:
        """Read to the stream's last frame and return it; None if ``until`` (loop's clock) comes first.

        Raises StreamInterrupted if the server ends the stream without a last frame.
        """
        try:
            async with asyncio.timeout_at(until):
                while self._last is None:
                    if not await self._read():
                        raise StreamInterrupted((self._parser.retry or 1000) / 1000)
        except TimeoutError:
            return None
        return self._last

    async def finish(self) -> None:
        """After a last frame, read to the end: the server should send nothing more, and end the stream."""
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
            observation = parse_event(self._person, at, self._number, event)
            if observation.last and self._last is None:
                self._last = observation
            self._observe(observation)
        return True


def parse_queue_status(body: Any) -> QueueStatus:
    """Read the envelope of a queue response or of an error; the empty status for anything else."""
    if not isinstance(body, Mapping):
        return QueueStatus()
    data = body.get("data")
    error = body.get("error")
    place = data if isinstance(data, Mapping) else {}
    return QueueStatus(
        state=str(body.get("state", "")),
        ticket=place.get("ticket"),
        position=place.get("userQueuePosition"),
        total=place.get("totalQueueSize"),
        behind=place.get("usersBehind"),
        expires_in=body.get("expiresInSeconds"),
        code=str(error.get("code", "")) if isinstance(error, Mapping) else "",
        estimated_wait=place.get("estimatedWaitSeconds"),
    )


def parse_event(person: int, at: float, stream: int, event: Event) -> EventReceived:
    """Read one stream event. Data that is no JSON object gives an empty status."""
    try:
        data = json.loads(event.data)
    except ValueError:
        data = {}
    if not isinstance(data, Mapping):
        data = {}
    queue_status = QueueStatus(
        state={"STATUS_UPDATE": "WAITING", "ALLOWED_IN": "ALLOWED_IN"}.get(event.name, ""),
        ticket=data.get("ticket"),
        position=data.get("userQueuePosition"),
        total=data.get("totalQueueSize"),
        behind=data.get("usersBehind"),
        expires_in=data.get("expiresInSeconds"),
        code=str(data.get("code", "")),
        reason=str(data.get("reason", "")),
        estimated_wait=data.get("estimatedWaitSeconds"),
    )
    return EventReceived(person, at, stream, event.name, event.id, queue_status)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _identity(content: Any) -> str:
    return str(content.get("userId", "")) if isinstance(content, Mapping) else ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
