"""A gateway process and Eureka: reloads keep what was discovered, and a stop is told first and bounded."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.eureka import FakeEureka, entry, fake_eureka
from tests.support.gateway import Caller, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process

ROUTES = """
routes:
  - {id: orders, uri: "lb://Orders", predicates: ["Path=/orders/**"]}
access:
  public: [GET /orders/**, GET /new/**]
"""
NEW = '  - {id: new, uri: "lb://nobody", predicates: ["Path=/new/**"]}\naccess:'


@pytest.fixture
async def eureka() -> AsyncIterator[FakeEureka]:
    async with fake_eureka() as fake:
        yield fake


@pytest.fixture
async def gateway(tmp_path: Path, redis_url: str, eureka: FakeEureka) -> AsyncIterator[GatewayProcess]:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    environ = {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": "http://127.0.0.1:1/",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": eureka.url,
        "EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS": "0.1",
        "SHUTDOWN_GRACE_SECONDS": "10",
        "MANAGEMENT_SERVER_PORT": "0",
    }
    async with gateway_process(environ, tmp_path) as running:
        await eureka.until("POST")
        yield running


async def test_a_reload_of_the_routes_keeps_what_was_discovered(
    gateway: GatewayProcess, eureka: FakeEureka, tmp_path: Path
) -> None:
    async with a_service() as service, aiohttp.ClientSession() as session:
        ask = Caller(session, gateway.base, None)
        port = int(service.url.rpartition(":")[2])
        eureka.register(entry("a", hostName="127.0.0.1", port={"$": port, "@enabled": "true"}))
        async with asyncio.timeout(20):
            while (await ask("GET", "/orders/1")).status != 200:
                await asyncio.sleep(0.02)
        (tmp_path / "routes.yaml").write_text(ROUTES.replace("access:", NEW))
        gateway.send(signal.SIGHUP)
        async with asyncio.timeout(20):
            while (await ask("GET", "/new/1")).code != "NO_INSTANCE":
                await asyncio.sleep(0.02)
        assert (await ask("GET", "/orders/1")).status == 200


async def test_the_ports_are_open_before_others_hear_of_them_and_until_they_heard_of_the_end(
    gateway: GatewayProcess, eureka: FakeEureka
) -> None:
    said = eureka.bodies[0]
    assert said["port"]["$"] == gateway.port
    management = next(line for line in gateway.lines if "management on" in line).rpartition(":")[2]
    assert said["healthCheckUrl"].endswith(f":{management}/actuator/health")
    eureka.open.clear()
    gateway.send(signal.SIGTERM)
    await eureka.until("POST", 2)
    assert eureka.bodies[-1]["status"] == "DOWN"
    async with aiohttp.ClientSession() as session:
        # Not answered yet, so it may still send requests here.
        assert (await Caller(session, gateway.base, None)("GET", "/orders/1")).code == "NO_INSTANCE"
        readiness = f"http://127.0.0.1:{management}/actuator/health/readiness"
        async with session.get(readiness) as response:
            assert response.status == 503
    eureka.open.set()
    assert await gateway.ended() == 0
    assert eureka.count("DELETE /apps/GATEWAY-SERVER/") == 1


async def test_a_stop_takes_no_longer_than_its_grace_time_when_eureka_hangs(
    gateway: GatewayProcess, eureka: FakeEureka
) -> None:
    eureka.open.clear()
    began = time.monotonic()
    gateway.send(signal.SIGTERM)
    assert await gateway.ended() == 0
    # Without bounds each of the two calls would take five seconds.
    assert time.monotonic() - began < 9
    assert eureka.bodies[-1]["status"] == "DOWN"
    assert eureka.count("DELETE") == 1
    assert "Traceback" not in "\n".join(gateway.lines)
