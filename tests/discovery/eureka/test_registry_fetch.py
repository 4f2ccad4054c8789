"""When the registry is fetched whole, when by deltas, and that the last good one stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.discovery.eureka import registry as module
from gateway.discovery.eureka.registry import DELTA_SECONDS, LINGER_SECONDS, Fetcher, Services
from gateway.discovery.eureka.transport import EurekaAway, EurekaServers
from gateway.observability.metrics import Metrics
from gateway.proxy.upstream import UpstreamBase
from tests.support.clock import Clock
from tests.support.eureka import FakeEureka, entry


def base(id_: str) -> UpstreamBase:
    return UpstreamBase("http", f"{id_}.internal", 8080)


@pytest.fixture
def changes() -> list[Services]:
    return []


@pytest.fixture
def make(
    both: EurekaServers, changes: list[Services], metrics: Metrics, clock: Clock
) -> Callable[[float], Fetcher]:
    """Makes a fetcher with that interval."""
    return lambda interval: Fetcher(both, interval, changes.append, metrics, clock)


@pytest.fixture
def fetcher(make: Callable[[float], Fetcher]) -> Fetcher:
    return make(900.0)


async def test_first_comes_the_whole_then_deltas(fetcher: Fetcher, first: FakeEureka) -> None:
    first.register(entry("a"))
    for _ in range(3):
        await fetcher.fetch()
    assert first.requests == ["GET /apps", "GET /apps/delta", "GET /apps/delta"]
    assert fetcher.services == {"orders": (base("a"),)}


async def test_changes_are_told_once_and_counted(
    fetcher: Fetcher, first: FakeEureka, changes: list[Services], metrics: Metrics
) -> None:
    await fetcher.fetch()
    first.register(entry("a"), entry("b"))
    for _ in range(3):
        await fetcher.fetch()
    assert metrics.registry.get_sample_value("gateway_eureka_instances") == 2
    first.deregister("a")
    for _ in range(3):
        await fetcher.fetch()
    assert changes == [{"orders": (base("a"), base("b"))}, {"orders": (base("b"),)}]
    assert first.count("GET /apps/delta") == 6


async def test_a_hash_that_differs_has_the_whole_fetched(fetcher: Fetcher, first: FakeEureka) -> None:
    first.register(entry("a"))
    await fetcher.fetch()
    first.entries.append(entry("missed"))
    await fetcher.fetch()
    assert first.requests[-2:] == ["GET /apps/delta", "GET /apps"]
    assert fetcher.services == {"orders": (base("a"), base("missed"))}
    await fetcher.fetch()
    assert first.requests[-1] == "GET /apps/delta"


async def test_after_a_long_silence_the_whole_is_fetched(
    fetcher: Fetcher, first: FakeEureka, clock: Clock
) -> None:
    first.register(entry("a"))
    await fetcher.fetch()
    # One left and another one came: the hash, which counts, is the same.
    first.entries[:] = [entry("b")]
    clock.now += DELTA_SECONDS
    await fetcher.fetch()
    assert first.requests == ["GET /apps", "GET /apps"]
    assert base("b") in fetcher.services["orders"]


async def test_of_another_server_the_whole_is_fetched(
    fetcher: Fetcher, first: FakeEureka, second: FakeEureka
) -> None:
    first.register(entry("a"))
    second.entries = [entry("b")]
    await fetcher.fetch()
    first.answers["GET"] = (500, b"")
    await fetcher.fetch()
    assert second.requests == ["GET /apps/delta", "GET /apps"]
    assert base("b") in fetcher.services["orders"]
    await fetcher.fetch()
    assert second.requests[2:] == ["GET /apps/delta"]


@pytest.mark.parametrize("status", [403, 404])
async def test_of_a_server_without_deltas_the_whole_is_fetched_each_time(
    fetcher: Fetcher, first: FakeEureka, status: int
) -> None:
    first.answers["GET /apps/delta"] = (status, b"")
    first.register(entry("a"), entry("b"))
    await fetcher.fetch()
    first.deregister("a")
    await fetcher.fetch()
    assert fetcher.services == {"orders": (base("b"),)}
    assert first.requests == ["GET /apps", "GET /apps/delta", "GET /apps"]


async def test_while_no_server_answers_the_last_registry_stays(
    fetcher: Fetcher, first: FakeEureka, second: FakeEureka, changes: list[Services], clock: Clock
) -> None:
    first.register(entry("a"))
    await fetcher.fetch()
    for fake in (first, second):
        fake.answers["GET"] = (500, b"")
    for _ in range(5):
        clock.now += 3600
        with pytest.raises(EurekaAway):
            await fetcher.fetch()
    assert fetcher.services == {"orders": (base("a"),)}
    assert len(changes) == 1


async def test_a_server_that_lost_its_registry_removes_no_instance_for_a_lease(
    fetcher: Fetcher, first: FakeEureka, clock: Clock
) -> None:
    first.register(entry("a"), entry("b"))
    await fetcher.fetch()
    first.entries.clear()
    first.changes.clear()
    await fetcher.fetch()
    first.register(entry("b"))
    clock.now += LINGER_SECONDS - 1
    await fetcher.fetch()
    assert fetcher.services == {"orders": (base("a"), base("b"))}
    clock.now += 1
    await fetcher.fetch()
    assert fetcher.services == {"orders": (base("b"),)}


async def test_the_start_waits_for_the_first_answer(
    make: Callable[[float], Fetcher], first: FakeEureka
) -> None:
    first.register(entry("a"))
    fetcher = make(900.0)
    assert not fetcher.fresh
    async with fetcher.running():
        assert fetcher.services == {"orders": (base("a"),)}
        assert fetcher.fresh


async def test_the_start_does_not_wait_for_long(
    make: Callable[[float], Fetcher], first: FakeEureka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_FETCH_SECONDS", 0.1)
    first.register(entry("a"))
    first.open.clear()
    fetcher = make(900.0)
    began = time.monotonic()
    async with fetcher.running():
        assert time.monotonic() - began < 4.0
        assert (fetcher.services, fetcher.fresh) == ({}, False)
        first.open.set()
        async with asyncio.timeout(10):
            while not fetcher.fresh:
                await asyncio.sleep(0.001)


async def test_it_goes_on_after_failures(
    make: Callable[[float], Fetcher], first: FakeEureka, second: FakeEureka
) -> None:
    for fake in (first, second):
        fake.answers["GET"] = (500, b"")
    fetcher = make(0.01)
    async with fetcher.running():
        await first.until("GET", 3)
        assert not fetcher.fresh
        first.register(entry("a"))
        first.answers.clear()
        async with asyncio.timeout(10):
            while not fetcher.fresh:
                await asyncio.sleep(0.001)
        assert fetcher.services == {"orders": (base("a"),)}


async def test_it_goes_on_when_a_listener_breaks(
    both: EurekaServers, first: FakeEureka, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_services: Services) -> None:
        raise RuntimeError("a listener")

    first.register(entry("a"))
    async with Fetcher(both, 0.01, broken, metrics).running():
        await first.until("GET /apps", 3)
    assert "could not be taken over" in caplog.text


async def test_after_the_end_nothing_is_asked(make: Callable[[float], Fetcher], first: FakeEureka) -> None:
    async with make(0.01).running():
        await first.until("GET", 2)
    count = len(first.requests)
    await asyncio.sleep(0.1)
    assert len(first.requests) == count
