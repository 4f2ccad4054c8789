"""What one request costs inside the gateway, without sockets: microseconds, and calls of functions.

The connections' transports do nothing, so only the gateway's own work and that of its libraries is left. Calls are
counted by cProfile, calls of built-in functions included. Unlike a time, their number is the same on every machine.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateways, tokens
from benchmarks.options import Options
from benchmarks.processes import Unavailable, free_port
from benchmarks.report import Table
from gateway.app import POOL, create_app
from gateway.forward_auth import AUTHORIZE
from gateway.observability.logging import NullSink, logging_to
from gateway.proxy.upstream import UpstreamBase
from gateway.serve import COLLECT_AFTER, runner_of
from gateway.server.connection import Guard
from gateway.settings.model import Settings

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 100\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: upstream\r\n\r\n" + b"x" * 100
)
_PROXY = "127.0.0.2"
_LOTS, _LOT = 150, 100
_COUNTED = 1000
_PATIENCE_SECONDS = 10.0


class _Transport(asyncio.Transport):
    """Counts what is written, and drops it."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        super().__init__()
        self.written = 0
        self._peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._peer, 40_000) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.written += 1

    def writelines(self, list_of_data: Any) -> None:
        self.written += 1

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


def run(options: Options) -> list[Table]:
    """Measure a public call, calls with and without a token, and what another proxy asks."""
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-") as folder,
        tokens.jwks() as jwks,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        rows = runner.run(_measure(Path(folder), jwks))
    title = "calls: one request inside the gateway, without sockets"
    notes = [f"the best of {_LOTS} × {_LOT} requests, by the thread's CPU; {_COUNTED} requests are counted"]
    return [Table(title, ("", "µs CPU", "function calls"), rows, notes)]


async def _measure(folder: Path, jwks: str) -> list[list[Any]]:
    port = free_port()
    environ = {
        "REDIS_URL": "embedded",
        "EMBEDDED_REDIS_DIR": str(folder / "redis"),
        "ROUTES_FILE": str(gateways.routes_file(folder, port)),
        "JWT_JWKS_URI": jwks,
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "OVERLOAD_LAG_MS": "0",
        "TRUSTED_PROXIES": _PROXY,
        # Nothing is closed for being idle.
        "PROXY_KEEP_ALIVE_SECONDS": "600",
    }
    [token] = tokens.signed(["user"])
    with logging_to(NullSink()) as writer:
        app = create_app(Settings.from_env(environ), environ, log_writer=writer)
        running = runner_of(app)
        await running.setup()
        try:
            client, proxy = _Transport(), _Transport(_PROXY)
            guard, asked = (Guard(running.server) for _ in range(2))  # type: ignore[arg-type]
            guard.connection_made(client)
            asked.connection_made(proxy)
            service = await _service(app[POOL], port)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)
            bearer = f"Authorization: Bearer {token}\r\n"
            described = f"X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {gateways.OWN}\r\n"
            at_once: Callable[[bytes], None] = lambda _: None  # noqa: E731 - without a service
            cases = (
                ("public GET", guard, client, gateways.PUBLIC, "", service.data_received),
                ("GET with a known token", guard, client, gateways.OWN, bearer, service.data_received),
                ("GET that lacks its token: 401", guard, client, gateways.OWN, "", at_once),
                ("authorize, a known token", asked, proxy, AUTHORIZE, bearer + described, at_once),
                ("authorize, no token: 401", asked, proxy, AUTHORIZE, described, at_once),
            )
            return [
                [name, *await _cost(by, at, f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{header}\r\n", then)]
                for name, by, at, path, header, then in cases
            ]
        finally:
            await running.cleanup()


async def _service(pool: Any, port: int) -> Any:
    """The protocol of an idle connection to the service, which has no socket any more."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    connection = await pool.connect(UpstreamBase("http", "127.0.0.1", port), 2.0)
    protocol = connection.protocol
    protocol.transport.pause_reading()
    protocol.transport = _Transport()
    connection.begin(b"", body_follows=True)
    protocol.data_received(_ANSWER)
    await connection.read_head()
    await connection.read()
    connection.release()
    server.close()
    return protocol


async def _cost(
    guard: Guard, client: _Transport, request: str, answer: Callable[[bytes], None]
) -> tuple[float, int]:
    data = request.encode()

    def serve(count: int) -> None:
        before = client.written
        for _ in range(count):
            guard.data_received(data)
            answer(_ANSWER)
        if client.written != before + count:
            raise Unavailable("the gateway did not answer at once")

    await _warm(guard, client, data, answer)
    best = float("inf")
    for _ in range(_LOTS):
        began = time.thread_time()
        serve(_LOT)
        best = min(best, time.thread_time() - began)
        # The timers and the thread of the log have their turn.
        await asyncio.sleep(0.005)
    profile = cProfile.Profile()
    profile.runcall(serve, _COUNTED)
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return round(best / _LOT * 1e6, 1), round(calls / _COUNTED)


async def _warm(guard: Guard, client: _Transport, data: bytes, answer: Callable[[bytes], None]) -> None:
    """Serves the first request, which may have to wait for keys."""
    before, until = client.written, time.monotonic() + _PATIENCE_SECONDS
    guard.data_received(data)
    while client.written == before:
        answer(_ANSWER)
        if time.monotonic() > until:
            raise Unavailable("the gateway did not answer")
        await asyncio.sleep(0.01)
