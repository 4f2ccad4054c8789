"""Two fake servers, a session, and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gateway.discovery.eureka.transport import EurekaServers, session
from gateway.observability.metrics import Metrics
from tests.support.clock import Clock
from tests.support.eureka import FakeEureka, fake_eureka


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with session() as running:
        yield running


@pytest.fixture
async def first() -> AsyncIterator[FakeEureka]:
    async with fake_eureka() as fake:
        yield fake


@pytest.fixture
async def second() -> AsyncIterator[FakeEureka]:
    async with fake_eureka() as fake:
        yield fake


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def both(
    client: aiohttp.ClientSession, first: FakeEureka, second: FakeEureka, clock: Clock, metrics: Metrics
) -> EurekaServers:
    return EurekaServers(client, (first.url, second.url), metrics, clock)
