"""Keys, routes and Redis that change between and during calls: both gateways follow in the same way."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.context import REFRESH
from tests.fast_path.rig import Side, masked, one, request
from tests.fast_path.service import Do, pause
from tests.fast_path.test_answers import sized
from tests.fast_path.test_calls import own_pair, routes_served_fast
from tests.support.raw_http import connected
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

CALLS = ("GET /open/a", "GET /private/a", "POST /api/v1/queue/lineup", "POST /api/v1/reservations")


@pytest.mark.parametrize("keep", [True, False], ids=["the old key stays", "the old key is withdrawn"])
async def test_a_key_rotation(tmp_path: Path, own_redis: RedisServer, keep: bool) -> None:
    async with own_pair(tmp_path, own_redis) as pair:
        before, unseen = pair.bearer("rotating"), pair.bearer("rotating", jti="before")
        for call in CALLS:
            await pair.compare(one(call, before))
        pair.gateways.issuer.rotate(keep=keep)
        # The gateways do not know yet of the rotation.
        outcome = await pair.compare(one("GET /private/a", before))
        assert outcome.got.startswith(b"HTTP/1.1 200 ")
        after = pair.bearer("rotating")
        # Only the application can wait for the new key.
        assert await routes_served_fast(pair, one("GET /private/a", after)) == Counter()
        for token in (after, pair.bearer("rotating", jti="after")):
            assert await routes_served_fast(pair, one("GET /private/a", token)) == Counter(private=1)
        for token in (before, unseen, before, after, unseen):
            outcome = await pair.compare(one("GET /private/a", token))
            good = keep or token is after
            assert outcome.got.startswith(b"HTTP/1.1 %d " % (200 if good else 401))
            for call in CALLS:
                await pair.compare(one(call, token))
        assert pair.fast.counted == pair.plain.counted


CHANGES = (
    ('Path=/open/**"]', 'Path=/open/**"], filters: ["SetResponseHeader=X-New, 1"]'),
    ('Path=/private/**"]', 'Path=/private/**"], filters: ["SetStatus=404"]'),
    ("POST /api/v1/reservations, ", ""),
    ('"/open/**", ', '"/private/**", '),
)


async def change_routes(side: Side) -> None:
    """Gives the routes of these tests other filters, gates and rules."""
    text = side.gateway.routes_file.read_text()
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    side.gateway.routes_file.write_text(text)
    await side.gateway.app[REFRESH].refresh()


async def test_routes_change_while_services_are_awaited(tmp_path: Path, own_redis: RedisServer) -> None:
    async with own_pair(tmp_path, own_redis) as pair:
        who = pair.bearer("inside")
        await pair.compare(one("POST /api/v1/queue/lineup", who))
        targets = ("/open/slow", "/private/slow", "/api/v1/reservations")
        heads = [request(f"POST {target}", who, b"Content-Length: 0\r\n") for target in targets]
        pair.scripts |= dict.fromkeys(targets, (Do.WAIT, sized(b"hello")))
        got = []
        for side in (pair.fast, pair.plain):
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connected(side.gateway.base)) for _ in heads]
                side.service.seen.clear()
                for client, head in zip(clients, heads, strict=True):
                    client.send(head)
                await eventually(lambda side=side: len(side.service.seen) == len(heads))
                await change_routes(side)
                side.service.go_on.set()
                answers = [await client.answer() for client in clients]
            got.append([(masked(answer.raw), answer.body) for answer in answers])
            assert [answer.status for answer in answers] == [200] * len(heads)
        assert got[0] == got[1]
        for call in CALLS:
            await pair.compare_all([one(call), one(call, who)])
        outcome = await pair.compare(one("GET /private/a"))
        assert outcome.got.startswith(b"HTTP/1.1 404 ")
        assert len(outcome.seen) == 1


async def test_routes_change_while_the_room_is_awaited(tmp_path: Path) -> None:
    with RedisServer() as server:
        async with own_pair(tmp_path, server, redis_timeout_seconds="20") as pair:
            who = pair.bearer("inside")
            await pair.compare(one("POST /api/v1/queue/lineup", who))
            got = []
            for side in (pair.fast, pair.plain):
                side.service.seen.clear()
                async with connected(side.gateway.base) as client:
                    server.freeze()
                    try:
                        client.send(request("POST /api/v1/reservations", who))
                        await eventually(lambda side=side: side.metrics.in_progress)
                        await pause()
                        await change_routes(side)
                    finally:
                        server.thaw()
                    answer = await client.answer()
                    got.append((masked(answer.raw), answer.body, masked(side.service.seen[0].head)))
            own = [b":%d" % side.service.port for side in (pair.fast, pair.plain)]
            assert got[0][:2] == got[1][:2]
            assert got[0][2].replace(own[0], b"") == got[1][2].replace(own[1], b"")
            for call in CALLS:
                await pair.compare_all([one(call), one(call, who)])
