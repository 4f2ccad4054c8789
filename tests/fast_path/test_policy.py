"""CORS, gates and the gateway's own calls: both gateways decide the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.observability.loop_lag import LoopLag
from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES, ROUTES_WITH_RULES
from tests.support.gateway import Gateways
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="package")

RETRY_AFTER = re.compile(rb"(?<=\r\nRetry-After: )\d+")
ORIGINS = (
    b"",
    b"Origin: https://tickets.example.com\r\n",
    b"Origin: https://evil.example\r\n",
    b"Origin: http://h\r\n",
    b"Origin: null\r\n",
    b"Origin:\r\n",
    b"Origin: https://tickets.example.com\r\nOrigin: https://evil.example\r\n",
    b"Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n",
    b"Origin: https://tickets.example.com\r\nAccess-Control-Request-Method: POST\r\n",
    b"Origin: https://tickets.example.com\r\nAccess-Control-Request-Method: PUT\r\n",
    b"Origin: https://tickets.example.com\r\nAccess-Control-Request-Method: POST\r\n"
    b"Access-Control-Request-Headers: authorization, x-other\r\n",
    b"Origin: https://tickets.example.com\r\nAccess-Control-Request-Method: GET\r\n"
    b"Access-Control-Request-Private-Network: true\r\n",
)
CORS_CALLS = (
    "GET /open/a",
    "POST /open/a",
    "DELETE /open/a",
    "OPTIONS /open/a",
    "GET /private/a",
    "OPTIONS /private/a",
    "GET /api/v1/reservations",
    "POST /api/v1/reservations",
    "PUT /api/v1/reservations",
    "OPTIONS /api/v1/reservations",
    "GET /api/v1/queue/status",
    "POST /api/v1/queue/leave",
    "OPTIONS /api/v1/queue/lineup",
    "GET /actuator/health/liveness",
    "GET /nothing",
)


@pytest.mark.parametrize("call", CORS_CALLS)
async def test_cors(usual: Pair, ruled: Pair, call: str) -> None:
    for pair in (usual, ruled):
        headers = product(ORIGINS, (b"", pair.bearer("nobody")))
        await pair.compare_all([one(call, *each) for each in headers])


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def lined_up(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """``inside`` is allowed in, ``behind`` and ``last`` wait."""
    async with paired(package_gateways, ROUTES) as pair:
        for user in ("inside", "behind", "last"):
            await pair.compare(one("POST /api/v1/queue/lineup", pair.bearer(user)))
        yield pair


GATED = (
    "POST /api/v1/reservations",
    "POST /api/v1/reservation-seats/7",
    "POST /API/v1/reservations",
    "POST /shop/reservations",
    "POST /x/api/v1/reservations",
    "POST /buy/reservations",
    "GET /tickets/gated",
    "HEAD /tickets/gated",
    "GET /tickets/renews",
    "POST /tickets/renews",
    "POST /tickets/vip",
    "GET /api/v1/reservations",
)
STATUSES = {"inside": b"200", "behind": b"429", "nobody": b"403"}


@pytest.mark.parametrize("call", GATED)
async def test_gates(lined_up: Pair, call: str) -> None:
    for user, status in STATUSES.items():
        who = lined_up.bearer(user)
        outcome = await lined_up.compare(one(call, who))
        if call in GATED[:7]:
            assert outcome.got[9:12] == status
        await lined_up.compare_all([one(call, who, body=b"hello"), one(call, who, b"Connection: close\r\n")])
    # Also where a public rule opens the path, but not the one at the service.
    outcome = await lined_up.compare(one(call))
    assert outcome.got[9:12] == b"401"


ROOMS = (
    "",
    "?",
    "?room=default",
    "?room=vip",
    "?room=",
    "?room=nowhere",
    "?room=vip&room=default",
    "?room=%76ip",
)
ODD_ROOMS = (
    "?room=%zz",
    "?room=vip&x=1",
    "?x=1",
    "?ROOM=vip",
    "?room",
    "?room=vip#",
    "?room=a;b",
    "?room=%00",
)
QUEUE = (
    "GET status",
    "HEAD status",
    "POST status",
    "POST lineup",
    "GET lineup",
    "PUT lineup",
    "HEAD lineup",
    "OPTIONS lineup",
    "DELETE waiting-token",
    "POST leave",
    "GET leave",
    "GET nothing",
)


@pytest.mark.parametrize("call", QUEUE)
async def test_calls_of_the_queue(lined_up: Pair, call: str) -> None:
    method, name = call.split()
    users = ("inside", "behind", "nobody") if method in ("GET", "HEAD") else ("caller",)
    for user in (*users, None):
        who = lined_up.bearer(user) if user else b""
        await lined_up.compare_all(
            [one(f"{method} /api/v1/queue/{name}{room}", who) for room in (*ROOMS, *ODD_ROOMS)]
        )
    await lined_up.compare_all(
        [
            one(f"{method} /api/v1/queue/{name}?room=vip", who, body=b"{}"),
            one(f"{method} /api/v1/queue/{name}?room=vip", who, b"Connection: close\r\n"),
            one(f"{method} /api/v1/queue/{name}?room=vip", who, b"Accept: text/html\r\n"),
        ]
    )


async def test_a_way_through_the_room(usual: Pair) -> None:
    for room in ("vip", "default"):
        for call in (
            "GET status",
            "POST lineup",
            "POST lineup",
            "GET status",
            "DELETE allowed-in-token",
            "DELETE allowed-in-token",
            "DELETE waiting-token",
            "GET status",
            "POST lineup",
            "POST leave",
            "GET status",
        ):
            method, name = call.split()
            await usual.compare(one(f"{method} /api/v1/queue/{name}?room={room}", usual.bearer("walker")))


async def test_a_stream_begins(lined_up: Pair) -> None:
    """Until it ends by itself: no user is in line, or the user is allowed in."""
    for user in ("inside", "nobody"):
        who = lined_up.bearer(user)
        await lined_up.compare(one("GET /api/v1/queue/stream", who, b"Connection: close\r\n"))


OTHERS = (
    "GET /",
    "GET /actuator",
    "GET /actuator/health/liveness",
    "GET /actuator/info",
    "POST /actuator/refresh",
    "GET /v3/api-docs",
    "GET /swagger-ui.html",
    "GET /swagger-ui/index.html",
    "GET /api/v1/queue",
    "GET /api/v1/queue/",
    "GET /favicon.ico",
    "GET /nothing",
)


@pytest.mark.parametrize("call", OTHERS)
async def test_other_calls_of_the_gateway(usual: Pair, ruled: Pair, call: str) -> None:
    for pair in (usual, ruled):
        await pair.compare_all(
            [one(call), one(call, pair.bearer("nobody")), one(call, b"Origin: http://x\r\n")]
        )


@pytest.mark.parametrize("fail_open", [True, False], ids=["open", "closed"])
async def test_gates_while_redis_is_away(tmp_path: Path, fail_open: bool) -> None:
    with RedisServer() as server:
        async with (
            Gateways(tmp_path, server.url) as gateways,
            paired(gateways, ROUTES, redis_timeout_seconds="0.2", queue_fail_open=fail_open) as pair,
        ):
            pair.fast.random = pair.plain.random = RETRY_AFTER
            who = pair.bearer("inside")
            await pair.compare(one("POST /api/v1/queue/lineup", who))
            await pair.compare(one("POST /api/v1/reservations", who))
            server.kill()
            for call in (*GATED, "GET /api/v1/queue/status", "POST /api/v1/queue/lineup", "GET /open/a"):
                await pair.compare(one(call, who))
            outcome = await pair.compare(one("POST /api/v1/reservations", who))
            assert outcome.got[9:12] == (b"200" if fail_open else b"503")
            assert pair.fast.counted == pair.plain.counted


async def test_calls_while_overloaded(package_gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    async with paired(package_gateways, ROUTES_WITH_RULES, overload_lag_ms=60_000) as pair:
        pair.fast.random = pair.plain.random = RETRY_AFTER
        who = pair.bearer("early")
        await pair.compare(one("POST /api/v1/queue/lineup", who))
        monkeypatch.setattr(LoopLag, "milliseconds", 90_000.0)
        for call in ("POST /api/v1/queue/lineup", "GET /api/v1/queue/status", *GATED):
            await pair.compare_all(
                [one(call), one(call, who), one(call, who, ORIGINS[1]), one(call, body=b"{}")]
            )
        outcome = await pair.compare(one("POST /api/v1/queue/lineup?x=1", who))
        assert outcome.got[9:12] == b"503"
        assert pair.fast.counted == pair.plain.counted
