"""The measure of things in Python, each a process of its own: ``python -m benchmarks.python_servers KIND [PORT]``.

``upstream``: a service that answers with as little work as possible; ``json`` and ``large``: the same with 10 KB and
1 MiB; ``upload``: it reads a body first. ``bare``: aiohttp
with an empty handler, the ceiling of everything built on it. ``plain``: the proxy one would write first, a
``ClientSession`` in a handler, to the service on PORT; nothing is checked, counted or logged, and bodies are held as a
whole. Each says its port in a line, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable

import aiohttp
import uvloop
from aiohttp import web

BODY = b"x" * 100
LARGE_BODY = b"x" * (1 << 20)
JSON_BODY = b"[%b]" % b",".join([b'{"seat":"A-12","price":99000,"free":true}'] * 240)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: upstream\r\n\r\n"
)
_END = b"\r\n\r\n"
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "host"}
)


class Upstream(asyncio.Protocol):
    """Answers every request head; requests must have no bodies."""

    def __init__(self, body: bytes) -> None:
        self._answer = _HEAD % len(body) + body
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        count = data.count(_END)
        self._rest = b"" if data.endswith(_END) else data.rpartition(_END)[2]
        if count:
            self._transport.write(self._answer * count)  # type: ignore[attr-defined]


class Sink(asyncio.Protocol):
    """Answers a request once its body, which has a length, has come; drops it."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, end, rest = (self._head + data).partition(_END)
            if not end:
                self._head = head
                return
            self._head = b""
            found = _LENGTH.search(head)
            self._left = int(found[1]) if found else 0
            data = rest
        self._left -= len(data)
        if self._left <= 0:
            self._transport.write(_HEAD % len(BODY) + BODY)  # type: ignore[attr-defined]


async def _upload(_target: str) -> int:
    return await _serving(Sink)


async def _upstream(_target: str, body: bytes = BODY) -> int:
    return await _serving(lambda: Upstream(body))


async def _json(target: str) -> int:
    return await _upstream(target, JSON_BODY)


async def _serving(protocol: Callable[[], asyncio.Protocol]) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _large(target: str) -> int:
    return await _upstream(target, LARGE_BODY)


async def _bare(_target: str) -> int:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    return await _listen(handle)


async def _plain(target: str) -> int:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )

    async def handle(request: web.Request) -> web.Response:
        headers = [
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
        ]
        body = await request.read() if request.body_exists else None
        url = f"http://127.0.0.1:{target}{request.raw_path}"
        async with session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [
                (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
            ]
            return web.Response(status=answer.status, headers=dict(kept), body=await answer.read())

    return await _listen(handle)


async def _listen(handle: Callable[[web.Request], object]) -> int:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port: int = runner.addresses[0][1]
    return port


KINDS = {
    "upstream": _upstream,
    "json": _json,
    "large": _large,
    "upload": _upload,
    "bare": _bare,
    "plain": _plain,
}


async def _serve(kind: str, target: str) -> None:
    print(await KINDS[kind](target), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    kind, target = (*sys.argv[1:], "")[:2]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(kind, target))


if __name__ == "__main__":
    main()
