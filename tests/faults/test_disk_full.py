"""The disk of the embedded Redis is full, and later has room again.

A limit on the size of files stands for the disk: it makes ``write`` fail half-way, as a full disk does. It binds root
as well, needs no mount, and can be lifted from outside. Redis's start removes it from no one: the wrapper only sees to
it that the signal which comes with it does not end the process.
"""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from tests.faults.site import GRACE, INTERVAL, Site, StartSite, memory
from tests.support.redis_server import chosen_executable
from tests.support.waiting import eventually

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def wrapped_redis(folder: Path) -> Path:
    """A folder with a ``redis-server`` for the PATH that outlives writing beyond its limit."""
    folder.mkdir()
    wrapper = folder / "redis-server"
    wrapper.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {chosen_executable()} \"$@\"\n")
    wrapper.chmod(0o755)
    return folder


def redis_of(pid: int) -> int:
    """The process of the embedded Redis."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(child) for child in children if "redis-server" in Path(f"/proc/{child}/comm").read_text())


def append_only_file(folder: Path) -> Path:
    """What Redis writes to, of version 6 or later."""
    files = [*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")]
    assert len(files) == 1, files
    return files[0]


@pytest.fixture
def folder_of_redis(tmp_path: Path) -> Path:
    return tmp_path / "redis-data"


async def start_embedded(site: Site, tmp_path: Path, folder: Path) -> int:
    """One gateway with a Redis of its own; the process of that Redis."""
    path = os.pathsep.join((str(wrapped_redis(tmp_path / "bin")), os.environ["PATH"]))
    environ = {"REDIS_URL": "embedded", "EMBEDDED_REDIS_DIR": str(folder), "PATH": path}
    gateway = await site.add_gateway(environ)
    return redis_of(gateway.process.pid)


async def test_a_full_disk_stops_changes_but_not_the_truth(
    start_site: StartSite, tmp_path: Path, folder_of_redis: Path
) -> None:
    async with start_site(gateways=0) as site:
        redis = await start_embedded(site, tmp_path, folder_of_redis)
        gateway = site.gateways[0]
        site.store.connection_pool.connection_kwargs["path"] = str(folder_of_redis / "redis.sock")
        people = await site.crowd(12)
        before, used, lines = site.look(), memory(gateway), len(gateway.lines)
        file = append_only_file(folder_of_redis)
        resource.prlimit(redis, resource.RLIMIT_FSIZE, (file.stat().st_size + 10, resource.RLIM_INFINITY))
        newcomer = site.person("newcomer")

        async def refused() -> bool:
            answer = await newcomer.lineup()
            return answer.status == 503

        await eventually(refused, 5.0, "Redis notices that the disk is full")
        try:
            # Nothing can be changed, so nobody passes the gate; but all can still be told where they stand.
            gated = await people[0].gated()
            assert (gated.status, gated.code) == (503, "QUEUE_UNAVAILABLE")
            assert (await people[0].call("GET", "/api/v1/products/1")).status == 200
            updates = await asyncio.gather(*(person.updated(INTERVAL + GRACE) for person in people[2:]))
            assert [update["ticket"] for update in updates] == [person.ticket for person in people[2:]]
            assert all(len(person.openings) == 1 for person in people[2:])
        finally:
            resource.prlimit(redis, resource.RLIMIT_FSIZE, _UNLIMITED)

        async def served() -> bool:
            return (await people[0].gated()).status == 200

        await eventually(served, 5.0, "Redis notices that there is room again")
        assert redis_of(gateway.process.pid) == redis
        after = site.assert_room()
        assert {name: after.line[name] for name in before.line} == before.line
        await newcomer.in_the_end()
        newcomer.watch()
        await site.assert_truth([*people, newcomer])
        await site.assert_gate(people)
        await site.assert_moves_on([*people, newcomer])
        assert memory(gateway) < used + 20
        assert len(gateway.lines) - lines < 20, gateway.lines[lines:]


async def test_what_was_said_before_the_disk_was_full_survives_a_restart_of_redis(
    start_site: StartSite, tmp_path: Path, folder_of_redis: Path
) -> None:
    async with start_site(gateways=0) as site:
        redis = await start_embedded(site, tmp_path, folder_of_redis)
        site.store.connection_pool.connection_kwargs["path"] = str(folder_of_redis / "redis.sock")
        people = await site.crowd(12)
        before = site.look()
        file = append_only_file(folder_of_redis)
        resource.prlimit(redis, resource.RLIMIT_FSIZE, (file.stat().st_size + 10, resource.RLIM_INFINITY))
        newcomer = site.person("newcomer")

        async def refused() -> bool:
            return (await newcomer.lineup()).status == 503

        await eventually(refused, 5.0, "Redis notices that the disk is full")
        # Its successor is started by the gateway, without the limit.
        os.kill(redis, 9)

        async def served() -> bool:
            return (await people[0].gated()).status == 200

        await eventually(served, 6.0, "another Redis with the same data")
        after = site.assert_room()
        assert {name: after.line.get(name) for name in before.line} == before.line
        await site.assert_truth(people)
        await site.assert_gate(people)
        await site.assert_moves_on(people)
