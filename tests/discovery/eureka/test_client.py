"""What of Eureka runs by the settings, and what the rest of the gateway sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gateway.discovery.eureka.client import discovering
from gateway.discovery.eureka.registry import Services
from gateway.observability.metrics import Metrics
from gateway.proxy.upstream import UpstreamBase
from gateway.settings.model import Settings
from tests.support.eureka import FakeEureka, entry


def settings(fake: FakeEureka, **changes: str) -> Settings:
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": fake.url,
        "EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS": "0.02",
    }
    return Settings.from_env(environ | changes)


async def until_good(eureka: object) -> Mapping[str, object]:
    async with asyncio.timeout(10):
        while not eureka.health()[0]:  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
    return eureka.health()[1]  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    "changes",
    [
        {"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": ""},
        {"EUREKA_REGISTER": "false", "EUREKA_FETCH": "false"},
    ],
)
async def test_off_is_off(first: FakeEureka, metrics: Metrics, changes: dict[str, str]) -> None:
    async with discovering(settings(first, **changes), metrics) as eureka:
        assert eureka is None
    assert first.requests == []


async def test_services_are_told_at_once_and_when_they_change(first: FakeEureka, metrics: Metrics) -> None:
    first.register(entry("a"))
    async with discovering(settings(first), metrics) as eureka:
        assert eureka is not None
        told: list[Services] = []
        eureka.on_change(told.append)
        assert told == [{"orders": (UpstreamBase("http", "a.internal", 8080),)}]
        first.deregister("a")
        async with asyncio.timeout(10):
            while len(told) < 2:
                await asyncio.sleep(0.001)
        assert told[1] == eureka.services() == {}


async def test_it_registers_when_the_ports_are_open(first: FakeEureka, metrics: Metrics) -> None:
    first.register(entry("a"))
    async with discovering(settings(first), metrics) as eureka:
        assert eureka is not None
        assert eureka.health() == (False, {"services": 1, "instances": 1, "registered": False})
        eureka.listening(8080, 9090)
        assert await until_good(eureka) == {"services": 1, "instances": 1, "registered": True}
        await eureka.draining()
    assert [body["status"] for body in first.bodies] == ["UP", "DOWN"]
    assert first.bodies[0]["healthCheckUrl"] == "http://127.0.0.1:9090/actuator/health"
    assert first.count("DELETE") == 1


async def test_a_gateway_that_only_registers_fetches_nothing(first: FakeEureka, metrics: Metrics) -> None:
    async with discovering(settings(first, EUREKA_FETCH="false"), metrics) as eureka:
        assert eureka is not None
        eureka.listening(8080)
        assert await until_good(eureka) == {"registered": True}
        assert eureka.services() == {}
    assert first.count("GET") == 0


async def test_a_gateway_that_only_fetches_does_not_register(first: FakeEureka, metrics: Metrics) -> None:
    async with discovering(settings(first, EUREKA_REGISTER="false"), metrics) as eureka:
        assert eureka is not None
        eureka.listening(8080)
        await first.until("GET", 3)
        await eureka.draining()
        assert eureka.health() == (True, {"services": 0, "instances": 0})
    assert first.count("POST") == 0


@pytest.mark.parametrize(("grace", "goodbye"), [("20", 2.0), ("5", 1.0), ("0", 0.0)])
async def test_the_goodbye_is_a_small_part_of_the_grace_time(
    first: FakeEureka, metrics: Metrics, grace: str, goodbye: float
) -> None:
    async with discovering(settings(first, SHUTDOWN_GRACE_SECONDS=grace), metrics) as eureka:
        assert eureka is not None
        assert eureka.goodbye_seconds == goodbye
