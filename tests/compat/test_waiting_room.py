"""The waiting room: scripts, events between gateways, sweeps, streams, with each kind of address of Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.compat.rig import Site, a_site
from tests.support.redis_fleet import Member, cluster, watched
from tests.support.redis_server import StartRedis


async def _walk_through(site: Site) -> None:
    """One is in, the other waits at the last gateway, and is told when the first leaves at the first one."""
    first, second = site.user("first"), site.user("second", gateway=-1)
    assert (await second("POST", "/buy/x")).status != 200
    lineup = await first.lineup()
    assert lineup.status == 200, lineup.body
    assert (await first("POST", "/buy/x", data=b"1")).body == b"POST 1"
    assert (await second.lineup()).status == 200
    assert (await second.status()).status == 200
    assert (await second("POST", "/buy/x")).status != 200
    async with second.stream() as stream:
        await stream.until("STATUS_UPDATE")
        await stream.until("HEARTBEAT")
        assert (await first("POST", "/api/v1/queue/leave")).status == 204
        await stream.until("ALLOWED_IN")
        assert await stream.next() is None
    assert (await second("POST", "/buy/x", data=b"2")).body == b"POST 2"
    assert (await second("POST", "/api/v1/queue/leave")).status == 204


async def test_a_redis_of_its_own_address(tmp_path: Path, redis_url: str) -> None:
    async with a_site(tmp_path, redis_url, gateways=2, SSE_HEARTBEAT_SECONDS="0.2") as site:
        await _walk_through(site)


async def test_a_redis_with_a_password_by_tcp_that_comes_back(tmp_path: Path) -> None:
    with Member(password="hunter2") as server:
        url = f"redis://:hunter2@127.0.0.1:{server.port}/3"
        async with a_site(tmp_path, url, SSE_HEARTBEAT_SECONDS="0.2") as site:
            await _walk_through(site)
            server.kill()
            away = await site.user("first").lineup()
            assert (away.status, away.code) == (503, "QUEUE_UNAVAILABLE")
            server.start()
            async with asyncio.timeout(20):
                while (await site.user("first").lineup()).status != 200:
                    await asyncio.sleep(0.05)
            await site.user("first")("POST", "/api/v1/queue/leave")
            await _walk_through(site)
            assert "hunter2" not in "\n".join(site.gateways[0].lines)


async def test_a_master_that_sentinels_know(tmp_path: Path) -> None:
    with watched(1, password="hunter2", sentinel_password="hunter3") as servers:
        url = servers.url(":hunter2@", "?sentinel_password=hunter3")
        async with a_site(tmp_path, url, SSE_HEARTBEAT_SECONDS="0.2", REDIS_WAIT_REPLICAS="1") as site:
            await _walk_through(site)


async def test_a_cluster(tmp_path: Path) -> None:
    with cluster() as nodes:
        environ = {"REDIS_KEY_PREFIX": "{gw}:", "SSE_HEARTBEAT_SECONDS": "0.2"}
        async with a_site(tmp_path, nodes.url(), **environ) as site:
            await _walk_through(site)


async def test_a_session_that_ends_makes_room_without_a_call(tmp_path: Path, redis_url: str) -> None:
    async with a_site(tmp_path, redis_url, ALLOWED_IN_DURATION_SECONDS="1.5") as site:
        await site.user("first").lineup()
        assert (await site.user("second").lineup()).status == 200
        async with site.user("second").stream() as stream:
            await stream.until("STATUS_UPDATE")
            await stream.until("ALLOWED_IN")


async def test_a_crowd_at_once(tmp_path: Path, start_redis: StartRedis) -> None:
    server = start_redis()
    async with a_site(tmp_path, server.url, gateways=2, ALLOWED_IN_MAX_CAPACITY="10") as site:
        people = [site.user(f"user-{number}", gateway=number % 2) for number in range(100)]
        answers = await asyncio.gather(*(person.lineup() for person in people))
        assert {answer.status for answer in answers} == {200}
        passed = await asyncio.gather(*(person("POST", "/buy/x") for person in people))
        assert sum(answer.status == 200 for answer in passed) == 10
