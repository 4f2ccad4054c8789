"""Taking a changed route file over: the whole table or nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.routing.spec.issues import Issue
from gateway.routing.spec.loader import parse
from gateway.routing.spec.overlay import Properties
from gateway.routing.table import RouteTable
from gateway.routing.watch import RouteWatcher
from tests.support.config_server import answer_of, routes
from tests.support.route_files import load


def content(*ids: str) -> str:
    return "routes:\n" + "".join(
        f"- {{id: {name}, uri: 'lb://{name}', predicates: [Path=/{name}]}}\n" for name in ids
    )


class Listener:
    """Gathers what a watcher tells; ``next`` waits for the next thing told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[RouteTable | tuple[Issue, ...]] = asyncio.Queue()

    async def next(self) -> RouteTable | tuple[Issue, ...]:
        async with asyncio.timeout(10):
            return await self.told.get()

    async def next_ids(self) -> list[str]:
        told = await self.next()
        assert isinstance(told, RouteTable)
        return [route.id for route in told.routes]

    async def next_rules(self) -> list[str]:
        told = await self.next()
        assert isinstance(told, tuple)
        return [fault.rule for fault in told]


@asynccontextmanager
async def watching(path: Path, poll: float = 0.01) -> AsyncIterator[tuple[RouteWatcher, Listener]]:
    listener = Listener()
    watcher = RouteWatcher(
        path,
        {},
        load(path, {}),
        on_table=listener.told.put_nowait,
        on_issues=listener.told.put_nowait,
        poll_seconds=poll,
        settle_seconds=0.01,
    )
    async with watcher.running():
        yield watcher, listener


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(content("a"))
    return path


async def test_a_file_written_in_place_is_taken_over(file: Path) -> None:
    async with watching(file) as (watcher, listener):
        file.write_text(content("a", "b"))
        assert await listener.next_ids() == ["a", "b"]
        assert [route.id for route in watcher.table.routes] == ["a", "b"]


async def test_a_file_renamed_over_the_old_one_as_editors_do_is_taken_over(file: Path) -> None:
    async with watching(file) as (_, listener):
        new = file.with_suffix(".new")
        new.write_text(content("c"))
        os.replace(new, file)
        assert await listener.next_ids() == ["c"]


async def test_a_symlink_swapped_above_the_file_as_kubernetes_does_is_taken_over(tmp_path: Path) -> None:
    for version, name in (("v1", "a"), ("v2", "b")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "routes.yaml").write_text(content(name))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
    async with watching(tmp_path / "routes.yaml") as (_, listener):
        (tmp_path / "..data_tmp").symlink_to("v2")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
        assert await listener.next_ids() == ["b"]


async def test_a_bad_file_is_told_with_its_faults_and_changes_nothing(file: Path) -> None:
    async with watching(file) as (watcher, listener):
        before = watcher.table
        file.write_text(content("a") + "- {id: b, uri: x, predicates: [Pth=/]}\n")
        assert await listener.next_rules() == ["uri", "predicate-name"]
        assert watcher.table is before
        assert [fault.line for fault in watcher.issues] == [3, 3]
        file.write_text(content("z"))
        assert await listener.next_ids() == ["z"]
        assert watcher.issues == ()


@pytest.mark.parametrize("bad", ["", "routes:", "{{{", "\x00", "routes: nonsense"])
def test_an_emptied_or_broken_file_is_never_a_table_without_routes(file: Path, bad: str) -> None:
    async def run() -> None:
        async with watching(file) as (watcher, listener):
            file.write_text(bad)
            assert await listener.next_rules()
            assert [route.id for route in watcher.table.routes] == ["a"]

    asyncio.run(run())


async def test_a_file_that_is_gone_is_told_once_and_taken_over_when_it_is_back(file: Path) -> None:
    async with watching(file) as (watcher, listener):
        file.unlink()
        assert await listener.next_rules() == ["file"]
        file.write_text(content("b"))
        assert await listener.next_ids() == ["b"]
        assert watcher.issues == ()


async def test_an_untouched_or_merely_touched_file_is_not_told(file: Path) -> None:
    async with watching(file) as (watcher, listener):
        os.utime(file, (1, 1))
        file.write_text(content("b"))
        assert await listener.next_ids() == ["b"]
        assert listener.told.empty()
        assert watcher.table.digest == load(file, {}).digest


async def test_reload_reads_at_once_even_if_nothing_changed(file: Path) -> None:
    async with watching(file, poll=3600) as (watcher, listener):
        watcher.reload()
        assert await listener.next_ids() == ["a"]


async def test_a_change_between_loading_and_watching_is_found(file: Path) -> None:
    listener = Listener()
    table = load(file, {})
    file.write_text(content("late"))
    watcher = RouteWatcher(
        file,
        {},
        table,
        on_table=listener.told.put_nowait,
        on_issues=listener.told.put_nowait,
        settle_seconds=0,
    )
    async with watcher.running():
        assert await listener.next_ids() == ["late"]


async def test_a_listener_that_fails_does_not_end_the_watching(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: asyncio.Queue[RouteTable] = asyncio.Queue()

    def fail_first(table: RouteTable) -> None:
        told.put_nowait(table)
        if told.qsize() == 1:
            raise RuntimeError("listener")

    watcher = RouteWatcher(
        file, {}, load(file, {}), on_table=fail_first, on_issues=print, poll_seconds=0.01, settle_seconds=0.01
    )
    async with asyncio.timeout(10), watcher.running():
        file.write_text(content("b"))
        while told.empty():
            await asyncio.sleep(0)
        file.write_text(content("c"))
        while told.qsize() < 2:
            await asyncio.sleep(0)
    assert [route.id for route in watcher.table.routes] == ["c"]
    assert "listener" in caplog.text


async def test_a_fault_of_our_own_in_parsing_is_told_as_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(file) as (watcher, listener):

        def broken(*_: object) -> RouteTable:
            raise ZeroDivisionError

        monkeypatch.setattr("gateway.routing.watch.parse", broken)
        watcher.reload()
        assert await listener.next_rules() == ["internal"]
        assert [route.id for route in watcher.table.routes] == ["a"]


def properties(*ids: str, **more: object) -> Properties:
    return properties_of(answer_of({**routes(*ids), **more}), {})


@asynccontextmanager
async def overlaid(path: Path, start: Properties) -> AsyncIterator[tuple[RouteWatcher, Listener]]:
    listener = Listener()
    data = path.read_bytes()
    watcher = RouteWatcher(
        path,
        {},
        parse(data, str(path), {}, start),
        data=data,
        properties=start,
        on_table=listener.told.put_nowait,
        on_issues=listener.told.put_nowait,
        poll_seconds=0.01,
        settle_seconds=0.01,
    )
    async with watcher.running():
        yield watcher, listener


async def test_what_is_offered_is_laid_over_the_file(file: Path) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        assert await watcher.offer(properties("y")) == ()
        assert await listener.next_ids() == ["y"]
        assert [route.id for route in watcher.table.routes] == ["y"]


async def test_what_can_not_be_used_leaves_everything_as_it_was(file: Path) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        bad = properties("y", **{"spring.cloud.gateway.server.webflux.routes[0].uri": "nowhere"})
        assert [fault.rule for fault in await watcher.offer(bad)] == ["uri"]
        assert await listener.next_rules() == ["uri"]
        assert [route.id for route in watcher.table.routes] == ["x"]
        assert [fault.rule for fault in await watcher.offer(bad)] == ["uri"]
        assert listener.told.empty(), "the same faults are told once"
        assert await watcher.offer(properties("x")) == ()
        assert await listener.next_ids() == ["x"]


@pytest.mark.parametrize("offered", [properties(), None], ids=["without routes", "nothing"])
async def test_without_routes_on_offer_those_of_the_file_count(
    file: Path, offered: Properties | None
) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        assert await watcher.offer(offered) == ()
        assert await listener.next_ids() == ["a"]
        assert watcher.properties is offered
        assert await watcher.offer(properties("x")) == ()
        assert await listener.next_ids() == ["x"]


async def test_a_broken_file_does_not_hold_up_that_nothing_is_laid_over_it(file: Path) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        file.write_text("routes: {")
        assert await listener.next_rules() == ["yaml"]
        assert await watcher.offer(None) == ()
        assert await listener.next_ids() == ["a"]
        assert await listener.next_rules() == ["yaml"]


async def test_a_broken_file_does_not_hold_up_what_is_offered(file: Path) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        file.write_text("routes: {")
        assert await listener.next_rules() == ["yaml"]
        assert await watcher.offer(properties("y")) == ()
        assert await listener.next_ids() == ["y"]
        assert await listener.next_rules() == ["yaml"]
        file.write_text(content("a"))
        assert await listener.next_ids() == ["y"]


async def test_something_broken_on_offer_does_not_hold_up_the_file(file: Path) -> None:
    async with overlaid(file, properties("x")) as (watcher, listener):
        bad = properties("y", **{"spring.cloud.gateway.server.webflux.routes[0].uri": "nowhere"})
        await watcher.offer(bad)
        assert await listener.next_rules() == ["uri"]
        file.write_text(content("a") + "services: {x: 'http://127.0.0.1:1'}\n")
        assert await listener.next_ids() == ["x"]
        assert watcher.table.services == {"x": ("http://127.0.0.1:1",)}
        assert await listener.next_rules() == ["uri"]


async def test_the_file_can_be_read_at_a_word(file: Path) -> None:
    async with watching(file, poll=3600) as (watcher, listener):
        file.write_text(content("b"))
        assert await watcher.read() == ()
        assert await listener.next_ids() == ["b"]
        file.write_text("routes: {")
        assert [fault.rule for fault in await watcher.read()] == ["yaml"]
