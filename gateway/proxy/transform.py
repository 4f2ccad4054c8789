"""Reads an upstream's answer completely, changes it, and sends it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict

from gateway.errors import Overloaded, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.headers import response_head
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.response import (
    BODILESS,
    BufferedResponse,
    ForwardedResponse,
    SendResponse,
    client_response_headers,
    send_response,
)

Transform = Callable[[bytes], Awaitable[bytes]]

_RETRY_SECONDS: Final = 5.0
_MAX_SECONDS: Final = 30.0
_NO_TIMEOUT_SECONDS: Final = 86_400.0

# Headers that no longer apply once the body has changed.
_BODY_HEADERS: Final = frozenset(
    {"accept-ranges", "content-digest", "content-encoding", "content-md5", "digest", "etag", "last-modified"}
    | {"repr-digest"}
)


def transforming(
    transform: Transform,
    wanted: Callable[[RawResponseMessage], bool],
    max_bytes: int,
    *semaphores: asyncio.Semaphore,
) -> SendResponse:
    """Returns a sender that sends ``transform(body)`` instead of an answer's body if its head is ``wanted``. Other
    answers pass unchanged. Each semaphore in ``semaphores`` limits how many bodies of some kind may be in memory at a
    time.

    The body may have ``max_bytes`` bytes, both as sent and decoded. Sending raises:

    * UpstreamUnreachable if the body is longer, breaks off or can't be decoded;
    * UpstreamTimeout if it takes longer than the response time-out (30 s if that has no limit);
    * Overloaded if its turn does not come within the same time;
    * any error that ``transform`` raises.
    """

    async def send(
        request: web.BaseRequest,
        connection: UpstreamConnection,
        message: RawResponseMessage,
        plan: ForwardPlan,
        keep_alive: bool,
    ) -> ForwardedResponse | BufferedResponse:
        if not wanted(message):
            return await send_response(request, connection, message, plan, keep_alive)
        # CORS headers and the cookie are added when the answer is completed, as for all answers not written yet.
        bare = plan._replace(cors=None if plan.cors is None else (), cookies=())
        headers = client_response_headers(message, bare)
        response_head(message.code, message.reason, headers.fields, b"")  # raises for invalid characters
        # Each body holds a place that others may wait for, so the time is always limited.
        seconds = plan.response_timeout if plan.response_timeout < _NO_TIMEOUT_SECONDS else _MAX_SECONDS
        async with AsyncExitStack() as stack:
            for semaphore in semaphores:
                await stack.enter_async_context(_acquire(semaphore, seconds))
            try:
                async with asyncio.timeout(seconds):
                    body = await _read_body(connection, max_bytes)
            except TimeoutError:
                raise UpstreamTimeout("response") from None
            codings = message.headers.getall(hdrs.CONTENT_ENCODING, ())
            if codings:
                # Decoding megabytes takes milliseconds. zlib releases the GIL meanwhile.
                body = await asyncio.to_thread(decoded, body, codings, max_bytes)
            body = await transform(body)
        fields: CIMultiDict[str] = CIMultiDict()
        for name, value in headers.fields:
            if name.decode().lower() not in _BODY_HEADERS and value.isascii():
                fields.add(name.decode(), value.decode())
        status = plan.status or message.code
        if status in BODILESS:
            body = b""
        # Written in pieces: written as a whole, each slow client would hold a copy in memory.
        response = BufferedResponse(body=BytesIO(body), status=status, headers=fields)
        response.full_body = body
        if not keep_alive:
            response.force_close()
        return response

    return send


@asynccontextmanager
async def _acquire(semaphore: asyncio.Semaphore, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            await semaphore.acquire()
    except TimeoutError:
        raise Overloaded(_RETRY_SECONDS) from None
    try:
        yield
    finally:
        semaphore.release()


async def _read_body(connection: UpstreamConnection, max_bytes: int) -> bytes:
    body = bytearray()
    while piece := await connection.read():
        body += piece
        if len(body) > max_bytes:
            raise UpstreamUnreachable(f"more than {max_bytes} bytes")
    return bytes(body)


def decoded(body: bytes, codings: list[str] | tuple[str, ...], max_bytes: int) -> bytes:
    """The body without its content coding, which may be gzip or deflate. Raises UpstreamUnreachable for another coding,
    for several codings, for a broken body, or for one longer than ``max_bytes`` bytes once decoded."""
    coding = ",".join(codings).strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamUnreachable("a content coding that was not asked for")
    unzip = zlib.decompressobj(zlib.MAX_WBITS if coding == "deflate" else zlib.MAX_WBITS | 16)
    try:
        plain = unzip.decompress(body, max_bytes)
    except zlib.error as error:
        raise UpstreamUnreachable("a content coding that does not hold") from error
    if not unzip.eof:
        raise UpstreamUnreachable(f"a broken content coding, or more than {max_bytes} bytes")
    return plain
