"""Calls through the gateway's own server: what it reads of requests, and what ends on one side, on the other."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import PayloadTooLarge, UpstreamTimeout, UpstreamUnreachable
from tests.proxy.rig import gateway_to
from tests.support.raw_http import OK, SECONDS, Peer, Upstream, answering, raw_upstream, request

_CHUNKED = "Transfer-Encoding: chunked"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]


@pytest.mark.parametrize("method", _METHODS)
async def test_every_method_passes_with_and_without_a_body(method: str) -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask(method, "/x")).body == b"ok"
        assert (await client.ask(method, "/x", "Content-Length: 3", body=b"a\0b")).body == b"ok"
        assert (
            await client.ask(method, "/x", _CHUNKED, body=b"2\r\na\0\r\n1\r\nb\r\n0\r\n\r\n")
        ).body == b"ok"
    assert [head.line for head in upstream.heads] == [f"{method} /x HTTP/1.1"] * 3
    assert upstream.bodies == [b"", b"a\0b", b"a\0b"]


async def test_repeated_fields_of_a_request_keep_their_order_and_spelling() -> None:
    fields = ["x-b: 1", "Accept: a", "X-B: 2", "accept: b, c", "Cookie: a=1", "x-B: 1", "Cookie: b=2"]
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        await client.ask("GET", "/", *fields)
    sent = [f"{name}: {value}" for name, value in upstream.heads[0].fields]
    assert [field for field in sent if field in fields] == fields


@pytest.mark.parametrize("trailer", ["X-Check: 1", "X-User-Id: 1", "Authorization: Bearer x"])
async def test_trailers_of_a_request_are_dropped(trailer: str) -> None:
    body = f"3\r\nabc\r\n0\r\n{trailer}\r\n\r\n".encode()
    name = trailer.partition(":")[0]
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask("POST", "/", _CHUNKED, f"Trailer: {name}", body=body)).status == 200
    assert upstream.bodies == [b"abc"]
    assert not upstream.heads[0].all(name)
    assert not upstream.heads[0].all("Trailer")


async def test_a_trailer_is_no_field_of_the_next_request() -> None:
    body = b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        await client.ask("POST", "/", _CHUNKED, body=body)
        assert (await client.ask("GET", "/behind")).status == 200
    assert [head.all("Authorization") for head in upstream.heads] == [[], []]


async def test_a_trailer_that_speaks_of_framing_is_refused_with_all_behind_it() -> None:
    body = b"3\r\nabc\r\n0\r\nContent-Length: 99\r\n\r\n"
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", _CHUNKED) + body + request("GET", "/behind"))
        answer = await client.answer()
        assert answer.status == 400
        assert answer.all("Connection") == ["close"]
        assert await client.rest() == b""
    assert upstream.heads == []


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 7\r\n\r\n'),
    ],
)
async def test_an_answer_without_a_body_leaves_the_client_s_connection_usable(
    method: str, answer: bytes
) -> None:
    async with (
        raw_upstream(answering(answer, OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request(method))
        head = await client.answer(bodiless=True)
        assert (await client.ask()).body == b"ok"
    assert head.line == answer.split(b"\r\n")[0].decode()
    assert head.all("Content-Length") == (["7"] if b"Content-Length" in answer else [])
    # A body that is announced may come late, so that connection is not used again.
    assert upstream.connections == (1 if b"204" in answer else 2)


async def test_a_slow_call_does_not_hold_up_quick_ones() -> None:
    slow_is_there, go = asyncio.Event(), asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            if "/slow" in (await peer.head()).line:
                slow_is_there.set()
                await go.wait()
            peer.send(OK)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as slow,
        gateway.client() as quick,
    ):
        slow.send(request("GET", "/slow"))
        async with asyncio.timeout(SECONDS):
            await slow_is_there.wait()
        for _ in range(50):
            assert (await quick.ask("GET", "/quick")).body == b"ok"
        go.set()
        assert (await slow.answer()).body == b"ok"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "within the answer"])
async def test_a_client_that_goes_away_ends_the_call_to_the_service(begun: bool, reset: bool) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        if begun:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        asked.set()
        assert await peer.rest() == b""
        ended.set()

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client, asyncio.timeout(SECONDS):
            client.send(request())
            await asked.wait()
            if begun:
                await client.head()
                assert await client.chunk() == b"data: 1\n\n"
            if reset:
                client.reset()
        async with asyncio.timeout(SECONDS):
            await ended.wait()
        assert isinstance(await gateway.outcome(), asyncio.CancelledError)


async def test_an_answer_during_an_upload_arrives_and_is_the_last_one() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        await peer.chunk()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        await peer.rest()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", _CHUNKED) + b"11170\r\n" + b"a" * 70_000 + b"\r\n")
        answer = await client.answer()
        assert (answer.status, answer.body) == (403, b"no")
        assert answer.all("Connection") == ["close"]


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (("Content-Length: 1001",), b""),
        ((_CHUNKED,), b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"),
        ((_CHUNKED,), b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n"),
    ],
    ids=["announced", "chunked and whole", "chunked and unfinished"],
)
async def test_a_body_above_the_limit_is_refused(fields: tuple[str, ...], body: bytes) -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=1000) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask("POST", "/", *fields, body=body)).status == 413
        assert isinstance(await gateway.outcome(), PayloadTooLarge)
    assert upstream.bodies == []


async def test_a_body_of_just_the_limit_passes() -> None:
    whole = b"x" * 1000
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=1000) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask("POST", "/", "Content-Length: 1000", body=whole)).status == 200
        assert (
            await client.ask("POST", "/", _CHUNKED, body=b"3e8\r\n" + whole + b"\r\n0\r\n\r\n")
        ).status == 200
    assert upstream.bodies == [whole, whole]


async def test_a_service_that_refuses_and_one_that_is_silent_are_told_apart() -> None:
    async def silent(upstream: Upstream, peer: Peer) -> None:
        await peer.rest()

    async with (
        raw_upstream(silent) as upstream,
        gateway_to(upstream.base, response_timeout=0.05) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 504
        assert isinstance(await gateway.outcome(), UpstreamTimeout)
    async with gateway_to(upstream.base) as gateway, gateway.client() as client:
        assert (await client.ask()).status == 502
        assert isinstance(await gateway.outcome(), UpstreamUnreachable)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
    ],
    ids=["length", "chunked", "until the connection ends"],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_service_that_dies_within_its_answer_leaves_a_broken_transfer(
    start: bytes, version: str
) -> None:
    arrived = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(start)
        await arrived.wait()
        peer.reset()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request(version=version))
        head = await client.head()
        chunked = bool(head.all("Transfer-Encoding"))
        assert (await client.chunk() if chunked else await client.exactly(4)) == b"half"
        arrived.set()
        if head.all("Content-Length"):
            assert await client.rest() == b""  # and not the nine bytes that were announced
        elif chunked:
            with pytest.raises(asyncio.IncompleteReadError):
                await client.chunk()
        else:
            with pytest.raises(ConnectionResetError):
                await client.rest()
