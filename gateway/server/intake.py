"""The usual case of a connection: a whole request in one read, while no other request is under way."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

from aiohttp import HttpVersion10

from gateway.server import framing
from gateway.server.arrivals import ARRIVALS, RefusalOf
from gateway.server.head import ParsedHead, remote_of, scheme_of
from gateway.server.interfaces import FastCall, Listener
from gateway.server.request_handler import RequestHandler


class Intake(asyncio.Protocol, ABC):
    """The part of a connection's guard that handles a read that is exactly one request: it queues arrivals, offers
    other requests to the fast path, and gives the rest to aiohttp."""

    __slots__ = (
        "_busy",
        "_discarding",
        "_idle",
        "_pending",
        "_phase",
        "_preamble",
        "_queued",
        "_server",
        "fast_call",
        "last_active",
        "remote",
        "scheme",
        "transport",
        "writing_paused",
    )

    def __init__(self, server: Listener) -> None:
        self._server = server
        self.transport: asyncio.Transport | None = None
        self.remote = ""
        """The client's address, once it has been asked for; empty if the connection is not TCP."""
        self.scheme = "http"
        """Known as soon as ``remote`` is."""
        self.last_active = server.loop.time()
        """When the last request ended, or the connection began."""
        self.writing_paused = False
        """Whether the client does not take what was written."""
        self.fast_call: FastCall | None = None
        """The current request, if the fast path serves it."""
        self._queued = b""
        """A whole head that waits in the arrivals queue."""
        self._pending = b""
        """Bytes that wait until the current answer is complete, or until the current body can take more."""
        self._discarding = False
        """Whether all further bytes from the client are dropped."""
        self._preamble: bytes | None = None
        """The first bytes of a trusted proxy's connection, until they show whether they are of the PROXY protocol; None
        if that is known."""
        self._busy = False
        self._idle = True
        self._phase = ""
        """What the deadline is for: ``head``, ``body``, ``idle``, ``end``, or empty for no deadline."""

    @property
    def idle_since(self) -> float:
        """Since when the connection has had no whole request, as a time of the loop's clock; infinite while it has one,
        or while the client takes the last answer."""
        transport = self.transport
        idle = self._idle or self._preamble is not None or (self._phase == "head" and not self._busy)
        if not idle or self._queued or transport is None or transport.get_write_buffer_size():
            return math.inf
        return self.last_active

    @abstractmethod
    def may_stay_open(self) -> bool:
        """Whether another request will be read after the current one, as far as the request itself does not matter."""

    @abstractmethod
    def leave(self) -> None:
        """Detaches the guard from the connection."""

    @abstractmethod
    def end(self, inner: RequestHandler | None = None, *, announced: bool = False) -> None:
        """Ends the connection after the last answer."""

    @abstractmethod
    def _dispatch_head(self, head: bytes, /) -> None:
        """Passes a whole head to aiohttp."""

    @abstractmethod
    def _end_answer(self, keep_alive: bool, inner: RequestHandler | None, *, announced: bool = False) -> None:
        """Goes on after an answer: with the next request, or to the end of the connection."""

    @abstractmethod
    def _set_deadline(self) -> None:
        """Sets the deadline that the state of the connection asks for."""

    def _take_whole_request(self, data: bytes) -> bool:
        """Processes or queues ``data`` if it is exactly one whole request with a plain request line; returns whether it
        is."""
        arrivals = self._server.arrivals if data.startswith(ARRIVALS) else None
        if arrivals is None and self._serve_fast(data):
            return True
        if not framing.is_single_head(data, self._server.limits.head_bytes):
            return False
        if arrivals is None:
            self._dispatch_head(data)
            self._set_deadline()
        elif arrivals.enqueue(self, data):
            self._queued = data
        else:
            self.process_head(data)
        return True

    def process_head(self, head: bytes) -> None:
        """Processes a whole head with a plain request line. No earlier request may be unfinished."""
        if not self._serve_fast(head):
            self._dispatch_head(head)
            self._set_deadline()

    def _serve_fast(self, data: bytes) -> bool:
        """Offers ``data`` to the fast path. Returns whether it was a request that the fast path serves."""
        server, transport = self._server, self.transport
        fast_path = server.fast_path
        if fast_path is None or transport is None:
            return False
        if not fast_path.may_serve(data, server.limits.line_bytes):
            return False
        if not self.remote:
            self.remote, self.scheme = remote_of(transport) or "", scheme_of(transport)
        whole = server.heads.read_whole(data, self.remote, self.scheme)
        if whole is None:
            return False
        self._idle, self._busy = False, True
        if fast_path.serve(self, *whole):
            if self._phase != "idle":
                self._set_deadline()
            # The timer of an idle connection looks at the connection when it fires.
            return True
        self._idle, self._busy = True, False
        return False

    def end_fast(self, keep_alive: bool, announced: bool) -> None:
        """The answer of a request on the fast path has been written: see ``FastConnection``."""
        self.fast_call = None
        if keep_alive and self._phase == "idle" and not (self._pending or self._discarding):
            # The usual case, without what only other connections need.
            self._busy, self._idle = False, True
            self.last_active = self._server.loop.time()
        else:
            self._end_answer(keep_alive, None, announced=announced)

    def leave_queue(self, head: bytes) -> bool:
        """Takes ``head`` out of the arrivals queue. Returns whether it was still waiting there."""
        if self._queued is not head:
            return False
        self._queued = b""
        return True

    def refuse(self, head: bytes, refusal_of: RefusalOf) -> None:
        """Answers a whole head of the arrivals queue without aiohttp if it brings a new user; otherwise processes
        it."""
        transport, server = self.transport, self._server
        if transport is None or transport.is_closing():
            return
        # A client that does not read its answers gets this one in the usual way, which waits until it reads.
        request = None if self.writing_paused else _parsed(server, transport, head)
        answer = refusal_of(request) if request is not None else None
        if request is None or answer is None:
            self.process_head(head)
            return
        keep_alive = request.keep_alive and not server.draining
        http10 = request.version == HttpVersion10
        transport.write(answer.serialized(keep_alive=keep_alive, http10=http10))
        self.last_active = server.loop.time()
        if not keep_alive:
            self.end()


def _parsed(server: Listener, transport: asyncio.Transport, head: bytes) -> ParsedHead | None:
    return server.heads.parse(head, remote_of(transport), scheme=scheme_of(transport))
