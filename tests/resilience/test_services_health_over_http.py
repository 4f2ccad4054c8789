"""Health checks, slow start and names, in a whole gateway in front of instances that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.context import INSTANCES
from tests.resilience.instances import GARBAGE, HALF, OK, Hosts, Instance, Manner, instance, reserved_port
from tests.resilience.rig import answer, ask, counted, routes
from tests.support.certificates import tls_contexts
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import connected
from tests.support.waiting import eventually

BOTH = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
HEALTH = {"path": "/health", "interval": "100ms", "timeout": "3s", "unhealthy": 2, "healthy": 2}


def _routes(instances: Sequence[Instance | str], filters: Sequence[Any] = (), **policy: Any) -> str:
    urls = [each if isinstance(each, str) else each.url for each in instances]
    policy.setdefault("health", HEALTH)
    return routes([], filters, services_too={"a": {"instances": urls, **policy}})


def _states(gateway: Running) -> dict[str, int]:
    """How many instances are in each state."""
    found = counted(gateway, "gateway_service_instances")
    return {state: int(number) for (_, state), number in found.items() if number}


@asynccontextmanager
async def _three() -> AsyncIterator[list[Instance]]:
    async with instance() as one, instance() as two, instance() as three:
        yield [one, two, three]


@BOTH
@pytest.mark.parametrize(
    "manner", ["hang", "reset", GARBAGE, HALF, answer(500)], ids=["slow", "reset", "garbage", "half", "500"]
)
async def test_one_of_three_that_misbehaves_gets_no_requests(
    gateways: Gateways, fast_path: bool, manner: Manner
) -> None:
    async with _three() as three:
        gateway = await gateways.start(_routes(three), fast_path=fast_path)
        await eventually(lambda: _states(gateway) == {"healthy": 3})
        three[0].behaves(manner)
        await eventually(lambda: _states(gateway) == {"healthy": 2, "unhealthy": 1})
        three[0].calls.clear()
        assert {(await ask(gateway)).status for _ in range(12)} == {200}
        assert three[0].calls == []
        assert counted(gateway, "gateway_instance_health_changes_total") == {
            ("a", "healthy"): 3,
            ("a", "unhealthy"): 1,
        }
        three[0].behaves(OK)
        await eventually(lambda: _states(gateway) == {"healthy": 3})
        for _ in range(12):
            await ask(gateway)
        assert len(three[0].calls) == 4


@BOTH
@pytest.mark.parametrize("manner", ["reset", GARBAGE, answer(503)], ids=["reset", "garbage", "503"])
async def test_one_that_dies_under_load_fails_no_request_once_its_checks_have_failed(
    gateways: Gateways, fast_path: bool, manner: Manner
) -> None:
    async with _three() as three:
        gateway = await gateways.start(_routes(three, **{"slow-start": "2s"}), fast_path=fast_path)
        await eventually(lambda: _states(gateway) == {"healthy": 3})
        # By the phase in which each request was sent.
        statuses: dict[int, list[int]] = {0: []}

        async def load() -> None:
            async with connected(gateway.base) as client:
                while True:
                    phase = max(statuses)
                    statuses[phase].append((await client.ask("GET", "/a/x")).status)

        loading = [asyncio.create_task(load()) for _ in range(4)]
        for manner_now, states in ((manner, {"healthy": 2, "unhealthy": 1}), (OK, {"healthy": 3})) * 2:
            three[1].behaves(manner_now)
            await eventually(lambda states=states: _states(gateway) == states)  # type: ignore[misc]
            after = statuses[len(statuses)] = []
            await eventually(lambda after=after: len(after) > 40)  # type: ignore[misc]
            assert set(after) == {200}
            statuses[len(statuses)] = []
        assert not any(task.done() for task in loading)
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)


@BOTH
async def test_all_gone_and_back(gateways: Gateways, fast_path: bool) -> None:
    async with AsyncExitStack() as stack:
        down = await stack.enter_async_context(AsyncExitStack())
        pair = [Instance(port=stack.enter_context(reserved_port())) for _ in range(2)]
        for each in pair:
            await down.enter_async_context(each.up())
        gateway = await gateways.start(_routes(pair), fast_path=fast_path)
        await eventually(lambda: _states(gateway) == {"healthy": 2})
        await down.aclose()
        await eventually(lambda: _states(gateway).get("healthy") is None)
        gone = await ask(gateway)
        assert (gone.status, json.loads(gone.body)["error"]["code"]) == (502, "UPSTREAM_UNREACHABLE")
        health = await gateway.nobody("GET", "/actuator/health")
        assert health.status == 200, "the gateway serves its other routes"
        assert health.json["components"]["services"]["status"] == "DOWN"
        # One comes back: the gateway needs no request to notice, and no request is lost.
        await stack.enter_async_context(pair[1].up())
        await eventually(lambda: _states(gateway).get("healthy") == 1)
        assert {(await ask(gateway)).status for _ in range(8)} == {200}


@BOTH
async def test_instances_whose_checks_alone_fail_still_get_requests(
    gateways: Gateways, fast_path: bool
) -> None:
    async with instance() as one, instance() as two:
        one.check = two.check = answer(404)
        gateway = await gateways.start(_routes([one, two]), fast_path=fast_path)
        await eventually(lambda: _states(gateway) == {"unhealthy": 2})
        assert {(await ask(gateway)).status for _ in range(6)} == {200}
        assert (len(one.calls), len(two.calls)) == (3, 3)


@BOTH
async def test_one_that_flaps_between_two_checks_stays_where_it_is(
    gateways: Gateways, fast_path: bool
) -> None:
    async with _three() as three:
        gateway = await gateways.start(_routes(three), fast_path=fast_path)
        await eventually(lambda: _states(gateway) == {"healthy": 3})
        for manner in (answer(503), OK) * 3:
            three[0].check = manner
            seen = len(three[0].checks)
            await eventually(lambda seen=seen: len(three[0].checks) > seen)  # type: ignore[misc]
        changes = counted(gateway, "gateway_instance_health_changes_total")
        assert changes.get(("a", "unhealthy"), 0) <= 1


async def test_a_check_says_nothing_of_users_and_is_no_call_of_a_client(gateways: Gateways) -> None:
    async with instance() as one, instance() as two:
        gateway = await gateways.start(_routes([one, two], health={**HEALTH, "path": "/health?deep=1"}))
        await eventually(lambda: len(one.checks) >= 2)
        head = one.checks[0]
        assert head.line == "GET /health?deep=1 HTTP/1.1"
        assert dict(head.fields) == {
            "Host": one.url.removeprefix("http://"),
            "User-Agent": "gateway-health-check",
            "Accept": "*/*",
            "Connection": "close",
        }
        assert counted(gateway, "gateway_upstream_seconds_count") == {}
        passed = counted(gateway, "gateway_health_checks_total")
        assert passed.keys() == {("passed", "a")}
        # A slow check is no request that least-requests would count.
        one.check = "hang"
        before = len(one.checks)
        await eventually(lambda: len(one.checks) > before)
        report = (await gateway.nobody("GET", "/actuator/health")).json["components"]["services"]
        assert [each["requests"] for each in report["details"]["a"]] == [0, 0]


async def test_each_change_is_one_line_that_says_what_since_when_and_why(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.proxy")
    async with instance() as one, instance() as two:
        gateway = await gateways.start(_routes([one, two]))
        await eventually(lambda: _states(gateway) == {"healthy": 2})
        one.check = answer(503)
        await eventually(lambda: _states(gateway) == {"healthy": 1, "unhealthy": 1})
        seen = len(one.checks)
        await eventually(lambda: len(one.checks) > seen + 2)
        lines = [record.getMessage() for record in caplog.records if one.url in record.getMessage()]
        assert len(lines) == 2, lines
        assert lines[0] == f"{one.url} of a is healthy"
        assert lines[1].startswith(f"{one.url} of a is unhealthy, after ")
        assert lines[1].endswith(" s: status 503")


async def test_checks_follow_a_reload_and_end_with_it(gateways: Gateways) -> None:
    async with instance() as one, instance() as two:
        gateway = await gateways.start(_routes([one]))
        await eventually(lambda: one.checks)
        gateway.routes_file.write_text(_routes([two], health={**HEALTH, "path": "/health/other"}))
        await eventually(lambda: two.checks)
        assert two.checks[0].line.split(" ")[1] == "/health/other"
        one.checks.clear()
        seen = len(two.checks)
        await eventually(lambda: len(two.checks) > seen + 3)
        assert one.checks == []
        gateway.routes_file.write_text(routes([two.url], []))
        await eventually(
            lambda: not [task for task in asyncio.all_tasks() if "health checks" in task.get_name()]
        )
        assert (await ask(gateway)).status == 200


@BOTH
@pytest.mark.parametrize("balance", ["round-robin", "least-requests"])
async def test_a_new_instance_under_load_gets_a_growing_share(
    gateways: Gateways, fast_path: bool, balance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 3.0
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(instance(host="127.0.0.2"))
        three = await stack.enter_async_context(instance(host="127.0.0.3", port=two.port))
        hosts = Hosts({"app.test": ["127.0.0.2"]})
        monkeypatch.setattr("gateway.app.look_up", hosts.look_up)
        text = _routes([f"http://app.test:{two.port}"], balance=balance, **{"slow-start": f"{window}s"})
        gateway = await gateways.start(text, fast_path=fast_path, proxy_dns_seconds=0.05)
        client = await stack.enter_async_context(connected(gateway.base))
        moments: list[tuple[float, int]] = []

        async def load() -> None:
            while True:
                before = len(three.calls)
                assert (await client.ask("GET", "/a/x")).status == 200
                moments.append((time.monotonic(), len(three.calls) - before))

        loading = asyncio.create_task(load())
        await eventually(lambda: len(moments) > 50)
        hosts.names["app.test"] = ["127.0.0.2", "127.0.0.3"]
        await eventually(lambda: _states(gateway) == {"healthy": 2})
        # Not when the test has seen it: on a slow machine that is later.
        [service] = gateway.app[INSTANCES].report()
        since = service.instances[-1].seconds
        assert since is not None
        joined = time.monotonic() - since
        await eventually(lambda: time.monotonic() > joined + 1.5 * window or loading.done())
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)

        def share(begin: float, end: float) -> float:
            some = [new for at, new in moments if joined + begin * window <= at < joined + end * window]
            return sum(some) / len(some)

        # 0.1 to 1 of the other's weight: a share of 9 % at first, of 33 % in the middle, of 50 % at the end.
        early, middle, late = share(0, 0.15), share(0.4, 0.6), share(1.1, 1.5)
        assert early < 0.2 < middle < 0.42 < late < 0.55, (early, middle, late)


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_service_over_tls_is_checked_by_its_name(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusted: bool
) -> None:
    server_side, client_side = tls_contexts(tmp_path)
    asked: list[str | None] = []

    def on_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
        writer.close()

    server_side.sni_callback = on_name  # type: ignore[assignment]
    if trusted:
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", client_side)
    server = await asyncio.start_server(well, "127.0.0.2", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr("gateway.app.look_up", Hosts({"app.test": ["127.0.0.2"]}).look_up)
        gateway = await gateways.start(_routes([f"https://app.test:{port}"]))
        await eventually(lambda: _states(gateway) == {"healthy" if trusted else "unhealthy": 1})
        assert asked[0] == "app.test"
        details = (await gateway.nobody("GET", "/actuator/health")).json["components"]["services"]["details"]
        assert details["a"][0]["address"] == "127.0.0.2"
        assert trusted or "ClientConnectorCertificateError" in details["a"][0]["reason"]
