"""An upstream's answer taken as a whole, changed, and then sent."""

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
    Send,
    answer_headers,
    send_answer,
)

Change = Callable[[bytes], Awaitable[bytes]]

_RETRY_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 30.0
_WITHOUT_END: Final = 86_400.0

# What no longer holds of a body that is another one.
_OF_THE_OLD_BODY: Final = frozenset(
    {"accept-ranges", "content-digest", "content-encoding", "content-md5", "digest", "etag", "last-modified"}
    | {"repr-digest"}
)


def changing(
    change: Change, wanted: Callable[[RawResponseMessage], bool], most: int, *turns: asyncio.Semaphore
) -> Send:
    """Makes what sends ``change(body)`` in place of an answer's body if its head is ``wanted``; others pass as ever.
    Each of ``turns`` says how many bodies of some kind may be in memory at a time.

    The body, as sent and decoded, may have ``most`` bytes. Sending raises UpstreamUnreachable if it has more, breaks
    off or can't be decoded, UpstreamTimeout if it takes longer than an answer's head may (30 s if that may take for
    ever), Overloaded if it is not its turn in as long a time, and what ``change`` raises.
    """

    async def send(
        request: web.BaseRequest,
        connection: UpstreamConnection,
        message: RawResponseMessage,
        plan: ForwardPlan,
        keep_alive: bool,
    ) -> ForwardedResponse | BufferedResponse:
        if not wanted(message):
            return await send_answer(request, connection, message, plan, keep_alive)
        # What it says about other origins comes when the answer is completed, like all that is not written yet.
        headers = answer_headers(message, plan if plan.cors is None else plan._replace(cors=()))
        response_head(message.code, message.reason, headers.fields, b"")  # raises for what no head may hold
        # Each holds a place in which others want to be.
        seconds = plan.response_timeout if plan.response_timeout < _WITHOUT_END else _LONGEST_SECONDS
        async with AsyncExitStack() as stack:
            for turn in turns:
                await stack.enter_async_context(_turn(turn, seconds))
            try:
                async with asyncio.timeout(seconds):
                    body = await _body(connection, most)
            except TimeoutError:
                raise UpstreamTimeout("response") from None
            codings = message.headers.getall(hdrs.CONTENT_ENCODING, ())
            if codings:
                # Megabytes take milliseconds. zlib lets go of the interpreter meanwhile.
                body = await asyncio.to_thread(decoded, body, codings, most)
            body = await change(body)
        fields: CIMultiDict[str] = CIMultiDict()
        for name, value in headers.fields:
            if name.decode().lower() not in _OF_THE_OLD_BODY and value.isascii():
                fields.add(name.decode(), value.decode())
        status = plan.status or message.code
        if status in BODILESS:
            body = b""
        # In pieces as they are taken: written whole, a copy would wait for each client that is slow.
        response = BufferedResponse(body=BytesIO(body), status=status, headers=fields)
        response.whole = body
        if not keep_alive:
            response.force_close()
        return response

    return send


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            await turns.acquire()
    except TimeoutError:
        raise Overloaded(_RETRY_SECONDS) from None
    try:
        yield
    finally:
        turns.release()


async def _body(connection: UpstreamConnection, most: int) -> bytes:
    body = bytearray()
    while piece := await connection.read():
        body += piece
        if len(body) > most:
            raise UpstreamUnreachable(f"more than {most} bytes")
    return bytes(body)


def decoded(body: bytes, codings: list[str] | tuple[str, ...], most: int) -> bytes:
    """The body without its content coding, which may be gzip or deflate. Raises UpstreamUnreachable for another one,
    several, a broken body, or one that becomes longer than ``most`` bytes."""
    coding = ",".join(codings).strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamUnreachable("a content coding that was not asked for")
    unzip = zlib.decompressobj(zlib.MAX_WBITS if coding == "deflate" else zlib.MAX_WBITS | 16)
    try:
        plain = unzip.decompress(body, most)
    except zlib.error as error:
        raise UpstreamUnreachable("a content coding that does not hold") from error
    if not unzip.eof:
        raise UpstreamUnreachable(f"a broken content coding, or more than {most} bytes")
    return plain
