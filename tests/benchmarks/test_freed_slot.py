"""Reading streams for the one event that counts."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.freed_slot import StreamReader
from benchmarks.processes import Unavailable


class Wire:
    """A transport that only remembers."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def reader() -> StreamReader:
    made = StreamReader(b"GET")
    made.connection_made(Wire())  # type: ignore[arg-type]
    return made


STREAM = b"HTTP/1.1 200 OK\r\n\r\nevent: STATUS_UPDATE\ndata: {}\n\nevent: HEARTBEAT\ndata: {}\n\nevent: ALLOWED_IN\n"


@pytest.mark.parametrize("piece", [1, 3, 10, len(STREAM)])
async def test_events_are_seen_once_however_they_are_cut(piece: int) -> None:
    stream = reader()
    for at in range(0, len(STREAM), piece):
        stream.data_received(STREAM[at : at + piece])
    assert stream.opened.done()
    assert stream.admitted.result() > 0
    assert stream.events == 3


async def test_a_stream_that_ends_early_fails_its_waiter() -> None:
    stream = reader()
    stream.connection_lost(None)
    with pytest.raises(Unavailable, match="before its time"):
        await stream.admitted
    await asyncio.sleep(0)
