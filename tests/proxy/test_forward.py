"""Forwarding between real connections: what arrives on the other side, byte by byte."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from unittest.mock import Mock

import pytest
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from gateway.errors import BadRequest, NoInstance, PayloadTooLarge, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy import forward
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.response import BufferedResponse, ForwardedResponse, send_interim, wait_for_reader
from gateway.proxy.upstream import UpstreamBase
from tests.proxy import rig
from tests.proxy.rig import aiohttp_upstream
from tests.support.raw_http import OK, SECONDS, Peer, Upstream, answering, raw_upstream

# Requests that the gateway's own server refuses must not pass the Forwarder either.
gateway_to = partial(rig.gateway_to, guarded=False)


async def test_an_answer_passes_as_it_was_sent() -> None:
    reason = "좋아 \xff".encode("latin-1", "ignore") + "좋".encode()
    sent = (
        b"HTTP/1.1 299 " + reason + b"\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: svc/1\r\n"
        b"set-COOKIE: a=1\r\nX-Odd: \xff\xea\xb0\x80\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n"
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\n"
    )
    async with (
        raw_upstream(answering(sent)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        answer = await client.ask()
    assert answer.line.encode("latin-1") == b"HTTP/1.1 299 " + reason
    assert answer.fields == [
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("Server", "svc/1"),
        ("set-COOKIE", "a=1"),
        ("X-Odd", "\xff\xea\xb0\x80"),
        ("Set-Cookie", "b=2"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "4"),
    ]
    assert answer.body == b"\x1f\x8b\0\n"


async def test_a_request_passes_with_raw_target_and_the_instances_host() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        await client.ask("GET", "/a%2Fb/%ea?q=%20&&x", "X-Odd: \xff", "Accept-Encoding: br")
    line, host, *rest = upstream.heads[0].raw.split(b"\r\n")
    assert line == b"GET /a%2Fb/%ea?q=%20&&x HTTP/1.1"
    assert host == b"Host: " + upstream.base.authority
    assert rest[:2] == [b"X-Odd: \xff", b"Accept-Encoding: br"]


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(5):
            assert (await client.ask()).body == b"ok"
        assert upstream.connections == 1


@pytest.mark.parametrize(
    ("answer", "method", "fields", "body"),
    [
        (b"HTTP/1.1 204 No\r\n\r\n", "GET", [], b""),
        (
            b"HTTP/1.1 304 No\r\nETag: x\r\nContent-Length: 9\r\n\r\n",
            "GET",
            [("ETag", "x"), ("Content-Length", "9")],
            b"",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", [("Content-Length", "9")], b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", [], b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", [("Content-Length", "0")], b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-Trailer: t\r\n\r\n",
            "GET",
            [("Transfer-Encoding", "chunked")],
            b"ok",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET",
            [("Transfer-Encoding", "chunked")],
            b"",
        ),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "GET", [("Content-Length", "2")], b"ok"),
    ],
)
async def test_bodies_are_framed_as_the_status_and_method_want(
    answer: bytes, method: str, fields: list[tuple[str, str]], body: bytes
) -> None:
    async with (
        raw_upstream(answering(answer)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            client.send(f"{method} / HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
            got = await client.answer(bodiless=method == "HEAD" or b" 204 " in answer or b" 304 " in answer)
            assert (got.fields, got.body) == (fields, body)


async def test_a_body_that_ends_with_the_connection_comes_in_chunks() -> None:
    async with (
        raw_upstream(answering(b"HTTP/1.0 200 OK\r\n\r\nall of it", then_close=True)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            got = await client.ask()
            assert (got.all("Transfer-Encoding"), got.body) == (["chunked"], b"all of it")
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("version", "fields", "answer", "connection", "stays"),
    [
        ("1.1", [], OK, [], True),
        ("1.1", ["Connection: close"], OK, ["close"], False),
        ("1.0", [], OK, ["close"], False),
        ("1.0", ["Connection: keep-alive"], OK, ["keep-alive"], True),
        (
            "1.0",
            ["Connection: keep-alive"],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ["close"],
            False,
        ),
    ],
)
async def test_the_clients_connection_stays_as_agreed(
    version: str, fields: list[str], answer: bytes, connection: list[str], stays: bool
) -> None:
    async with (
        raw_upstream(answering(answer)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        got = await client.ask("GET", "/", *fields, version=version)
        assert (got.all("Connection"), got.body) == (connection, b"ok")
        if stays:
            assert (await client.ask("GET", "/", *fields, version=version)).body == b"ok"
        else:
            assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order() -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % turn for turn in range(3)]
    async with (
        raw_upstream(answering(*answers)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n" * 3)
        assert [(await client.answer()).body for _ in range(3)] == [b"0", b"1", b"2"]


async def test_events_of_services_pass_the_moment_they_come() -> None:
    more = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for data in (b"data: 1\n\n", b"data: 2\n\n"):
            await more.wait()
            more.clear()
            peer.send(b"%x\r\n%b\r\n" % (len(data), data))
        await more.wait()
        peer.send(b"0\r\n\r\n")

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await client.head()).status == 200
        for data in (b"data: 1\n\n", b"data: 2\n\n", b""):
            more.set()
            assert await client.chunk() == data


async def test_interim_responses_pass_to_http_1_1_clients_only() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    for version, expected in (("1.1", [103, 200]), ("1.0", [200])):
        async with (
            raw_upstream(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)) as upstream,
            gateway_to(upstream.base) as gateway,
            gateway.client() as client,
        ):
            client.send(f"GET / HTTP/{version}\r\nHost: gw\r\n\r\n".encode())
            heads = [await client.head() for _ in expected]
            assert [head.status for head in heads] == expected
            assert await client.reader.readexactly(2) == b"ok"


async def test_what_a_route_hides_is_not_in_interim_answers_either() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a?password=x>\r\nX-Inner: 7\r\n\r\n"

    def edits(headers: CIMultiDict[str]) -> None:
        headers.popall("X-Inner", None)
        headers["Link"] = headers.get("Link", "").replace("password=x", "***")
        headers.add("X-Route", "1")

    async with (
        raw_upstream(answering(hints + OK)) as upstream,
        gateway_to(upstream.base, response_edits=edits) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        interim, answer = await client.head(), await client.head()
    assert (interim.status, interim.fields) == (103, [("Link", "</a?***>")])
    assert answer.all("X-Route") == ["1"]


async def test_an_error_after_interim_answers_is_still_told() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with (
        raw_upstream(answering(hints, then_close=True)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await client.head()).status == 103
        assert (await client.answer()).status == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n",
    ],
)
async def test_what_is_no_answer_becomes_an_error(answer: bytes) -> None:
    async with (
        raw_upstream(answering(answer, then_close=True)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")
        while (got := await client.head()).status == 103:
            pass
        assert (got.status, await client.rest()) == (502, b"UPSTREAM_UNREACHABLE")
        assert isinstance(gateway.errors[0], UpstreamUnreachable)
        assert upstream.connections == 1


async def test_nothing_an_idle_upstream_says_answers_the_next_request() -> None:
    said = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(OK)
        if upstream.connections == 1:
            await said.wait()
            peer.send(b"HTTP/1.1 408 Too Late\r\nContent-Length: 4\r\n\r\nevil")
            await peer.reader.read()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).body == b"ok"
        said.set()
        (idle,) = gateway.pool._idle[upstream.base]
        while not idle[0].protocol.should_close:
            await asyncio.sleep(0)
        assert (await client.ask()).body == b"ok"
        assert upstream.connections == 2


async def test_a_second_answer_in_the_same_breath_is_dropped() -> None:
    async with (
        raw_upstream(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(3):
            assert (await client.ask()).body == b"ok"
        assert upstream.connections == 3


async def dying_when_reused(upstream: Upstream, peer: Peer) -> None:
    """Answers once, and ends the connection on the second request without a word."""
    await upstream.head(peer)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await upstream.head(peer)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_dead_idle_connection_is_no_error_where_it_may_be_repeated(method: str) -> None:
    async with (
        raw_upstream(dying_when_reused) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            assert (await client.ask(method)).status == 200
        assert len(upstream.heads) == 3
        assert gateway.errors == []


async def test_a_short_body_is_repeated_with_its_request() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        for _ in range(2):
            await upstream.head(peer)
            upstream.bodies.append(await peer.exactly(4))
            if len(upstream.bodies) == 2:
                return
            peer.send(OK)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbody")
            assert (await client.answer()).status == 200
        assert upstream.bodies == [b"body"] * 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_have_been_done_is_never_repeated(method: str) -> None:
    async with (
        raw_upstream(dying_when_reused) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        first = await client.ask(method, "/", "Content-Length: 0")
        second = await client.ask(method, "/", "Content-Length: 0")
        assert [first.status, second.status] == [200, 502]
        assert len(upstream.heads) == 2


async def test_a_fresh_connection_that_dies_is_an_error_at_once() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).status == 502
        assert len(upstream.heads) == 1


async def test_an_instance_that_refuses_is_passed_over_for_every_method() -> None:
    async with raw_upstream(answering(OK)) as upstream:
        services = {"svc": ["http://127.0.0.1:1", str(upstream.base)]}
        async with gateway_to("svc", services=services) as gateway, gateway.client() as client:
            for method in ("POST", "GET", "POST", "PATCH"):
                assert (await client.ask(method, "/", "Content-Length: 0")).body == b"ok"
            assert len(gateway.instances._ejections.until) == 1


async def test_an_instance_with_an_unknown_host_name_is_passed_over_like_one_that_refuses() -> None:
    async with raw_upstream(answering(OK)) as upstream, gateway_to("svc") as gateway:
        odd = UpstreamBase("http", "x" * 64, 80)
        gateway.instances.discover({"svc": (odd, upstream.base)})
        async with gateway.client() as client:
            for _ in range(4):
                assert (await client.ask()).body == b"ok"
        assert list(gateway.instances._ejections.until) == [odd]


async def test_an_instance_that_takes_a_connection_is_not_aside_any_more() -> None:
    async with raw_upstream(answering(OK)) as upstream:
        services = {"svc": ["http://127.0.0.1:1", str(upstream.base)]}
        async with gateway_to("svc", services=services) as gateway, gateway.client() as client:
            gateway.instances.eject(upstream.base)
            assert (await client.ask()).body == b"ok"
            assert [base.port for base in gateway.instances._ejections.until] == [1]


async def test_unreachable_instances_and_an_unknown_service_are_different_errors() -> None:
    async with gateway_to("svc", services={"svc": ["http://127.0.0.1:1"]}) as gateway:
        async with gateway.client() as client:
            assert (await client.ask()).body == b"UPSTREAM_UNREACHABLE"
        gateway.plan["base"] = "other"
        async with gateway.client() as client:
            assert (await client.ask()).body == b"NO_INSTANCE"
        assert [type(error) for error in gateway.errors] == [UpstreamUnreachable, NoInstance]


async def test_an_upstream_that_does_not_answer_in_time_is_left() -> None:
    left = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await peer.reader.read()
        left.set()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base, response_timeout=0.05) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).body == b"UPSTREAM_TIMEOUT"
        await left.wait()
        (error,) = gateway.errors
        assert isinstance(error, UpstreamTimeout)
        assert error.phase == "response"


async def test_the_response_time_out_is_for_the_head_only() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await asyncio.sleep(0.4)
        peer.send(b"k")
        await peer.reader.read()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base, response_timeout=0.1) as gateway,
        gateway.client() as client,
    ):
        assert (await client.ask()).body == b"ok"


async def test_a_client_that_goes_away_ends_the_call_to_the_upstream() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        asked.set()
        await peer.reader.read()
        left.set()

    async with raw_upstream(talk) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
            await asked.wait()
        await left.wait()
        assert isinstance(await gateway.outcome(), asyncio.CancelledError)


HALF = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0",
]


@pytest.mark.parametrize("answer", HALF)
@pytest.mark.parametrize("reset", [False, True])
async def test_an_upstream_dying_within_the_body_leaves_a_broken_transfer(answer: bytes, reset: bool) -> None:
    die = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(answer)
        await die.wait()
        if reset:
            peer.reset()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        head = await client.head()
        assert head.status == 200
        die.set()
        rest = await client.rest()
        assert rest in {b"half", b"4\r\nhalf\r\n"}
        response = await gateway.response()
        assert not response.complete
        assert gateway.errors == []


async def test_a_reset_is_no_end_of_a_body_that_ends_with_the_connection() -> None:
    die = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await die.wait()
        peer.reset()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.0\r\nHost: gw\r\n\r\n")
        await client.head()
        assert await client.reader.readexactly(4) == b"half"
        die.set()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert not (await gateway.response()).complete


@pytest.mark.parametrize("bad", [b"ZZ\r\nboom", b"-1\r\n", b"4\r\nmore than four"])
async def test_a_malformed_chunk_breaks_the_transfer_without_a_wait(bad: bytes) -> None:
    go = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await go.wait()
        peer.send(bad)
        await peer.reader.read()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        await client.head()
        assert await client.chunk() == b"ok"
        go.set()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert not (await gateway.response()).complete


async def test_edits_change_end_to_end_headers_and_nothing_else() -> None:
    sent = b"HTTP/1.1 200 OK\r\nX-Odd: \xff\r\nX-Gone: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    sent += b"Content-Length: 2\r\n\r\nok"

    def edits(headers: CIMultiDict[str]) -> None:
        del headers["X-Gone"]
        headers.add("X-New", "좋")
        headers["Content-Length"] = "99"
        headers["Connection"] = "upgrade"

    async with (
        raw_upstream(answering(sent)) as upstream,
        gateway_to(upstream.base, response_edits=edits) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            answer = await client.ask()
            assert answer.body == b"ok"
            assert answer.fields == [
                ("X-Odd", "\xff"),
                ("Set-Cookie", "a"),
                ("Set-Cookie", "b"),
                ("X-New", "좋".encode().decode("latin-1")),
                ("Content-Length", "2"),
            ]


async def test_upgrades_are_plain_requests_and_connect_is_refused() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
        assert (await client.ask("GET", "/", *upgrade)).body == b"ok"
        assert b"pgrade" not in upstream.heads[0].raw
        client.send(b"CONNECT svc:443 HTTP/1.1\r\nHost: svc:443\r\n\r\n")
        assert (await client.answer()).status == 400
        assert isinstance(gateway.errors[0], BadRequest)


async def test_too_long_a_body_is_refused_before_a_service_is_asked() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base, body_limit=3) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nbody")
        assert (await client.answer()).status == 413
        (error,) = gateway.errors
        assert isinstance(error, PayloadTooLarge)
        assert (error.limit, upstream.connections) == (3, 0)


async def test_a_service_may_be_a_real_server() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async with aiohttp_upstream(echo) as base, gateway_to(base) as gateway, gateway.client() as client:
        for size in (0, 1, 70_000, 300_000):
            sent = bytes(range(256)) * (size // 256 + 1)
            client.send(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
            answer = await client.answer()
            assert answer.body == sent
            if answer.all("Connection") == ["close"]:
                break


async def test_backpressure_stops_serving_a_client_that_does_not_read_and_loses_no_answer() -> None:
    """Each answer is small enough to be written at once, all together are not."""
    requests, body = 900, b"x" * 15_000
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with raw_upstream(answering(sent)) as upstream, gateway_to(upstream.base) as gateway:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", gateway.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=1000)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
        before = -1
        while before != len(upstream.heads):
            before = len(upstream.heads)
            await asyncio.sleep(0.3)
        # What two kernels take, and no more.
        assert 0 < len(upstream.heads) < requests / 2
        for _ in range(requests):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(len(body)) == body
        assert len(upstream.heads) == requests
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_reads_no_short_answers_keeps_no_connection_to_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting: asyncio.Queue[UpstreamConnection | None] = asyncio.Queue()
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n" + b"x" * 15_000

    async def wait(request: web.BaseRequest, response: ForwardedResponse | BufferedResponse) -> None:
        if request.protocol.writing_paused:
            waiting.put_nowait(gateway.pool.idle(upstream.base))
        await wait_for_reader(request, response)

    monkeypatch.setattr(forward, "wait_for_reader", wait)
    async with (
        raw_upstream(answering(short)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n" * 2_000)
        async with asyncio.timeout(SECONDS):
            idle = await waiting.get()
        assert idle is not None
        idle.close()


@pytest.mark.parametrize("paused", [False, True])
def test_an_interim_head_waits_for_no_reader(paused: bool) -> None:
    request = Mock(version=HttpVersion11, writer=Mock(output_size=0))
    request.protocol.writing_paused = paused
    request.transport.is_closing.return_value = False
    message = Mock(code=103, reason="Early Hints", raw_headers=[(b"Link", b"</a>")])
    send_interim(request, message, Mock(response_edits=None))
    assert request.transport.write.called is not paused
