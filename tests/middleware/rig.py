"""Request lines that no client library would send."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from tests.support.gateway import Running


async def raw(gateway: Running, line: bytes, *headers: bytes) -> tuple[int, bytes]:
    """Sends a request line that no client library would; the status and the whole answer."""
    where = urlsplit(gateway.base)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        lines = [line + b" HTTP/1.1", b"Host: h", b"Connection: close", *headers, b"", b""]
        writer.write(b"\r\n".join(lines))
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]), answer
