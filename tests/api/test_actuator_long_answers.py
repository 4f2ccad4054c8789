"""Long answers about the gateway itself hold nothing else up, however many callers ask for them."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.api import actuator
from gateway.api.actuator import CACHE_FACTOR, EXPENSIVE_SECONDS, BackgroundRenderer
from gateway.observability.instruments import LatencyHistogram, Tally
from gateway.observability.spring_names import SpringMetrics
from tests.support.gateway import Gateways


class Maker:
    """Makes ``b"1"``, ``b"2"`` and so on when it is told to; ``busy`` seconds of work each."""

    def __init__(self, busy: float = 0.0) -> None:
        self.made = 0
        self.at_once = 0
        self.go_on = threading.Event()
        self._busy = busy
        self._now = 0

    def __call__(self) -> bytes:
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        assert self.go_on.wait(20)
        until = time.thread_time() + self._busy
        while self._busy and time.thread_time() < until:
            pass
        self.made += 1
        self._now -= 1
        return str(self.made).encode()


@asynccontextmanager
async def asking(
    renderer: BackgroundRenderer, make: Maker, count: int
) -> AsyncIterator[list[asyncio.Task[bytes]]]:
    """So many callers that ask at once; the first thread works until the block ends."""
    callers = [asyncio.create_task(renderer.render("a", make)) for _ in range(count)]
    try:
        while not make.at_once:
            await asyncio.sleep(0.01)
        yield callers
    finally:
        make.go_on.set()
    await asyncio.wait(callers)


async def test_calls_at_the_same_time_share_two_answers() -> None:
    renderer, make = BackgroundRenderer(), Maker()
    async with asking(renderer, make, 20) as callers:
        pass
    # The second one holds what happened before the last of them asked.
    assert {caller.result() for caller in callers} <= {b"1", b"2"}
    assert make.made <= 2


async def test_each_later_caller_gets_what_happened_until_then() -> None:
    renderer, make = BackgroundRenderer(), Maker()
    make.go_on.set()
    assert [await renderer.render("a", make) for _ in range(3)] == [b"1", b"2", b"3"]


async def test_what_took_long_is_given_again_for_a_while() -> None:
    renderer, make = BackgroundRenderer(), Maker(2 * EXPENSIVE_SECONDS)
    make.go_on.set()
    began = time.monotonic()
    given = {await renderer.render("a", make) for _ in range(200)}
    assert len(given) <= 1 + (time.monotonic() - began) / (CACHE_FACTOR * 2 * EXPENSIVE_SECONDS)
    await asyncio.sleep(CACHE_FACTOR * 2 * EXPENSIVE_SECONDS + 0.3)
    assert await renderer.render("a", make) not in given


async def test_what_depends_on_an_object_is_made_once_for_it() -> None:
    renderer, make = BackgroundRenderer(), Maker()
    make.go_on.set()
    first, second = object(), object()
    assert [await renderer.render("a", make, subject) for subject in (first, first, second, second)] == [
        b"1",
        b"1",
        b"2",
        b"2",
    ]


async def test_callers_that_leave_start_no_second_thread() -> None:
    renderer, make = BackgroundRenderer(), Maker()
    async with asking(renderer, make, 5) as callers:
        for caller in callers:
            caller.cancel()
        await asyncio.sleep(0.1)
        later = asyncio.create_task(renderer.render("a", make))
        await asyncio.sleep(0.1)
        assert make.at_once == 1
    await later
    assert make.at_once == 1


async def test_a_failure_reaches_its_callers_and_no_others() -> None:
    renderer, make = BackgroundRenderer(), Maker()
    make.go_on.set()

    def fail() -> bytes:
        raise RuntimeError("once")

    with pytest.raises(RuntimeError):
        await renderer.render("a", fail)
    assert await renderer.render("a", make) == b"1"


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[tuple[threading.Event, list[Any]]]:
    """Lets a function of the actuator work until the event is set, and counts its calls."""
    original: Callable[..., Any] = getattr(actuator, name)
    go_on, calls = threading.Event(), []

    def wait(*arguments: object) -> object:
        calls.append(arguments)
        assert go_on.wait(20), "the loop was held"
        return original(*arguments)

    monkeypatch.setattr(actuator, name, wait)
    try:
        yield go_on, calls
    finally:
        go_on.set()


@pytest.mark.parametrize(
    ("path", "name", "most"),
    [
        ("/metrics", "server_stats", 2),
        ("/actuator/prometheus", "server_stats", 2),
        ("/actuator/gateway/routes", "routes_of", 1),
    ],
)
async def test_twenty_calls_for_long_answers_hold_up_no_other_call(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, path: str, name: str, most: int
) -> None:
    gateway = await gateways.start()
    with held(monkeypatch, name) as (go_on, calls):
        asked = [asyncio.create_task(gateway.nobody("GET", path)) for _ in range(20)]
        while not calls:
            await asyncio.sleep(0.01)
        assert (await gateway.nobody("GET", "/actuator/health")).status == 200
        assert (await gateway.user("a").lineup()).status == 200
        assert len(calls) == 1
        go_on.set()
        answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {200}
    assert len(calls) <= most


@contextmanager
def threads_that_change_at_every_chance() -> Iterator[None]:
    """The interpreter goes to another thread as often as it can: also wherever the garbage collector may run, which up
    to Python 3.11 is in the middle of what looks like one step, such as ``list(series.items())``."""

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(1e-6)

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-5)
    gc.set_threshold(100, 1000, 1000)
    gc.callbacks.append(give_way)
    try:
        yield
    finally:
        gc.callbacks.remove(give_way)
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)


def test_metrics_can_be_collected_while_they_are_counted() -> None:
    """In another thread, while series come to be."""
    registry = CollectorRegistry()
    spring = SpringMetrics(registry, lambda: 1)
    latency = LatencyHistogram(registry, "x_seconds", "x", (0.1,), ("a",))
    tally = Tally(registry, "y", "y", "a")
    counter = Counter("z", "z", ("a",), registry=registry)
    over = threading.Event()
    failed: list[Exception] = []

    def collect() -> None:
        while not over.is_set():
            try:
                list(registry.collect())
            except Exception as error:
                failed.append(error)
                return

    thread = threading.Thread(target=collect)
    with threads_that_change_at_every_chance():
        try:
            thread.start()
            for number in range(5000):
                spring.request(f"route-{number}", "GET", 200, 0.1, "", "http://a")
                latency.of(f"route-{number}").observe(0.1)
                tally.counts[f"{number}"] += 1
                counter.labels(f"{number}").inc()
        finally:
            over.set()
            thread.join()
    assert not failed
