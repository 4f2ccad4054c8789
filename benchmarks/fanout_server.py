"""What ``benchmarks.fanout`` measures, a process for each kind: ``python -m benchmarks.fanout_server KIND TURN LOOP``.

It answers each line of standard input with a line of JSON, and ends with it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from gateway.api.status import status_json
from gateway.server.detached_connections import DetachedConnections
from gateway.sse.hub import Hub, StreamTimings
from gateway.sse.registry import StreamLimit
from gateway.sse.response import EventStream

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A state like any other."""

    ticket: int
    kind: str = "WAITING"
    position: int = 12
    total: int = 340
    behind: int = 328
    estimated_wait: float = 55.0
    expires_in: float = 0.0
    paused: bool = False
    wait_range: tuple[float, float] | None = None
    unlikely: bool = False
    notice: None = None
    claim_by: int = 0


class Room:
    """Answers at once, as Redis on the same machine nearly does."""

    def status(self, user: str) -> asyncio.Future[Waiting]:
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(Waiting(int(user)))
        return answer

    async def statuses(self, users: Sequence[str]) -> list[Waiting]:
        await asyncio.sleep(0.0005)
        return [Waiting(int(user)) for user in users]


class Renderer:
    """Renders a status as the gateway does, and what is not measured as simply as can be."""

    personal = False

    def status(self, state: Waiting, languages: str, reason: str = "") -> str:
        return status_json('"default"', state, languages, reason)

    def notice(self, languages: str) -> str:
        return "{}"

    def allowed_in(
        self, expires_in: float, locale: str, user: str, ticket: int, claim_by: int = 0
    ) -> dict[str, object]:
        return {"message": locale, "room": "default", "expiresInSeconds": int(expires_in)}

    def error(self, code: str, reason: str | None, locale: str) -> dict[str, object]:
        return {"code": code, "message": locale, "reason": reason}


class Nobody:
    """Is told who comes and goes, and how much is written."""

    def stream_opened(self) -> None:
        """Ignored."""

    def stream_closed(self) -> None:
        """Ignored."""

    def frames(self, count: int) -> None:
        """Ignored."""

    def slow_client_cut_off(self) -> None:
        """Ignored."""

    def arrived(self, user: str) -> None:
        """Ignored."""

    def departed(self, user: str) -> None:
        """Ignored."""


class HubServer:
    """Streams of the gateway."""

    def __init__(self, turn: float) -> None:
        timings = StreamTimings(status_interval=turn, heartbeat=3600.0)
        self.hub = Hub(Room(), Nobody(), Renderer(), StreamLimit(1_000_000), timings=timings, counts=Nobody())
        self._connections = DetachedConnections()
        self._users = iter(range(1, 1_000_000_000))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        stream = EventStream()
        user = str(next(self._users))
        opened = await stream.start(
            request,
            user=user,
            locale="ko",
            max_buffer=65536,
            connections=self._connections,
            on_end=lambda stream: None,
        )
        if opened is not None:
            self.hub.serve(opened)
        return stream

    def __len__(self) -> int:
        return len(self.hub)

    async def broadcast(self) -> None:
        await self.hub._send_heartbeats(self.hub._encoder.heartbeat(), self.hub._registry.subscribers())


class SendServer:
    """Streams of aiohttp-sse, one ``send`` after the other."""

    def __init__(self) -> None:
        self._streams: set[EventSourceResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        stream = EventSourceResponse(ping_interval=3600)
        await stream.prepare(request)
        self._streams.add(stream)
        await stream.send('{"ticket":1}', event="STATUS_UPDATE")
        await stream.wait()
        return stream

    def __len__(self) -> int:
        return len(self._streams)

    async def broadcast(self) -> None:
        text = json.dumps({"timestamp": int(time.time() * 1000)})
        for stream in self._streams:
            await stream.send(text, event="HEARTBEAT")


async def longest_hold(seconds: float) -> float:
    """The longest turn of this loop within ``seconds``, in seconds of CPU: others may want the machine too."""
    end = time.monotonic() + seconds
    longest = 0.0
    last = time.thread_time()
    while time.monotonic() < end:
        await asyncio.sleep(0)
        now = time.thread_time()
        longest = max(longest, now - last)
        last = now
    return longest


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def serve(kind: str, turn: float) -> None:
    """Serves until told to quit: answers each line of standard input with one of JSON."""
    server = HubServer(turn) if kind == "hub" else SendServer()
    app = web.Application()
    app.router.add_get("/stream", server.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()

    async def measure_broadcast() -> float:
        began = time.process_time()
        await server.broadcast()
        # uvloop writes when the loop comes round.
        await asyncio.sleep(0)
        return time.process_time() - began

    async def measure_turn() -> float:
        if isinstance(server, SendServer):
            return 0.0
        async with server.hub.running():
            gc.collect()
            gc.freeze()  # As the gateway does; a full collection would be all that is seen.
            return await longest_hold(turn)

    async def state() -> dict[str, int]:
        return {"port": runner.addresses[0][1], "streams": len(server), "resident": resident()}

    commands: dict[str, Callable[[], Awaitable[object]]] = {
        "state": state,
        "broadcast": measure_broadcast,
        "turn": measure_turn,
    }
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        print(json.dumps(await commands[line]()), flush=True)
    os._exit(0)  # Tens of thousands of handlers have nothing left to say.


def main() -> None:
    """Serve as the command line says."""
    kind, turn, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(serve(kind, float(turn)))


if __name__ == "__main__":
    main()
