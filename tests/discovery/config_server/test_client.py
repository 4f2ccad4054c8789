"""A Config Server is looked at again and again: what is new is offered, what is broken changes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.discovery.config_server import client as module
from gateway.discovery.config_server.client import ConfigServer
from gateway.errors import ConfigRefused, ConfigUnavailable
from gateway.routing.spec.overlay import Properties
from tests.support.config_server import routes


class World:
    """The server as it answers, and the gateway as it takes what is offered."""

    def __init__(self) -> None:
        self.source: Mapping[str, Any] | None = routes("a")
        """None: there are no sources."""
        self.away = ""
        self.wrong: tuple[str, ...] = ()
        self.asked = 0
        self.offered: asyncio.Queue[Properties | None] = asyncio.Queue()
        self.fetched: list[str] = []

    async def ask(self) -> bytes:
        self.asked += 1
        if self.away:
            raise ConfigUnavailable(self.away)
        sources = [] if self.source is None else [{"name": "a.yml", "source": self.source}]
        return json.dumps({"propertySources": sources}).encode()

    async def offer(self, properties: Properties | None) -> tuple[str, ...]:
        self.offered.put_nowait(properties)
        return self.wrong

    def server(self, interval: float = 0.0, *, optional: bool = False) -> ConfigServer:
        return ConfigServer(
            self.ask, {}, interval=interval, optional=optional, on_fetched=self.fetched.append
        )

    @asynccontextmanager
    async def running(self, interval: float = 0.0, *, optional: bool = False) -> AsyncIterator[ConfigServer]:
        server = self.server(interval, optional=optional)
        await server.first()
        async with server.running(self.offer):
            yield server


async def next_offer(world: World) -> Properties:
    async with asyncio.timeout(10):
        offered = await world.offered.get()
    assert offered is not None
    return offered


async def looked(world: World, times: int) -> None:
    async with asyncio.timeout(10):
        while len(world.fetched) < times:
            await asyncio.sleep(0.01)


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


async def test_without_an_interval_it_refreshes_only_on_demand() -> None:
    world = World()
    async with world.running() as server:
        world.source = routes("b")
        await asyncio.sleep(0.05)
        assert world.asked == 1
        server.poll_soon()
        server.poll_soon()
        await next_offer(world)
        assert world.asked == 2


async def test_refreshes_without_a_waiting_caller_keep_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.running() as server:
        monkeypatch.setattr(module, "MIN_INTERVAL_SECONDS", 3600.0)
        await server.refresh()
        server.poll_soon()
        await asyncio.sleep(0.05)
        assert world.asked == 2
        monkeypatch.setattr(module, "MIN_INTERVAL_SECONDS", 0.0)
    async with server.running(world.offer):
        server.poll_soon()
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


GONE = pytest.mark.parametrize(
    ("source", "error", "reason"),
    [
        (None, ConfigUnavailable, "it has no configuration for this name, these profiles and this label"),
        ({"other": 1}, ConfigRefused, "it has no routes any more"),
    ],
    ids=["no sources", "no routes"],
)


@GONE
async def test_what_is_gone_is_believed_when_asked_again(
    source: Mapping[str, Any] | None, error: type[Exception], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    async with world.running(interval=3600, optional=True) as server:
        before = server.properties
        assert before is not None
        world.source = source
        with pytest.raises(error, match=f"{reason}; when it says so again, it is believed"):
            await server.refresh()
        assert (server.properties, world.offered.qsize()) == (before, 0)
        assert await server.refresh() == tuple(sorted(before.values))
        offered = await world.offered.get()
        assert offered is server.properties
        assert (offered is None) is (source is None)
        status = server.status()
        assert (status.gives_routes, status.failures) == (False, int(source is None))
        assert status.reason == (reason if source is None else "")
        said = [each.getMessage() for each in caplog.records if "says again" in each.getMessage()]
        assert len(said) == 1
        assert reason in said[0]
        world.source = routes("a")
        assert await server.refresh() == tuple(sorted(before.values))
        assert (server.status().gives_routes, server.status().failures) == (True, 0)


@GONE
@pytest.mark.parametrize("between", ["good", "away"])
async def test_what_is_gone_for_one_look_only_changes_nothing(
    between: str, source: Mapping[str, Any] | None, error: type[Exception], reason: str
) -> None:
    world = World()
    async with world.running(interval=3600, optional=True) as server:
        for _ in range(3):
            world.source = source
            with pytest.raises(error, match=reason):
                await server.refresh()
            if between == "good":
                world.source = routes("a")
                assert await server.refresh() == ()
            else:
                world.away = "this is the matter"
                with pytest.raises(ConfigUnavailable, match=r"this is the matter"):
                    await server.refresh()
                world.away = ""
        assert world.offered.empty()
        assert server.status().gives_routes


async def test_no_routes_and_no_sources_are_two_things_to_be_believed() -> None:
    world = World()
    async with world.running(optional=True) as server:
        for source in (None, {"other": 1}, None):
            world.source = source
            with pytest.raises((ConfigUnavailable, ConfigRefused)):
                await server.refresh()
        assert world.offered.empty()


async def test_a_server_that_is_not_optional_may_lose_its_routes_and_never_all() -> None:
    world = World()
    async with world.running() as server:
        world.source = None
        for _ in range(3):
            with pytest.raises(ConfigUnavailable, match=r"this label$"):
                await server.refresh()
        assert world.offered.empty()
        world.source = {"other": 1}
        with pytest.raises(ConfigRefused):
            await server.refresh()
        assert await server.refresh()
        assert not (await next_offer(world)).gives_routes


@GONE
async def test_what_is_gone_is_looked_at_again_in_the_usual_time_and_no_sooner(
    source: Mapping[str, Any] | None,
    error: type[Exception],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(module, "MIN_INTERVAL_SECONDS", 0.0)
    world = World()
    async with world.running(interval=3600, optional=True) as server:
        world.source = source
        server.poll_soon()
        await looked(world, 2)
        await asyncio.sleep(0.05)
        assert world.asked == 2, "no retry as after a failure"
        for _ in range(3):  # as webhooks do
            server.poll_soon()
            await looked(world, len(world.fetched) + 1)
        assert server.status().gives_routes
    world = World()
    async with world.running(interval=0.1, optional=True) as server:
        world.source = source
        async with asyncio.timeout(10):
            offered = await world.offered.get()
        assert (offered is None) is (source is None)
        assert world.asked == 3
        world.source = routes("a")
        assert (await next_offer(world)).gives_routes


async def test_without_an_interval_what_is_gone_is_believed_at_the_second_word() -> None:
    world = World()
    async with world.running(optional=True) as server:
        world.source = None
        server.poll_soon()
        await looked(world, 2)
        assert server.status().gives_routes
        await server.refresh()
        assert await world.offered.get() is None


async def test_a_file_that_can_not_stand_alone_keeps_what_is_in_force() -> None:
    world = World()
    async with world.running(optional=True) as server:
        world.source, world.wrong = None, ("bad",)
        with pytest.raises(ConfigUnavailable):
            await server.refresh()
        for _ in range(2):
            with pytest.raises(ConfigRefused, match="bad"):
                await server.refresh()
        assert server.status().gives_routes
        world.wrong = ()
        assert await server.refresh()
        assert not server.status().gives_routes


async def test_a_call_during_a_refresh_gets_the_next_one() -> None:
    world = World()
    async with world.running() as server:
        first = asyncio.create_task(server.refresh())
        while world.asked < 2:
            await asyncio.sleep(0)
        world.source = routes("b")
        assert await server.refresh() != ()
        await first
        assert world.asked == 3


async def test_no_caller_waits_forever_when_it_ends() -> None:
    world = World()
    stuck = asyncio.Event()

    async def take(properties: Properties | None) -> tuple[str, ...]:
        stuck.set()
        return await asyncio.Future()

    server = world.server()
    await server.first()
    async with server.running(take):
        world.source = routes("b")
        in_progress = asyncio.create_task(server.refresh())
        await stuck.wait()
        later = asyncio.create_task(server.refresh())
        await asyncio.sleep(0)
    await asyncio.wait([in_progress, later], timeout=10)
    assert in_progress.cancelled()
    assert later.cancelled()


async def test_an_unexpected_error_ends_no_refreshing() -> None:
    world = World()

    async def broken(properties: Properties | None) -> tuple[str, ...]:
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
