"""A Config Server is looked at again and again: what is new is offered, what is broken changes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import ConfigRefused, ConfigUnavailable
from gateway.routing.config import server as module
from gateway.routing.config.properties import Properties
from gateway.routing.config.server import ConfigServer
from tests.config_server import routes


class World:
    """The server as it answers, and the gateway as it takes what is offered."""

    def __init__(self) -> None:
        self.source: Mapping[str, Any] = routes("a")
        self.away = ""
        self.wrong: tuple[str, ...] = ()
        self.asked = 0
        self.offered: asyncio.Queue[Properties] = asyncio.Queue()
        self.fetched: list[str] = []

    async def ask(self) -> bytes:
        self.asked += 1
        if self.away:
            raise ConfigUnavailable(self.away)
        return json.dumps({"propertySources": [{"name": "a.yml", "source": self.source}]}).encode()

    async def offer(self, properties: Properties) -> tuple[str, ...]:
        self.offered.put_nowait(properties)
        return self.wrong

    def server(self, interval: float = 0.0) -> ConfigServer:
        return ConfigServer(self.ask, {}, interval=interval, on_fetched=self.fetched.append)

    @asynccontextmanager
    async def running(self, interval: float = 0.0, *, started: bool = True) -> AsyncIterator[ConfigServer]:
        server = self.server(interval)
        if started:
            await server.first()
        async with server.running(self.offer):
            yield server


async def next_offer(world: World) -> Properties:
    async with asyncio.timeout(10):
        return await world.offered.get()


async def test_a_refresh_says_which_properties_changed() -> None:
    world = World()
    async with world.running() as server:
        assert await server.refresh() == ()
        assert world.offered.empty(), "nothing new is not offered"
        world.source = {**routes("a"), "spring.cloud.gateway.server.webflux.routes[0].order": 1}
        assert await server.refresh() == ("spring.cloud.gateway.server.webflux.routes[0].order",)
        assert (await next_offer(world)).gives_routes


async def test_changes_are_found_in_intervals() -> None:
    world = World()
    async with world.running(interval=0.01):
        world.source = routes("b")
        assert "lb://b" in (await next_offer(world)).values.values()


async def test_without_an_interval_nobody_looks_until_told_to() -> None:
    world = World()
    async with world.running() as server:
        world.source = routes("b")
        await asyncio.sleep(0.05)
        assert world.asked == 1
        server.look()
        server.look()
        await next_offer(world)
        assert world.asked == 2


async def test_looks_that_nobody_waits_for_keep_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.running() as server:
        monkeypatch.setattr(module, "LEAST_SECONDS", 3600.0)
        await server.refresh()
        server.look()
        await asyncio.sleep(0.05)
        assert world.asked == 2
        monkeypatch.setattr(module, "LEAST_SECONDS", 0.0)
    async with server.running(world.offer):
        server.look()
        while world.asked < 3:
            await asyncio.sleep(0.01)


async def test_a_server_away_at_the_start_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.01)
    world = World()
    world.away = "no"
    server = world.server()
    with pytest.raises(ConfigUnavailable):
        await server.first()
    async with server.running(world.offer):
        while world.asked < 3:
            await asyncio.sleep(0.01)
        world.away = ""
        assert (await next_offer(world)).gives_routes
    assert server.status().failures == 0


@pytest.mark.parametrize("trouble", ["away", "wrong"])
async def test_trouble_later_changes_nothing_and_is_told(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    async with world.running() as server:
        before = server.properties
        world.source = routes("b")
        expected = ConfigUnavailable if trouble == "away" else ConfigRefused
        setattr(world, trouble, "this is the matter" if trouble == "away" else ("this is the matter",))
        for _ in range(2):
            with pytest.raises(expected):
                await server.refresh()
        assert server.properties is before
        assert server.status().failures == 2
        assert server.status().reason == "this is the matter"
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1, "the same reason is said once"
        setattr(world, trouble, () if trouble == "wrong" else "")
        assert await server.refresh()
        assert (server.status().failures, server.status().reason) == (0, "")
    assert world.fetched == ["ok", *["failed" if trouble == "away" else "refused"] * 2, "ok"]


async def test_going_back_to_what_is_in_force_ends_a_refusal() -> None:
    world = World()
    async with world.running() as server:
        world.source, world.wrong = routes("b"), ("bad",)
        with pytest.raises(ConfigRefused):
            await server.refresh()
        world.source, world.wrong = routes("a"), ()
        assert await server.refresh() == ()
        assert world.offered.qsize() == 2, "whoever refused the other one hears of it"


async def test_who_asks_during_a_look_gets_the_next_one() -> None:
    world = World()
    async with world.running() as server:
        first = asyncio.create_task(server.refresh())
        while world.asked < 2:
            await asyncio.sleep(0)
        world.source = routes("b")
        assert await server.refresh() != ()
        await first
        assert world.asked == 3


async def test_nobody_waits_for_ever_when_it_ends() -> None:
    world = World()
    stuck = asyncio.Event()

    async def take(properties: Properties) -> tuple[str, ...]:
        stuck.set()
        return await asyncio.Future()

    server = world.server()
    await server.first()
    async with server.running(take):
        world.source = routes("b")
        under_way = asyncio.create_task(server.refresh())
        await stuck.wait()
        later = asyncio.create_task(server.refresh())
        await asyncio.sleep(0)
    await asyncio.wait([under_way, later], timeout=10)
    assert under_way.cancelled()
    assert later.cancelled()


async def test_what_nobody_foresaw_ends_no_looking() -> None:
    world = World()

    async def broken(properties: Properties) -> tuple[str, ...]:
        raise RuntimeError("secret")

    server = world.server()
    await server.first()
    async with server.running(broken):
        world.source = routes("b")
        with pytest.raises(
            ConfigUnavailable, match=r"a fault of the gateway itself \(RuntimeError\)"
        ) as error:
            await server.refresh()
        assert "secret" not in str(error.value)
        world.source = routes("a")
        assert await server.refresh() == ()


async def test_ignored_properties_are_listed_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.source = {**routes("a"), "x.y": "value-of-x"}
    async with world.running() as server:
        await server.refresh()
        world.source = {**routes("b"), "x.y": 2, "z": 3}
        await server.refresh()
    listed = [record.getMessage() for record in caplog.records if "mean nothing here" in record.getMessage()]
    assert [line.partition(": ")[2] for line in listed] == ["x.y", "z"]
    assert "value-of-x" not in caplog.text
