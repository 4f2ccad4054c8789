"""What it costs to write to many streams: the hub beside aiohttp-sse's own ``send``, in one run.

    python benchmarks/fanout.py [--streams 2000] [--rounds 20] [--turn 2.0] [--loop asyncio|uvloop]

Each kind gets a server process of its own on 127.0.0.1; this process opens the streams and discards what
comes. Reported: microseconds of CPU a frame and stream, resident bytes a stream, and, for the hub, the
longest turn of the loop while a wheel turned once round in ``--turn`` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import IO

import uvloop
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from gateway.stream.hub import Hub, Tempo
from gateway.stream.registry import Seats
from gateway.stream.response import EventStream

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


class Room:
    """Answers at once, as Redis on the same machine nearly does; renders as the gateway does."""

    async def status(self, user: str) -> Waiting:
        return Waiting(int(user))

    async def statuses(self, users: Sequence[str]) -> list[Waiting]:
        await asyncio.sleep(0.0005)
        return [Waiting(int(user)) for user in users]

    def status_object(self, state: Waiting) -> dict[str, object]:
        return {
            "room": "default",
            "ticket": state.ticket,
            "userQueuePosition": state.position,
            "totalQueueSize": state.total,
            "usersBehind": state.behind,
            "estimatedWaitSeconds": int(state.estimated_wait),
        }


class Renderer:
    """As little as a renderer can do."""

    status = Room.status_object

    def allowed_in(self, expires_in: float, locale: str) -> dict[str, object]:
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

    def reader_cut_off(self) -> None:
        """Ignored."""

    def arrived(self, user: str) -> None:
        """Ignored."""

    def departed(self, user: str) -> None:
        """Ignored."""


class HubServer:
    """Streams of the gateway."""

    def __init__(self, turn: float) -> None:
        tempo = Tempo(status_interval=turn, heartbeat=3600.0)
        self.hub = Hub(Room(), Nobody(), Renderer(), Seats(1_000_000), tempo=tempo, counts=Nobody())
        self._users = iter(range(1, 1_000_000_000))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        stream = EventStream()
        user = str(next(self._users))
        tab = await stream.subscribe(request, user=user, locale="ko", max_buffer=65536)
        if tab is not None:
            await self.hub.attend(tab)
        return stream

    def __len__(self) -> int:
        return len(self.hub)

    async def broadcast(self) -> None:
        await self.hub._beat()


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


class Crowd:
    """Opens streams and throws away what they bring."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        self._selector.close()

    def open(self, port: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        self._sockets.append(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if not connection.recv(65536):
                    self._selector.unregister(connection)


class Server:
    """The other process."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--serve", kind]
        command += ["--turn", str(options.turn), "--loop", options.loop]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str) -> object:
        to, back = self._process.stdin, self._process.stdout
        assert isinstance(to, IO) or to is not None
        assert back is not None
        to.write(command + "\n")
        to.flush()
        return json.loads(back.readline())

    def close(self) -> None:
        self._process.communicate("\n", timeout=30)


def measure(kind: str, options: argparse.Namespace) -> dict[str, float]:
    """One kind's figures."""
    server = Server(kind, options)
    try:
        with Crowd() as crowd:
            before = server.ask("state")
            for number in range(options.streams):
                crowd.open(before["port"])
                if number % 200 == 199:
                    server.ask("state")
            deadline = time.monotonic() + 60
            while (after := server.ask("state"))["streams"] < options.streams:
                if time.monotonic() > deadline:
                    raise SystemExit(f"only {after['streams']} streams opened")
                time.sleep(0.05)
            time.sleep(0.5)
            after = server.ask("state")
            rounds = sorted(server.ask("broadcast") for _ in range(options.rounds))
            return {
                "frame": rounds[len(rounds) // 2] / options.streams * 1e6,
                "bytes": (after["resident"] - before["resident"]) / options.streams,
                "hold": server.ask("turn") * 1e3,
            }
    finally:
        server.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turn", type=float, default=2.0)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--serve", choices=["hub", "send"], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
            runner.run(serve(options.serve, options.turn))
        return 0
    if options.streams > hard - 100:
        print(f"at most {hard - 100} streams: this many files may be open", file=sys.stderr)
        return 2
    hub, send = measure("hub", options), measure("send", options)
    print(f"{options.streams} streams, {options.loop}")
    print(f"{'':24}{'hub':>10}{'send':>10}{'ratio':>8}")
    for name, key in (("µs CPU a frame", "frame"), ("resident bytes a stream", "bytes")):
        print(f"{name:24}{hub[key]:>10.1f}{send[key]:>10.1f}{send[key] / hub[key]:>8.2f}")
    print(f"{'longest hold, ms CPU':24}{hub['hold']:>10.1f}   (one turn of the wheel in {options.turn} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
