"""Connections to services: kept, used again, given up in time, and never the cause of an error or a repeated call."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.pool import ConnectFailed, UpstreamPool
from gateway.proxy.upstream import UpstreamBase
from tests.proxy.rig import gateway_to
from tests.support.raw_http import OK, SECONDS, Peer, Upstream, answering, raw_upstream, request


async def test_one_connection_serves_one_call_after_the_other() -> None:
    async with raw_upstream(answering(OK)) as upstream, gateway_to(upstream.base) as gateway:
        for _ in range(5):  # clients come and go, the connection stays
            async with gateway.client() as client:
                assert (await client.ask()).body == b"ok"
                assert (await client.ask("POST", "/", "Content-Length: 3", body=b"abc")).body == b"ok"
    assert upstream.connections == 1
    assert len(upstream.heads) == 10


async def test_calls_at_the_same_time_have_a_connection_each() -> None:
    together = asyncio.Barrier(3)

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            await peer.head()
            await together.wait()
            peer.send(OK)

    async def call() -> bytes:
        async with gateway.client() as client:
            return (await client.ask()).body

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        for _ in range(2):
            async with asyncio.timeout(SECONDS):
                assert await asyncio.gather(call(), call(), call()) == [b"ok"] * 3
    assert upstream.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["Connection: close", "HTTP/1.0"],
)
async def test_a_connection_the_service_will_end_is_not_kept(answer: bytes) -> None:
    async with (
        raw_upstream(answering(answer)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(3):
            assert (await client.ask("POST", "/", "Content-Length: 0")).body == b"ok"
    assert upstream.connections == 3


class Dying:
    """A service that answers the first call of a connection, and ends the connection on the second without a word.
    Connections behind the first one live on."""

    def __init__(self, *, reset: bool) -> None:
        self._reset = reset
        self.calls: list[str] = []

    async def __call__(self, upstream: Upstream, peer: Peer) -> None:
        first = upstream.connections == 1
        while True:
            head = await peer.head()
            self.calls.append(head.line.split(" ")[0])
            await peer.body(head)
            if first and len(self.calls) == 2:
                if self._reset:
                    peer.reset()
                return
            peer.send(OK.removesuffix(b"ok") if head.line.startswith("HEAD ") else OK)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_kept_connection_that_dies_under_a_harmless_call_is_no_error(
    method: str, reset: bool
) -> None:
    dying = Dying(reset=reset)
    async with (
        raw_upstream(dying) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 200
        assert (await client.ask(method)).status == 200
    assert dying.calls == ["GET", method, method]
    assert upstream.connections == 2


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST", "PATCH", "LOCK"])
async def test_a_call_that_may_have_been_done_is_never_sent_twice(method: str, reset: bool) -> None:
    dying = Dying(reset=reset)
    async with (
        raw_upstream(dying) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 200
        assert (await client.ask(method, "/", "Content-Length: 2", body=b"hi")).status == 502
    assert dying.calls == ["GET", method]
    assert upstream.connections == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_is_repeated_can_be_set(method: str) -> None:
    dying = Dying(reset=False)
    async with (
        raw_upstream(dying) as upstream,
        gateway_to(upstream.base, repeatable=["DELETE"]) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 200
        assert (await client.ask(method)).status == (200 if method == "DELETE" else 502)
    assert dying.calls == ["GET", method, method][: 3 if method == "DELETE" else 2]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 2000 No\r\n\r\n",
    ],
    ids=["an interim head", "half a head", "no HTTP", "a bad status"],
)
async def test_a_call_whose_answer_has_begun_is_never_sent_twice(answer: bytes) -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        upstream.heads.append(await peer.head())
        peer.send(OK)
        upstream.heads.append(await peer.head())
        peer.send(answer)
        await peer.writer.drain()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 200
        client.send(request())
        head = await client.head()
        if head.status == 103:
            head = await client.head()
        assert head.status == 502
    assert len(upstream.heads) == 2


async def test_without_a_time_for_it_no_connection_is_kept() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, idle=0) as gateway,
        gateway.client() as client,
    ):
        for _ in range(3):
            assert (await client.ask()).body == b"ok"
    assert upstream.connections == 3


async def test_a_call_is_repeated_once_and_no_more() -> None:
    calls = 0

    async def talk(upstream: Upstream, peer: Peer) -> None:
        nonlocal calls
        while True:
            await peer.head()
            calls += 1
            if calls > 1:
                return
            peer.send(OK)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 200
        assert (await client.ask()).status == 502
    assert calls == 3


class Idling:
    """A service that answers each connection's first call, and at a sign does something with the idle connection:
    says ``word``, or ends it. ``over`` is set when the gateway has ended the connection."""

    def __init__(self, word: bytes = b"") -> None:
        self._word = word
        self.go = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, upstream: Upstream, peer: Peer) -> None:
        upstream.heads.append(await peer.head())
        peer.send(OK)
        if upstream.connections == 1:
            await self.go.wait()
            peer.send(self._word)
            if not self._word:
                peer.writer.write_eof()
            await peer.rest()
            self.over.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "word",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 408 Request Timeout\r\n\r\n",
        b"\r\n",
        b"x",
    ],
    ids=["end", "answer", "408", "empty line", "junk"],
)
async def test_a_connection_on_which_something_happened_while_idle_carries_no_call(
    method: str, word: bytes
) -> None:
    idling = Idling(word)
    async with (
        raw_upstream(idling) as upstream,
        gateway_to(upstream.base, idle=0.2) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).body == b"ok"
        idling.go.set()
        async with asyncio.timeout(SECONDS):
            await idling.over.wait()
        answer = await client.ask(method, "/", "Content-Length: 0")
    assert (answer.status, answer.body) == (200, b"ok")
    assert upstream.connections == 2
    assert len(upstream.heads) == 2


async def test_what_came_while_idle_does_not_become_the_next_answer() -> None:
    said = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        if upstream.connections > 1:
            peer.send(OK)
            return
        peer.send(OK)
        await said.wait()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await peer.rest()

    async with raw_upstream(talk) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, 1.0)
        connection.begin(b"GET / HTTP/1.1\r\n\r\n", body_follows=True)
        await connection.read_head()
        assert await connection.read() == b"ok"
        protocol = connection._protocol
        connection.release()
        said.set()
        async with asyncio.timeout(SECONDS):
            while not protocol.should_close:
                await asyncio.sleep(0)
        fresh = await pool.connect(upstream.base, 1.0)
        assert not fresh.reused
        fresh.close()


async def test_idle_connections_are_closed_after_their_time() -> None:
    ended = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(OK)
        assert await peer.rest() == b""
        ended.set()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base, idle=0.1) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).body == b"ok"
        async with asyncio.timeout(SECONDS):
            await ended.wait()
        assert (await client.ask()).body == b"ok"
    assert upstream.connections == 2


async def test_an_answer_not_read_to_its_end_leaves_no_connection_behind() -> None:
    ended = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        assert await peer.rest() == b""
        ended.set()

    async with raw_upstream(talk) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, 1.0)
        connection.begin(b"GET / HTTP/1.1\r\n\r\n", body_follows=True)
        assert (await connection.read_head()).code == 200
        connection.release()
        async with asyncio.timeout(SECONDS):
            await ended.wait()
        again = await pool.connect(upstream.base, 1.0)
        assert not again.reused
        again.close()


async def test_closing_the_pool_ends_idle_connections() -> None:
    ended = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(OK)
        assert await peer.rest() == b""
        ended.set()

    async with raw_upstream(talk) as upstream:
        async with gateway_to(upstream.base) as gateway, gateway.client() as client:
            assert (await client.ask()).body == b"ok"
            assert not ended.is_set()
        async with asyncio.timeout(SECONDS):
            await ended.wait()


@pytest.fixture
def unaccepting() -> Iterator[UpstreamBase]:
    """Listens, with its queue full: further attempts to connect get no answer."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listening.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield UpstreamBase("http", *address)


async def test_a_refused_and_a_timed_out_connection_are_different_errors(unaccepting: UpstreamBase) -> None:
    async with raw_upstream(answering(OK)) as upstream:
        gone = upstream.base
    async with UpstreamPool() as pool:
        with pytest.raises(ConnectFailed) as refused:
            await pool.connect(gone, 1.0)
        with pytest.raises(ConnectFailed) as late:
            await pool.connect(unaccepting, 0.1)
    assert isinstance(refused.value.error, UpstreamUnreachable)
    assert isinstance(late.value.error, UpstreamTimeout)
    assert refused.value.instance_failed
    assert late.value.instance_failed


async def test_an_unknown_host_name_is_an_unreachable_service() -> None:
    async with UpstreamPool() as pool:
        with pytest.raises(ConnectFailed) as unknown:
            await pool.connect(UpstreamBase("http", "nobody.invalid", 80), SECONDS)
    assert isinstance(unknown.value.error, UpstreamError)
    assert unknown.value.instance_failed
    assert "nobody" not in str(unknown.value.error)


async def test_more_than_a_hundred_calls_at_a_time_all_have_their_connection() -> None:
    async with raw_upstream(answering(OK)) as upstream, UpstreamPool() as pool:
        async with asyncio.timeout(SECONDS):
            connections = await asyncio.gather(*(pool.connect(upstream.base, SECONDS) for _ in range(150)))
        for connection in connections:
            connection.close()


async def test_a_shortage_of_files_on_this_side_is_not_the_services_fault() -> None:
    async with raw_upstream(answering(OK)) as upstream, UpstreamPool() as pool:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = os.open(
            os.devnull, os.O_RDONLY
        )  # the lowest number that is free, and so the first to be out of reach
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
            with pytest.raises(ConnectFailed) as short:
                await pool.connect(upstream.base, SECONDS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(taken)
        assert isinstance(short.value.error, UpstreamUnreachable)
        assert not short.value.instance_failed
        (await pool.connect(upstream.base, SECONDS)).close()


class Slow:
    """A service that takes nothing before it is told to ``go_on``; ``taken`` is how much it got by the end."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self, upstream: Upstream, peer: Peer) -> None:
        await self.go_on.wait()
        taken = 0
        while data := await peer.reader.read(1 << 20):
            taken += len(data)
        self.taken.set_result(taken)

    async def got(self) -> int:
        """How much it gets if it takes all from now on."""
        self.go_on.set()
        async with asyncio.timeout(SECONDS):
            return await self.taken


# More than the system keeps for a connection that is ending.
_MUCH = 40 << 20


async def test_giving_up_leaves_a_service_that_takes_nothing_at_once() -> None:
    """What is still to be sent would keep the connection for as long as the service likes."""
    slow = Slow()
    async with raw_upstream(slow) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, SECONDS)
        connection.send(bytes(_MUCH))
        connection.close()
        assert await slow.got() < _MUCH


@pytest.mark.parametrize("hung_up", [True, False])
async def test_closing_the_pool_does_not_wait_for_a_service_that_takes_nothing(hung_up: bool) -> None:
    slow = Slow()
    async with raw_upstream(slow) as upstream:
        async with asyncio.timeout(SECONDS), UpstreamPool() as pool:
            connection = await pool.connect(upstream.base, SECONDS)
            connection.send(bytes(_MUCH))
            if hung_up:
                connection.close_gracefully(1000.0)
        connection.close()
        assert await slow.got() < _MUCH


async def test_what_was_sent_last_still_arrives_after_hanging_up() -> None:
    slow = Slow()
    async with raw_upstream(slow) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, SECONDS)
        connection.send(bytes(_MUCH))
        connection.close_gracefully(1000.0)
        assert await slow.got() == _MUCH


async def test_hanging_up_has_its_time() -> None:
    slow = Slow()
    async with raw_upstream(slow) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, SECONDS)
        connection.send(bytes(_MUCH))
        connection.close_gracefully(0.05)
        async with asyncio.timeout(SECONDS):
            while pool._lingering:
                await asyncio.sleep(0.01)
        assert await slow.got() < _MUCH
