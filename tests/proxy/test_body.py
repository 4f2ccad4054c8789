"""Bodies of requests on their way to the service: framed by us, never held as a whole, stopped in time."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway.errors import PayloadTooLarge, RequestTimeout, UpstreamTimeout
from gateway.proxy.uploads import UploadLimits, Uploads
from tests.proxy import rig
from tests.support.raw_http import OK, Peer, Upstream, answering, raw_upstream

# Requests that the gateway's own server refuses must not pass the Forwarder either.
gateway_to = partial(rig.gateway_to, guarded=False)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = 256 * 1024


async def swallowing(upstream: Upstream, peer: Peer) -> None:
    """Reads each request with its body as it is framed, keeps both, and answers OK."""
    while True:
        head = await upstream.head(peer)
        if head.all("Transfer-Encoding") == ["chunked"]:
            data = b""
            while True:
                line = await peer.reader.readuntil(b"\r\n")
                data += line + await peer.exactly(int(line, 16) + 2)
                if line == b"0\r\n":
                    break
        else:
            data = await peer.exactly(int("".join(head.all("Content-Length")) or 0))
        upstream.bodies.append(data)
        peer.send(OK)


@pytest.mark.parametrize(
    ("sent", "framing", "data"),
    [
        (b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", [], b""),
        (b"POST / HTTP/1.1\r\nHost: gw\r\n\r\n", [b"Content-Length: 0"], b""),
        (b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n", [b"Content-Length: 0"], b""),
        (b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbody", [b"Content-Length: 4"], b"body"),
        (b"GET / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbody", [b"Content-Length: 4"], b"body"),
        (
            b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;ext=1\r\nbo\r\n2\r\ndy\r\n0\r\nX-Trailer: evil\r\n\r\n",
            [b"Transfer-Encoding: chunked"],
            b"4\r\nbody\r\n0\r\n\r\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: gw\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
            [b"Transfer-Encoding: chunked"],
            b"0\r\n\r\n",
        ),
    ],
)
async def test_what_goes_on_is_framed_by_us(sent: bytes, framing: list[bytes], data: bytes) -> None:
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            client.send(sent)
            assert (await client.answer()).body == b"ok"
            lines = upstream.heads[-1].raw.split(b"\r\n")
            names = (b"content-length", b"transfer-encoding", b"trailer")
            assert [line for line in lines if line.lower().startswith(names)] == framing
            assert upstream.bodies[-1] == data


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
async def test_ambiguous_lengths_reach_no_service(framing: bytes) -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\n" + framing + b"\r\n0\r\n\r\n")
        assert (await client.head()).status == 400
        assert upstream.connections == 0


async def test_a_smuggled_request_is_only_a_body() -> None:
    hidden = b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: svc\r\n\r\n"
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(
            b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n"
            % len(hidden)
        )
        client.send(hidden)
        assert (await client.answer()).body == b"ok"
        assert upstream.bodies == [hidden]
        assert b"hunked" not in upstream.heads[0].raw


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_starts_before_it_is_all_there(chunked: bool) -> None:
    got = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await peer.reader.read(1)
        got.set()
        data = b""
        while b"the end" not in data:
            data = data[-10:] + await peer.reader.read(65536)
        peer.send(OK)

    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (LARGE + 7)
    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\n" + framing + b"\r\n\r\n")
        first, last = b"a" * LARGE, b"the end"
        client.send(b"%x\r\n%b\r\n" % (LARGE, first) if chunked else first)
        await got.wait()
        client.send(b"7\r\n%b\r\n0\r\n\r\n" % last if chunked else last)
        answer = await client.answer()
        assert answer.body == b"ok"


async def test_a_short_body_takes_no_connection_before_it_is_there() -> None:
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
        gateway.client() as other,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbo")
        assert (await other.ask()).body == b"ok"
        assert (len(upstream.heads), len(upstream.bodies)) == (1, 1)
        client.send(b"dy")
        assert (await client.answer()).body == b"ok"
        assert upstream.bodies[-1] == b"body"


@pytest.mark.parametrize("length", [4, LARGE])
async def test_a_client_that_waits_for_continue_gets_it_from_the_gateway(length: int) -> None:
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        head = b"POST / HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        client.send(head % length)
        assert (await client.head()).status == 100
        # No service waits for what the client has yet to send.
        assert upstream.connections == 0
        client.send(b"b" * length)
        assert (await client.answer()).body == b"ok"
        assert b"xpect" not in upstream.heads[0].raw
        assert upstream.bodies == [b"b" * length]


async def test_a_client_that_does_not_wait_for_continue_is_not_told() -> None:
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        assert (await client.answer()).status == 200


async def test_a_continue_of_the_service_is_not_passed_on() -> None:
    async with (
        raw_upstream(answering(CONTINUE + OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbody")
        assert (await client.answer()).status == 200


async def test_too_long_an_expected_body_is_refused_at_once() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=3) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert (await client.answer()).status == 413
        assert upstream.connections == 0


async def test_an_early_answer_passes_and_the_connection_is_closed() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await peer.reader.read(1000)
        peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        await peer.reader.read()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n" + b"a" * LARGE)
        answer = await client.answer()
        assert (answer.status, answer.body, answer.all("Connection")) == (401, b"no", ["close"])
        assert (await gateway.response()).complete


async def test_a_connection_whose_body_was_not_all_sent_is_never_used_again() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(OK)
        await peer.reader.read()

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        for turn in range(3):
            async with gateway.client() as client:
                client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000\r\n\r\n" + b"a" * 70_000)
                assert (await client.answer()).body == b"ok"
            assert upstream.connections == turn + 1


async def test_a_body_in_chunks_is_held_to_the_limit() -> None:
    broken = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        data = await peer.reader.read()
        assert not data.endswith(b"0\r\n\r\n")
        broken.set()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base, body_limit=LARGE) as gateway,
        gateway.client() as client,
    ):
        head = b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + b"20000\r\n" + b"a" * 0x20000)
        while not upstream.heads:
            await asyncio.sleep(0)
        client.send(b"\r\n20001\r\n" + b"a" * 0x20001 + b"\r\n")
        assert (await client.head()).status == 413
        await broken.wait()
        assert isinstance(gateway.errors[0], PayloadTooLarge)


async def test_an_unfinished_chunked_body_is_held_to_the_limit_before_a_service_is_asked() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=3) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
        assert (await client.head()).status == 413
        assert upstream.connections == 0


async def test_a_short_chunked_body_is_held_to_the_limit_before_a_service_is_asked() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=3) as gateway,
        gateway.client() as client,
    ):
        client.send(
            b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        )
        assert (await client.head()).status == 413
        assert upstream.connections == 0


async def test_a_malformed_chunk_of_the_client_ends_both_sides() -> None:
    broken = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        assert not (await peer.reader.read()).endswith(b"0\r\n\r\n")
        broken.set()

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client:
            head = b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.send(head + b"%x\r\n%b\r\n" % (LARGE, b"a" * LARGE))
            while not upstream.heads:
                await asyncio.sleep(0)
            client.send(b"ZZ\r\n")
            client.writer.write_eof()
            assert b" 200 " not in await client.rest()
        await broken.wait()


@pytest.mark.parametrize("length", [4, 1_000_000])
@pytest.mark.parametrize("sent", [b"bo", b"b" * 70_000], ids=["at first", "later"])
async def test_a_client_that_stops_sending_is_given_up(length: int, sent: bytes) -> None:
    uploads = Uploads(UploadLimits(timeout=0.1))
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(
            b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % length + sent[: length - 1]
        )
        assert (await client.head()).status == 408
        assert [type(error) for error in gateway.errors] == [RequestTimeout]
        assert upstream.connections == (len(sent[: length - 1]) > 65536)


async def test_a_client_that_goes_away_within_its_body_ends_the_call() -> None:
    left = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await peer.reader.read()
        left.set()

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000\r\n\r\n" + b"a" * 70_000)
            while not upstream.heads:
                await asyncio.sleep(0)
        await left.wait()


async def test_a_service_that_stops_reading_is_given_up() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await asyncio.Event().wait()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base, response_timeout=0.2) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n")
        client.send(b"a" * 50_000_000)
        assert (await client.head()).status == 504
        assert isinstance(gateway.errors[0], UpstreamTimeout)


async def test_a_slow_upload_is_no_slow_answer() -> None:
    async with (
        raw_upstream(swallowing) as upstream,
        gateway_to(upstream.base, response_timeout=0.15) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            client.send(b"1\r\na\r\n")
            await asyncio.sleep(0.1)
        client.send(b"0\r\n\r\n")
        assert (await client.answer()).body == b"ok"
