"""Services with settings of their own, in a whole gateway in front of instances that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.resilience.rig import Scripted, answer, ask, counted, routes, scripted
from tests.support.gateway import Gateways
from tests.support.raw_http import connected
from tests.support.waiting import eventually

OK = answer(200, b"ok")
BAD = answer(500, b"bad")
PLAIN = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])


def _routes(
    services: Sequence[Scripted], weights: Sequence[int] = (), filters: Sequence[Any] = (), **policy: Any
) -> str:
    given = weights or [1] * len(services)
    instances = [{"uri": each.url, "weight": weight} for each, weight in zip(services, given, strict=True)]
    return routes([], filters, services_too={"a": {"instances": instances, **policy}})


@PLAIN
async def test_instances_get_requests_by_their_weights(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(OK) as one, scripted(OK) as two:
        gateway = await gateways.start(_routes([one, two], [3, 1]), fast_path=fast_path)
        for _ in range(20):
            assert (await ask(gateway)).status == 200
        assert (len(one.calls), len(two.calls)) == (15, 5)


@PLAIN
async def test_a_slow_instance_gets_fewer_requests(gateways: Gateways, fast_path: bool) -> None:
    async with scripted("hang") as slow, scripted(OK) as quick:
        gateway = await gateways.start(_routes([slow, quick], balance="least-requests"), fast_path=fast_path)
        async with asyncio.TaskGroup() as group:
            hanging = group.create_task(_until_closed(gateway))
            await eventually(lambda: len(slow.calls) == 1 or len(quick.calls) == 1)
            if not slow.calls:
                await hanging
                hanging = group.create_task(_until_closed(gateway))
                await eventually(lambda: len(slow.calls) == 1)
            quick.calls.clear()
            for _ in range(20):
                assert (await ask(gateway)).status == 200
            assert (len(slow.calls), len(quick.calls)) == (1, 20)
            slow.released.set()


async def _until_closed(gateway: Any) -> None:
    await ask(gateway)


@PLAIN
@pytest.mark.parametrize(
    ("hashed", "fields"),
    [
        ("header:X-Cart", "X-Cart: {}"),
        ("cookie:cart", "Cookie: other=1; cart={}"),
        ("user", "Authorization: Bearer {}"),
    ],
)
async def test_requests_with_the_same_key_go_to_the_same_instance(
    gateways: Gateways, fast_path: bool, hashed: str, fields: str
) -> None:
    async with scripted(OK) as one, scripted(OK) as two, scripted(OK) as three:
        services = [one, two, three]
        gateway = await gateways.start(_routes(services, balance="hash", hash=hashed), fast_path=fast_path)
        used = Counter[str]()
        for number in range(40):
            key = gateways.issuer.token(f"user{number}") if hashed == "user" else f"key{number}"
            for each in services:
                each.calls.clear()
            for _ in range(3):
                assert (await ask(gateway, "GET", "/a/x", fields.format(key))).status == 200
            [served] = [each.url for each in services if each.calls]
            used[served] += 1
        assert len(used) == 3


@PLAIN
@pytest.mark.parametrize("trouble", [BAD, "reset"])
async def test_an_instance_that_keeps_failing_is_left_out(
    gateways: Gateways, fast_path: bool, trouble: Any
) -> None:
    async with scripted(trouble) as bad, scripted(OK) as good:
        text = _routes([bad, good], eject={"failures": 3, "time": "60s"})
        gateway = await gateways.start(text, fast_path=fast_path)
        statuses = [(await ask(gateway)).status for _ in range(30)]
        assert statuses.count(200) == 27
        assert statuses[-20:] == [200] * 20
        assert len(bad.calls) == 3
        assert counted(gateway, "gateway_instances_ejected_total") == {("a",): 1}


@PLAIN
async def test_when_all_fail_half_of_them_stay(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as one, scripted(BAD) as two:
        text = _routes([one, two], eject={"failures": 2, "time": "60s"})
        gateway = await gateways.start(text, fast_path=fast_path)
        assert [(await ask(gateway)).status for _ in range(20)] == [500] * 20
        assert sorted([len(one.calls), len(two.calls)])[0] <= 3
        one.answers = two.answers = [OK]
        assert (await ask(gateway)).status == 200


@PLAIN
async def test_an_instance_that_is_left_out_comes_back(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD, BAD, OK) as bad, scripted(OK) as good:
        text = _routes([bad, good], eject={"failures": 2, "time": "200ms"})
        gateway = await gateways.start(text, fast_path=fast_path)
        async with asyncio.timeout(10):
            while len(bad.calls) < 5:
                await ask(gateway)
        assert [(await ask(gateway)).status for _ in range(6)] == [200] * 6


@PLAIN
async def test_a_service_gets_as_many_requests_as_it_may_and_the_others_wait(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted("hang") as service:
        text = _routes([service], **{"max-connections": 2, "max-waiting": 1})
        gateway = await gateways.start(text, fast_path=fast_path, proxy_connect_timeout_seconds=30)
        async with (
            connected(gateway.base) as one,
            connected(gateway.base) as two,
            connected(gateway.base) as three,
        ):
            for client in (one, two, three):
                client.send(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n")
            await eventually(lambda: len(service.calls) == 2)
            got = await ask(gateway)
            assert (got.status, json.loads(got.body)["error"]["code"]) == (503, "UPSTREAM_BUSY")
            assert got.all("Retry-After") == ["1"]
            assert len(service.calls) == 2
            service.answers = [OK]
            service.released.set()
            answers = [(await client.answer()).status for client in (one, two, three)]
        assert sorted(answers) == [200, 502, 502], "the two that hung were closed, the third had its turn"
        assert (await ask(gateway)).status == 200


@PLAIN
async def test_a_request_waits_no_longer_than_for_a_connection(gateways: Gateways, fast_path: bool) -> None:
    async with scripted("hang") as service:
        text = _routes([service], **{"max-connections": 1})
        gateway = await gateways.start(text, fast_path=fast_path, proxy_connect_timeout_seconds=0.1)
        async with connected(gateway.base) as client:
            client.send(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n")
            await eventually(lambda: len(service.calls) == 1)
            assert (await ask(gateway)).status == 503
        # The client has gone, so its slot is free.
        service.answers = [OK]
        async with asyncio.timeout(10):
            while (await ask(gateway)).status != 200:
                pass
        service.released.set()
