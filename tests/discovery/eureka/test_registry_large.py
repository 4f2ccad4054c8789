"""A registry of thousands of instances holds nothing else up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from gateway.discovery.eureka.messages import BadRegistry, parse_listing
from gateway.discovery.eureka.registry import Fetcher, InstanceRegistry
from gateway.discovery.eureka.transport import EurekaServers
from gateway.observability.metrics import Metrics
from tests.support.eureka import FakeEureka, entry


async def turns_during(call: Callable[[], object]) -> int:
    """How often the event loop gets its turn, a millisecond after each, while ``call`` runs in a thread."""
    turns = 0
    running = asyncio.create_task(asyncio.to_thread(call))
    while not running.done():
        await asyncio.sleep(0.001)
        turns += 1
    await running
    return turns


async def test_reading_lets_the_loop_have_its_turns() -> None:
    # No applications: all of the time goes into JSON, which Python reads in one go if nothing interrupts it.
    document = json.dumps([entry("a") | {"metadata": {str(i): str(i) for i in range(20)}}] * 20_000).encode()

    def read() -> None:
        with pytest.raises(BadRegistry):
            parse_listing(document)

    assert await turns_during(read) > 10


async def test_taking_it_over_happens_beside_the_loop(
    both: EurekaServers, first: FakeEureka, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[threading.Thread] = set()
    for name in ("replace", "apply", "services"):
        original = getattr(InstanceRegistry, name)

        def noted(
            *arguments: object, original: Callable[..., object] = original, **options: object
        ) -> object:
            threads.add(threading.current_thread())
            return original(*arguments, **options)

        monkeypatch.setattr(InstanceRegistry, name, noted)
    told: list[threading.Thread] = []
    first.register(entry("a"))
    fetcher = Fetcher(both, 900.0, lambda _: told.append(threading.current_thread()), metrics)
    threads.clear()
    await fetcher.fetch()
    first.register(entry("b"))
    await fetcher.fetch()
    assert first.requests == ["GET /apps", "GET /apps/delta"]
    assert threads
    assert threading.main_thread() not in threads
    assert told == [threading.main_thread()] * 2
