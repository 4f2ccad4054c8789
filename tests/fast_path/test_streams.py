"""Streams: both gateways open, refuse, fill and end the same ones, and log them when they end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from gateway.context import DETACHED, HUBS
from tests.fast_path.rig import SECONDS, Case, Pair, Side, masked, one, paired, request
from tests.fast_path.routes import ROUTES, ROUTES_WITH_RULES, RULED, USUAL
from tests.fast_path.test_calls import routes_served_fast
from tests.support.gateway import Gateways
from tests.support.raw_http import connected

pytestmark = pytest.mark.asyncio(loop_scope="package")

STREAM = "/api/v1/queue/stream"


def cases(pair: Pair, user: str) -> dict[str, Case]:
    """Calls of a stream that end by themselves, as far as they open one."""
    issuer = pair.gateways.issuer
    token, bearer = issuer.token(user), pair.bearer(user)
    late = issuer.token(user, exp=int(time.time()) - 70)
    return {
        "in the header": one(f"GET {STREAM}", bearer),
        "with a room": one(f"GET {STREAM}?room=default", bearer),
        "in the query": one(f"GET {STREAM}?access_token={token}"),
        "in the query, twice": one(f"GET {STREAM}?access_token={token}&access_token={token}"),
        "a bad one in the query": one(f"GET {STREAM}?access_token=garbage"),
        "in a cookie": one(f"GET {STREAM}", f"Cookie: access_token={token}\r\n".encode()),
        "none": one(f"GET {STREAM}"),
        "late": one(f"GET {STREAM}", f"Authorization: Bearer {late}\r\n".encode()),
        "late, in the query": one(f"GET {STREAM}?access_token={late}"),
        "of a page": one(f"GET {STREAM}", bearer, b"Origin: https://tickets.example.com\r\n"),
        "of another page": one(f"GET {STREAM}", bearer, b"Origin: https://evil.example\r\n"),
        "in Korean": one(f"GET {STREAM}", bearer, b"Accept-Language: ko\r\n"),
        "for another room": one(f"GET {STREAM}?room=nowhere", bearer),
        "for two rooms": one(f"GET {STREAM}?room=a&room=b", bearer),
        "of a malformed query": one(f"GET {STREAM}?room=%zz", bearer),
        "after its end": one(f"GET {STREAM}", bearer, b"Last-Event-ID: end\r\n"),
        "after another event": one(f"GET {STREAM}", bearer, b"Last-Event-ID: 7\r\n"),
        "HEAD": one(f"HEAD {STREAM}", bearer),
        "POST": one(f"POST {STREAM}", bearer),
        "with a body": one(f"GET {STREAM}", bearer, body=b"hello"),
        "of HTTP/1.0": Case((f"GET {STREAM} HTTP/1.0\r\nHost: h\r\n".encode() + bearer + b"\r\n",)),
        "the last of its connection": one(f"GET {STREAM}", bearer, b"Connection: close\r\n"),
        "in two writes": Case((f"GET {STREAM} HT".encode(), b"TP/1.1\r\nHost: h\r\n" + bearer + b"\r\n")),
        "behind another": Case((request("GET /open/a") + request(f"GET {STREAM}", bearer),), answers=2),
        "before another": Case((request(f"GET {STREAM}", bearer) + request("GET /open/a"),)),
    }


async def test_streams_of_a_user_who_is_not_in_line_end_at_once(usual: Pair, ruled: Pair) -> None:
    for pair in (usual, ruled):
        await pair.compare_all(cases(pair, "stream-nobody"))


@pytest.mark.parametrize(
    ("routes", "settings"), [(ROUTES, USUAL), (ROUTES_WITH_RULES, RULED)], ids=["usual", "ruled"]
)
async def test_streams_of_a_user_who_is_allowed_in_end_at_once(
    package_gateways: Gateways, routes: str, settings: dict[str, str]
) -> None:
    # In gateways of their own: other tests' users may hold the one slot that the others have.
    async with paired(package_gateways, routes, **settings) as pair:
        outcome = await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer("stream-inside")))
        assert b"ALLOWED_IN" in outcome.got
        await pair.compare_all(cases(pair, "stream-inside"))


async def test_a_stream_is_served_fast(usual: Pair) -> None:
    for header in (usual.bearer("nobody"), usual.bearer("nobody", jti="new")):
        served = await routes_served_fast(usual, one(f"GET {STREAM}", header))
        assert served == Counter({"queue.stream": 1})


async def _first_events(side: Side, head: bytes) -> tuple[bytes, bytes]:
    """Head and first event of a stream that stays open, which the client then leaves; and what was logged."""
    app = side.gateway.app
    side.lines.clear()
    async with asyncio.timeout(SECONDS), connected(side.gateway.base) as client:
        client.send(head)
        got = await client.until(b"userQueuePosition") + await client.until(b"\n\n")
        assert len(app[DETACHED]) == 1
        assert sum(map(len, app[HUBS].values())) == 1
    async with asyncio.timeout(SECONDS):
        while side.metrics.in_progress or len(app[DETACHED]):
            await asyncio.sleep(0)
    return masked(got, head), repr([sorted(line.items()) for line in side.lines]).encode()


async def test_a_stream_that_stays_open_until_the_client_leaves(usual: Pair) -> None:
    bearer = usual.bearer("stream-waits")
    await usual.compare(one("POST /api/v1/queue/lineup?room=full", bearer))
    head = request(f"GET {STREAM}?room=full", bearer)
    fast, plain = await asyncio.gather(_first_events(usual.fast, head), _first_events(usual.plain, head))
    assert fast == plain
    assert b"aborted" in fast[1]


async def test_a_fault_while_a_stream_is_opened_is_answered_like_any_other(
    usual: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.sse.response.head_of", fail)
    async with connected(usual.fast.gateway.base) as client:
        client.send(request(f"GET {STREAM}", usual.bearer("stream-fault")))
        assert (await client.answer()).status == 500
        monkeypatch.undo()
        client.send(request("GET /open/a"))
        assert (await client.answer()).status == 200
    assert not usual.fast.metrics.in_progress
