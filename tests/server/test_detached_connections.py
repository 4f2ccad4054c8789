"""Streams whose connections have left aiohttp: a whole gateway counts, ends and logs them as it does all others."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.app import METRICS, create_app
from gateway.context import DETACHED, HUBS
from gateway.serve import runner_of
from gateway.server.listener import Server
from gateway.sse import hub
from gateway.sse.state_reader import StateReader
from tests.support.gateway import ROUTES, Caller, Gateways, Running, settings_for
from tests.support.listening import listening
from tests.support.raw_http import Client, connected
from tests.support.waiting import eventually

PATIENCE = 20.0


class Lines:
    """The lines of the access log, as a writer of them sees them."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []

    def write(self, line: str) -> None:
        self._lines.append(json.loads(line))

    @property
    def of_streams(self) -> list[dict[str, Any]]:
        """Those of streams."""
        return [line for line in self._lines if line["route"] == "queue.stream"]


def request(path: str, caller: Caller, version: str = "1.1", *more: str) -> bytes:
    head = (
        f"GET {path} HTTP/{version}",
        "Host: here",
        f"Authorization: Bearer {caller.token}",
        *more,
        "",
        "",
    )
    return "\r\n".join(head).encode()


def unchunked(data: bytes) -> int:
    """How many bytes the chunks of a whole body hold."""
    held = 0
    while data:
        line, _, data = data.partition(b"\r\n")
        held += int(line, 16)
        data = data[int(line, 16) + 2 :]
    return held


async def waiting(gateway: Running, name: str = "second") -> Caller:
    """Somebody in line behind the one who is in."""
    await gateway.user("first").lineup()
    user = gateway.user(name)
    await user.lineup()
    return user


@asynccontextmanager
async def open_stream(
    gateway: Running, user: Caller, *more: str, version: str = "1.1"
) -> AsyncIterator[Client]:
    """A stream that has had its first event."""
    async with connected(gateway.base) as client:
        client.send(request("/api/v1/queue/stream?x=secret", user, version, *more))
        await client.until(b"event: STATUS_UPDATE")
        yield client


def server_of(gateway: Running) -> Server:
    server = gateway.runner.server
    assert isinstance(server, Server)
    return server


async def test_an_open_stream_keeps_nothing_of_aiohttp_and_nothing_of_its_query(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = await waiting(gateway)
    before = len(server_of(gateway).connections)
    async with open_stream(gateway, user):
        await eventually(lambda: len(server_of(gateway).connections) == before)
        (stream,) = gateway.app[HUBS]["default"]._registry.subscribers()

        assert len(gateway.app[DETACHED]) == 1
        assert stream._on_end.target.raw_query == ""
        assert stream._on_end.target.raw_path == "/api/v1/queue/stream"
        gc.collect()
        held = [one for one in gc.get_objects() if isinstance(one, web.BaseRequest)]
        assert not any(one.path == "/api/v1/queue/stream" for one in held)


async def test_metrics_count_it_as_under_way_until_it_ends(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = await waiting(gateway)
    metrics = gateway.app[METRICS]
    async with open_stream(gateway, user):
        assert metrics.in_progress == 1
    await eventually(lambda: metrics.in_progress == 0)
    await asyncio.sleep(0)

    assert metrics.in_progress == 0


@pytest.mark.parametrize("when", ["in the same piece", "while it is open"])
async def test_a_request_behind_a_stream_is_not_answered_and_the_connection_ends(
    gateways: Gateways, when: str
) -> None:
    gateway = await gateways.start()
    user = await waiting(gateway)
    async with connected(gateway.base) as client:
        stream, leave = request("/api/v1/queue/stream", user), request("/api/v1/queue/status", user)
        client.send(stream + leave if when == "in the same piece" else stream)
        head = await client.until(b"\r\n\r\n")
        await client.until(b"event: STATUS_UPDATE")
        if when == "while it is open":
            client.send(leave)
        await user("POST", "/api/v1/queue/leave")
        rest = await client.rest()

        assert b"\r\nConnection: close\r\n" in head
        assert b'"REMOVED"' in rest
        assert rest.endswith(b"\r\n0\r\n\r\n")
        assert b"HTTP/1.1" not in rest


class TestTheAccessLog:
    @asynccontextmanager
    async def logging(self, gateways: Gateways, **changes: object) -> AsyncIterator[tuple[Running, Lines]]:
        """A gateway, and its lines of the access log as they are written."""
        lines = Lines()
        routes = gateways.folder / "logged.yaml"
        routes.write_text(ROUTES % {"service": gateways.service.url}, encoding="utf-8")
        settings = settings_for(
            gateways.redis_url, gateways.keys.uri, routes, access_log="true", log_format="json", **changes
        )
        app = create_app(settings, {}, log_writer=lines)  # type: ignore[arg-type]
        runner = runner_of(app)
        async with gateways.running() as other, listening(runner) as base:
            yield (
                Running(base, app, runner, other.session, gateways.issuer, gateways.keys, routes),
                lines,
            )

    async def test_a_stream_has_one_line_when_it_is_over(self, gateways: Gateways) -> None:
        async with self.logging(gateways) as (gateway, lines):
            user = await waiting(gateway)
            async with connected(gateway.base) as client:
                client.send(request("/api/v1/queue/stream?x=secret", user))
                await client.until(b"\r\n\r\n")
                first = await client.until(b"event: STATUS_UPDATE")
                assert lines.of_streams == []
                await user("POST", "/api/v1/queue/leave")
                rest = await client.rest()
            await eventually(lambda: bool(lines.of_streams))
            (line,) = lines.of_streams

            assert (line["status"], line["path"], line["method"]) == (200, "/api/v1/queue/stream", "GET")
            assert line["bytes"] == unchunked(first + rest)
            assert "end" not in line

    @pytest.mark.parametrize("how", ["closed", "half-closed", "reset", "flooding"])
    async def test_one_that_its_client_leaves_is_marked(self, gateways: Gateways, how: str) -> None:
        # No more is read of a client that floods, so that its end shows when the next heartbeat is written.
        often = {"sse_heartbeat_seconds": "0.2"} if how == "flooding" else {}
        async with self.logging(gateways, **often) as (gateway, lines):
            user = await waiting(gateway)
            async with open_stream(gateway, user) as client:
                if how == "closed":
                    client.writer.close()
                elif how == "half-closed":
                    client.writer.write_eof()
                else:
                    if how == "flooding":
                        (stream,) = gateway.app[HUBS]["default"]._registry.subscribers()
                        client.send(b"x" * 70_000)
                        await eventually(lambda: not stream._transport.is_reading())
                    sock = client.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.writer.transport.abort()
                await eventually(lambda: bool(lines.of_streams))
            (line,) = lines.of_streams

            assert (line["status"], line["end"]) == (200, "aborted")
            assert line["bytes"] > 100
            assert len(gateway.app[HUBS]["default"]) == 0
            assert len(gateway.app[DETACHED]) == 0

    async def test_one_whose_client_goes_before_anything_was_sent_has_499(
        self, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub, "OPENING_SECONDS", PATIENCE)
        monkeypatch.setattr(StateReader, "read_one", lambda *_: None)
        async with self.logging(gateways) as (gateway, lines):
            user = await waiting(gateway)
            async with connected(gateway.base) as client:
                client.send(request("/api/v1/queue/stream", user))
                await eventually(lambda: len(gateway.app[DETACHED]) == 1)
            await eventually(lambda: bool(lines.of_streams))
            (line,) = lines.of_streams

            assert (line["status"], line["bytes"], line["end"]) == (499, 0, "aborted")

    async def test_over_http_1_0_the_size_is_that_of_what_was_sent(self, gateways: Gateways) -> None:
        async with self.logging(gateways) as (gateway, lines):
            user = await waiting(gateway)
            async with connected(gateway.base) as client:
                client.send(request("/api/v1/queue/stream", user, "1.0", "Connection: keep-alive"))
                head = await client.until(b"\r\n\r\n")
                first = await client.until(b"event: STATUS_UPDATE")
                await user("POST", "/api/v1/queue/leave")
                body = first + await client.rest()
            await eventually(lambda: bool(lines.of_streams))

            assert b"chunked" not in head
            assert b"keep-alive" not in head.lower()
            assert (lines.of_streams[0]["bytes"], "end" in lines.of_streams[0]) == (
                len(body),
                False,
            )


class TestCounting:
    async def test_open_streams_count_among_the_connections(
        self, gateways: Gateways, nothing_displaced: None
    ) -> None:
        gateway = await gateways.start(max_connections=3)
        user = await waiting(gateway)
        async with open_stream(gateway, user), open_stream(gateway, user) as second:
            # With the connection of the harness there are three.
            async with connected(gateway.base) as client:
                client.send(request("/api/v1/queue/status", user))
                assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
            second.writer.close()
            await eventually(lambda: len(gateway.app[DETACHED]) == 1)
            async with connected(gateway.base) as client:
                client.send(request("/api/v1/queue/status", user))
                assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 200 ")


class TestStopping:
    async def test_a_server_that_stops_waits_for_the_hub_to_end_its_streams(self, gateways: Gateways) -> None:
        gateway = await gateways.start()
        user = await waiting(gateway)
        async with open_stream(gateway, user) as one, open_stream(gateway, user) as other:
            server = server_of(gateway)
            server.pre_shutdown()
            stopping = asyncio.create_task(server.shutdown(PATIENCE))
            await gateway.app[HUBS].drain(0.2)  # type: ignore[attr-defined]
            for client in (one, other):
                rest = await client.rest()
                assert b": going away" in rest
                assert rest.endswith(b"\r\n0\r\n\r\n")
            await gateway.session.close()
            await asyncio.wait_for(stopping, PATIENCE)

            assert len(gateway.app[DETACHED]) == 0

    async def test_streams_that_are_left_at_the_end_of_the_grace_time_are_aborted(
        self, gateways: Gateways
    ) -> None:
        gateway = await gateways.start()
        user = await waiting(gateway)
        async with open_stream(gateway, user) as client:
            await server_of(gateway).shutdown(0.0)

            assert len(gateway.app[DETACHED]) == 0
            assert not (await client.rest()).endswith(b"\r\n0\r\n\r\n")
        assert len(gateway.app[HUBS]["default"]) == 0
        assert gateway.app[METRICS].in_progress == 0


async def test_a_fault_of_ours_behind_the_hand_over_ends_the_connection(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await gateways.start()
    user = await waiting(gateway)

    def fail(_tab: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(gateway.app[HUBS]["default"], "serve", fail)
    async with connected(gateway.base) as client:
        client.send(request("/api/v1/queue/stream", user))

        assert await client.rest() == b""
    assert len(gateway.app[DETACHED]) == 0
    assert gateway.app[METRICS].in_progress == 0
