"""``GET /desk/api/rooms/{room}/events``: the numbers of a room and of the routes, as they change.

One reader for each room with viewers reads Redis once a second, however many viewers there are. A viewer holds the last
event of each kind alone, so a slow one skips some and never holds up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from gateway.api.desk_access import operator_of
from gateway.api.desk_numbers import RECENT_MINUTES, RouteWindow, history, room_now
from gateway.api.envelope import encode
from gateway.api.room_report import SHOWN_MINUTES
from gateway.api.rooms import requested_room
from gateway.api.services import services_object
from gateway.context import CONFIGURATION, CONTEXT, DESK_SESSION, OBSERVERS, OPERATOR
from gateway.errors import (
    GatewayError,
    MethodNotAllowed,
    NoSuchRoom,
    QueueUnavailable,
    RoomNotFound,
    TooManyViewers,
)
from gateway.fair_places import FairPlaces
from gateway.observability.logging import ABORTED, SLOW
from gateway.observability.route_numbers import RouteNumbers
from gateway.observability.tracing import TRACE_ID
from gateway.proxy.response import STARTED_RESPONSE
from gateway.server.whole_response import SERVER_NAME
from gateway.waiting_room.room import Room

EVERY_SECONDS: Final = 1.0
ROUTES_EVERY: Final = 5
"""Readings from one look at the routes to the next."""
HEARTBEAT_SECONDS: Final = 15.0
CHECK_SECONDS: Final = 5.0
"""How often a stream looks whether its session has ended."""
WRITE_SECONDS: Final = 10.0
"""A viewer that takes an event no sooner is cut off."""
MAX_VIEWERS: Final = 64

_LAST: Final = encode({"code": "SESSION_REQUIRED"})

log = logging.getLogger(__name__)


class Viewer:
    """One open stream: the last event of each kind that it has not been sent."""

    def __init__(self) -> None:
        self._pending: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self.closed = False

    def put(self, kind: str, frame: bytes) -> None:
        """An event; it takes the place of the last one of this kind."""
        self._pending[kind] = frame
        self._wake.set()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._wake.set()

    async def take(self, seconds: float) -> bytes:
        """What there is to be sent; empty if nothing came within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
        frames, self._pending = self._pending, {}
        return b"".join(frames.values())


class RoomFeed:
    """Reads one room while there are viewers."""

    def __init__(
        self,
        room: Room,
        routes: Callable[[], list[dict[str, Any]]],
        services: Callable[[], dict[str, Any]],
    ) -> None:
        self._room = room
        self._routes = routes
        self._services = services
        self._viewers: set[Viewer] = set()
        self._frames: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, viewer: Viewer) -> None:
        """From now on the viewer gets events; at once those that are known."""
        for kind, frame in self._frames.items():
            viewer.put(kind, frame)
        self._viewers.add(viewer)
        if self._task is None:
            self._task = asyncio.create_task(self._read(), name=f"desk {self._room.name}")

    async def remove(self, viewer: Viewer) -> bool:
        """The viewer gets no more events. Without viewers nothing is read. Returns whether this was the last one."""
        self._viewers.discard(viewer)
        if self._viewers or self._task is None:
            return False
        task, self._task = self._task, None
        self._frames = {}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return not self._viewers

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        due, turn, shown_minute = loop.time(), 0, 0
        shown_services: dict[str, Any] = {}
        failing = False
        while True:
            try:
                if turn % ROUTES_EVERY == 0:
                    self._publish("routes", self._routes())
                services = self._services()
                if services != shown_services:
                    shown_services = services
                    self._publish("services", services)
                operations = self._room.operations
                report = await operations.report(RECENT_MINUTES)
                settings, instances = await operations.settings(), await operations.instances()
                minute = report.minutes[-1].at
                if minute != shown_minute:
                    whole = await operations.report(SHOWN_MINUTES)
                    self._publish("history", history(whole.minutes))
                    shown_minute = minute
                self._publish("room", room_now(self._room.name, report, settings, instances))
                failing = False
            except NoSuchRoom:
                self._publish_trouble(RoomNotFound.code)
            except QueueUnavailable as error:
                self._publish_trouble(error.code)
            except Exception:
                # Without this task the viewers would look at the last numbers for ever.
                if not failing:
                    log.exception("the desk could not read room %s; it goes on trying", self._room.name)
                failing = True
                self._publish_trouble(GatewayError.code)
            turn += 1
            due = max(due + EVERY_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())

    def _publish_trouble(self, code: str) -> None:
        self._publish("trouble", {"code": code, "at": round(time.time() * 1000)})

    def _publish(self, kind: str, content: object) -> None:
        frame = b"event: %s\ndata: %s\n\n" % (kind.encode(), encode(content))
        self._frames[kind] = frame
        self._frames.pop("trouble" if kind == "room" else "", None)
        for viewer in self._viewers:
            viewer.put(kind, frame)


class DeskFeed:
    """The feeds of all rooms of this instance, and their viewers, of whom there are at most ``max_viewers``.

    If there are as many, operators share them evenly: one with fewer gets a viewer in place of one of the operator with
    the most. So no operator keeps the others from looking.
    """

    def __init__(
        self,
        totals: Callable[[], Mapping[str, RouteNumbers]],
        routes: Callable[[], Sequence[tuple[str, str]]],
        services: Callable[[], dict[str, Any]],
        max_viewers: int = MAX_VIEWERS,
    ) -> None:
        self._totals = totals
        self._routes = routes
        self._services = services
        self._window = RouteWindow()
        self._sampled_at = 0.0
        self._viewers: FairPlaces[Viewer] = FairPlaces(max_viewers)
        self._feeds: dict[str, RoomFeed] = {}
        self._closed = False

    @contextlib.asynccontextmanager
    async def viewer(self, room: Room, operator: str) -> AsyncIterator[Viewer]:
        """A viewer of the room for the operator of this name, until the block ends. Raises TooManyViewers."""
        if self._closed:
            raise TooManyViewers
        viewer = Viewer()
        taken, displaced = self._viewers.take(operator, viewer)
        if not taken:
            raise TooManyViewers
        if displaced is not None:
            displaced.close()
        feed = self._feeds.get(room.name)
        if feed is None:
            feed = self._feeds[room.name] = RoomFeed(room, self._shown_routes, self._services)
        feed.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.leave(viewer)
            if await feed.remove(viewer) and self._feeds.get(room.name) is feed:
                # A room by name may be forgotten, and made anew.
                del self._feeds[room.name]

    def close(self) -> None:
        """Ends all streams, and takes no more."""
        self._closed = True
        for viewer in self._viewers:
            viewer.close()

    def _shown_routes(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        # Feeds of several rooms share the samples.
        if now - self._sampled_at >= ROUTES_EVERY * EVERY_SECONDS / 2:
            self._sampled_at = now
            self._window.add(now, self._totals())
        return self._window.shown(self._routes())


DESK_FEED: Final[web.AppKey[DeskFeed]] = web.AppKey("desk_feed", DeskFeed)


def desk_feed(app: web.Application) -> DeskFeed:
    """The feed of this application: its routes, and what its metrics have counted."""

    def routes() -> list[tuple[str, str]]:
        table = app[CONFIGURATION].tables.current.table
        return [(route.id, route.upstream.uri) for route in table.routes]

    def totals() -> Mapping[str, RouteNumbers]:
        return app[OBSERVERS].metrics.route_numbers()

    return DeskFeed(totals, routes, partial(services_object, app))


class _Stream(web.StreamResponse):
    """The answer to a viewer. For the access log ``body_length`` and ``end`` say how much was written and whether the
    client broke the answer off, also while it is not at its end."""

    end = ABORTED
    _body_bytes = 0

    @property
    def body_length(self) -> int:
        """The number of body bytes written."""
        return self._body_bytes

    async def write_frame(self, data: bytes) -> None:
        """Writes one or several events. Raises TimeoutError if the viewer does not take them in time."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.write(data)
        except TimeoutError:
            self.end = SLOW
            raise
        self._body_bytes += len(data)


async def events(request: web.Request) -> web.StreamResponse:
    """Streams the room until the client goes, the session ends, another operator needs the stream, or the gateway
    stops. Raises TooManyViewers, and MethodNotAllowed for HEAD, whose answer would never end."""
    if request.method != "GET":
        raise MethodNotAllowed(("GET",))
    room, context = await requested_room(request), request[CONTEXT]
    async with request.app[DESK_FEED].viewer(room, request[OPERATOR].name) as viewer:
        response = _Stream(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store, no-transform",
                "X-Accel-Buffering": "no",
                "Server": SERVER_NAME,
                TRACE_ID: context.trace_id,
            }
        )
        if context.security is not None:
            context.security.add_missing(response.headers, response.status, own=False)
        await response.prepare(request)
        request[STARTED_RESPONSE] = response
        with contextlib.suppress(ConnectionError, TimeoutError):
            await _send(request, response, viewer)
            response.end = ""
    return response


async def _send(request: web.Request, response: _Stream, viewer: Viewer) -> None:
    loop = asyncio.get_running_loop()
    heard = checked = loop.time()
    await response.write_frame(b"retry: 2000\n\n")
    while not viewer.closed:
        frame = await viewer.take(CHECK_SECONDS)
        now = loop.time()
        if now - checked >= CHECK_SECONDS:
            checked = now
            if await _has_ended(request):
                await response.write_frame(b"event: ended\ndata: %s\n\n" % _LAST)
                return
        if not frame and now - heard >= HEARTBEAT_SECONDS:
            frame = b": \n\n"
        if frame:
            heard = now
            await response.write_frame(frame)


async def _has_ended(request: web.Request) -> bool:
    """Whether the session has ended. While Redis is away nothing is known, and the stream stays."""
    try:
        return await operator_of(request.app, request[DESK_SESSION]) is None
    except GatewayError:
        return False
