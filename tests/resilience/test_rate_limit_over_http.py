"""The filter RequestRateLimiter in a whole gateway: who is limited, what answers say, what happens without Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from tests.resilience.rig import Scripted, answer, ask, counted, routes, scripted
from tests.routing.vectors import Case, case_id, cases
from tests.support.gateway import Gateways
from tests.support.raw_http import Answer, connected
from tests.support.redis_server import RedisServer

OK = answer(200, b"ok")
PLAIN = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
HEADERS = (
    "X-RateLimit-Remaining",
    "X-RateLimit-Requested-Tokens",
    "X-RateLimit-Burst-Capacity",
    "X-RateLimit-Replenish-Rate",
)


def _limiter(**args: Any) -> dict[str, Any]:
    return {"name": "RequestRateLimiter", "args": {"replenishRate": 1, "burstCapacity": 2} | args}


@pytest.fixture
async def service() -> AsyncIterator[Scripted]:
    async with scripted(OK) as running:
        yield running


def _told(got: Answer) -> list[str]:
    return [value for name in HEADERS for value in got.all(name)]


def code_of(got: Answer) -> str:
    return str(json.loads(got.body)["error"]["code"])


@PLAIN
async def test_a_caller_may_call_as_often_as_the_bucket_holds_tokens(
    gateways: Gateways, service: Scripted, fast_path: bool
) -> None:
    filters = [_limiter(key="header:X-Key", burstCapacity=3, requestedTokens=1)]
    gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
    for left in (2, 1, 0):
        got = await ask(gateway, "GET", "/a/x", "X-Key: one")
        assert (got.status, got.body, _told(got)) == (200, b"ok", [str(left), "1", "3", "1"])
    got = await ask(gateway, "GET", "/a/x", "X-Key: one")
    assert (got.status, code_of(got), _told(got)) == (429, "RATE_LIMITED", ["0", "1", "3", "1"])
    assert got.all("Retry-After") == ["1"]
    assert (await ask(gateway, "GET", "/a/x", "X-Key: other")).status == 200
    assert len(service.calls) == 4
    assert counted(gateway, "gateway_rate_limit_requests_total") == {("allowed", "a"): 4, ("limited", "a"): 1}


@PLAIN
async def test_tokens_come_back_with_time(gateways: Gateways, service: Scripted, fast_path: bool) -> None:
    filters = [_limiter(key="address", replenishRate=10, burstCapacity=1)]
    gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
    loop = asyncio.get_running_loop()
    began, allowed = loop.time(), 0
    while allowed < 5:
        allowed += (await ask(gateway)).status == 200
    assert 0.35 < loop.time() - began < 5.0


@PLAIN
async def test_instances_share_the_buckets(gateways: Gateways, service: Scripted, fast_path: bool) -> None:
    text = routes([service], [_limiter(key="address", burstCapacity=4)])
    one, other = [await gateways.start(text, fast_path=fast_path) for _ in range(2)]
    statuses = [(await ask(each)).status for each in (one, other, one, other, one, other)]
    assert statuses == [200] * 4 + [429] * 2


@PLAIN
async def test_users_are_told_apart_by_their_tokens(
    gateways: Gateways, service: Scripted, fast_path: bool
) -> None:
    gateway = await gateways.start(routes([service], [_limiter()]), fast_path=fast_path)
    for name in ("anna", "bert"):
        user = gateway.user(name)
        assert [(await user("GET", "/a/x")).status for _ in range(3)] == [200, 200, 429]
    got = await ask(gateway)
    assert (got.status, code_of(got), _told(got)) == (403, "RATE_LIMIT_KEY_MISSING", [])
    assert counted(gateway, "gateway_rate_limit_requests_total")["no_key", "a"] == 1


@PLAIN
@pytest.mark.parametrize(
    ("args", "status"),
    [({}, 403), ({"emptyKeyStatus": "UNAUTHORIZED"}, 401), ({"denyEmptyKey": False}, 200)],
)
async def test_a_caller_without_a_key(
    gateways: Gateways, service: Scripted, fast_path: bool, args: dict[str, Any], status: int
) -> None:
    filters = [_limiter(key="header:X-Key", burstCapacity=1, **args)]
    gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
    for headers in ((), ("X-Key: ",)):
        assert (await ask(gateway, "GET", "/a/x", *headers)).status == status


@PLAIN
async def test_all_limits_of_a_route_must_allow_the_call_and_the_first_that_does_not_says_so(
    gateways: Gateways, service: Scripted, fast_path: bool
) -> None:
    filters = [
        _limiter(key="address", burstCapacity=3),
        _limiter(key="header:X-Key", burstCapacity=1, statusCode=503),
    ]
    gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
    got = [await ask(gateway, "GET", "/a/x", f"X-Key: {key}") for key in "aabc"]
    assert [(each.status, each.all("X-RateLimit-Remaining")) for each in got] == [
        (200, ["2", "0"]),
        (503, ["1", "0"]),
        (200, ["0", "0"]),
        (429, ["0"]),
    ]


@PLAIN
async def test_one_call_of_redis_serves_many_requests(
    gateways: Gateways, service: Scripted, fast_path: bool, redis: Client
) -> None:
    filters = [_limiter(key="address", burstCapacity=1000), _limiter(key="header:X-Key", burstCapacity=1000)]
    gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(ask(gateway, "GET", "/a/x", "X-Key: k"))
    calls = counted(gateway, "gateway_script_seconds_count")["rate_limit",]
    assert 1 <= calls < 50
    keys = await redis.keys("gw:{limits}:*")
    assert len(keys) == 2
    assert not any("X-Key" in key or key.endswith(":k") for key in keys)
    for key in keys:
        assert 0 < await redis.pttl(key) <= 1_000_000


@PLAIN
async def test_without_redis_calls_pass_and_are_counted(
    gateways: Gateways, service: Scripted, fast_path: bool
) -> None:
    with RedisServer() as server:
        text = routes([service], [_limiter(key="address", burstCapacity=1)])
        gateways.redis_url = server.url
        gateway = await gateways.start(text, fast_path=fast_path, redis_timeout_seconds=1)
        assert [(await ask(gateway)).status for _ in range(2)] == [200, 429]
        server.kill()
        got = [await ask(gateway) for _ in range(5)]
    assert [(each.status, _told(each)) for each in got] == [(200, ["-1", "1", "1", "1"])] * 5
    assert counted(gateway, "gateway_rate_limit_requests_total")["unchecked", "a"] == 5


@PLAIN
async def test_errors_of_the_gateway_tell_of_the_limit_too(gateways: Gateways, fast_path: bool) -> None:
    text = routes(["http://127.0.0.1:1"], [_limiter(key="address")])
    gateway = await gateways.start(text, fast_path=fast_path)
    got = await ask(gateway)
    assert (got.status, _told(got)) == (502, ["1", "1", "2", "1"])


@PLAIN
async def test_many_calls_on_one_connection_keep_their_order(
    gateways: Gateways, service: Scripted, fast_path: bool
) -> None:
    gateway = await gateways.start(
        routes([service], [_limiter(key="address", burstCapacity=3)]), fast_path=fast_path
    )
    async with connected(gateway.base) as client:
        client.send(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n" * 5)
        assert [(await client.answer()).status for _ in range(5)] == [200] * 3 + [429] * 2


CASES = tuple(
    case
    for case in cases("filters")
    if case["id"].startswith("RequestRateLimiter-") and case["upstream"] is not None
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
async def test_a_case_is_what_it_is_there(gateways: Gateways, service: Scripted, case: Case) -> None:
    """Keys come from a program there: ``#{@byUserHeader}``. Here the header is named."""
    filters = json.loads(json.dumps(case["filters"]).replace("#{@byUserHeader}", "header:X-User"))
    for each in filters:
        each["args"]["key"] = each["args"].pop("key-resolver", "user")
    gateway = await gateways.start(routes([service], filters).replace("Path=/a/**", "Path=/**"))
    sent = case["request"]
    fields = [f"{name}: {value}" for name, value in sent["headers"] if name != "Host"]
    for expected in case.get("clientEach") or [case["client"]]:
        got = await ask(gateway, sent["method"], sent["target"], *fields)
        assert got.status == expected["status"]
        there = {name: value for name, value in expected["headers"] if name.startswith("X-RateLimit")}
        assert _told(got) == [there[name] for name in HEADERS if name in there]
