"""A server that counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Counting:
    """A server that gives the same answer to each request, a few bytes at a time if ``piece`` says so."""

    def __init__(self, answer: bytes, piece: int = 0) -> None:
        self.answer = answer
        self.piece = piece
        self.port = 0
        self.connections = 0
        self.seen: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.seen[head] += 1
                size = self.piece or len(self.answer)
                for at in range(0, len(self.answer), size):
                    writer.write(self.answer[at : at + size])
                    await writer.drain()
                if not self.answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def counting(answer: bytes, piece: int = 0) -> AsyncIterator[Counting]:
    counter = Counting(answer, piece)
    server = await asyncio.start_server(counter.serve, "127.0.0.1", 0)
    async with server:
        counter.port = server.sockets[0].getsockname()[1]
        yield counter
