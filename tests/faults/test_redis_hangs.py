"""Redis hangs, or is full: gateways say so, waste nobody's time, and lose no one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from tests.faults.people import Person
from tests.faults.site import GRACE, INTERVAL, Site, StartSite, a_site
from tests.support.gateway_process import GatewayProcess
from tests.support.redis_fleet import PATIENCE, cluster, watched
from tests.support.waiting import eventually

PREFIX = "{gw}:"
SLOT = key_slot(PREFIX.encode())
FOUND_OUT = 2.0
"""Within this many seconds a gateway says that Redis hangs."""
AT_ONCE = 2.5
"""Seconds in which a busy machine answers what waits for nothing; time-outs of Redis are far longer here."""


async def redis_health(person: Person, base: str) -> dict[str, Any]:
    """The component of ``/actuator/health``, whose own status stays UP."""
    health = await person.call("GET", "/actuator/health", base=base)
    assert (health.status, health.json["status"]) == (200, "UP")
    return health.json["components"]["redis"]


async def metric(person: Person, base: str, line: str) -> str:
    page = (await person.call("GET", "/metrics", base=base)).body.decode()
    return next(row.rpartition(" ")[2] for row in page.splitlines() if row.startswith(line + " "))


async def assert_said_once(gateway: GatewayProcess, text: str) -> None:
    def lines() -> list[str]:
        return [line for line in gateway.lines if text in line]

    await eventually(lines, GRACE, f"a line of the log: {text}")
    assert len(lines()) == 1, lines()


async def assert_says_that_it_is_back(person: Person, gateway: GatewayProcess, base: str) -> None:
    async def up() -> bool:
        return (await redis_health(person, base))["status"] == "UP"

    await eventually(up, PATIENCE, "health says that Redis is back")
    assert await metric(person, base, "gateway_redis_up") == "1.0"
    await assert_said_once(gateway, "Redis is back")


async def test_a_redis_that_hangs_for_four_seconds_is_detected_and_costs_no_user_time_or_place(
    start_site: StartSite,
) -> None:
    # With a time-out of this length nothing but the probe can be the reason for a quick answer.
    async with start_site(redis_timeout_seconds=20) as site:
        people = await site.crowd(12)
        insider, watcher = people[0], people[5]
        before = site.look()
        assert site.redis is not None
        site.redis.freeze()
        began, wall = time.monotonic(), time.time()
        try:
            early = asyncio.create_task(insider.gated(base=site.bases()[0]))
            for base in site.bases():

                async def down(base: str = base) -> bool:
                    return (await redis_health(insider, base))["status"] == "DOWN"

                await eventually(down, FOUND_OUT + GRACE, "health says DOWN")
            assert time.monotonic() - began < FOUND_OUT + GRACE
            # Whoever asked before it was known does not wait for the time-out either.
            assert (await asyncio.wait_for(early, AT_ONCE)).code == "QUEUE_UNAVAILABLE"
            while time.monotonic() - began < 4.0:
                for base, gateway in zip(site.bases(), site.gateways, strict=True):
                    asked = time.monotonic()
                    answers = await asyncio.gather(
                        insider.gated(base=base),
                        watcher.status(base=base),
                        site.person("new").lineup(base=base),
                    )
                    assert time.monotonic() - asked < AT_ONCE
                    for answer in answers:
                        assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
                        assert 1 <= int(answer.headers["Retry-After"]) <= 4
                    details = (await redis_health(insider, base))["details"]
                    assert sorted(details) == ["reason", "since"]
                    since = time.strptime(details["since"].partition(".")[0], "%Y-%m-%dT%H:%M:%S")
                    assert abs(wall - (time.mktime(since) - time.timezone)) < 3.0
                    assert str(site.redis.socket) not in str(details)
                    component = await insider.call("GET", "/actuator/health/redis", base=base)
                    assert (component.status, component.json["status"]) == (503, "DOWN")
                    assert await metric(insider, base, "gateway_redis_up") == "0.0"
                    await assert_said_once(gateway, "Redis is away")
                await asyncio.sleep(0.1)
        finally:
            site.redis.thaw()
        thawed = time.monotonic()

        async def served() -> bool:
            return all([(await insider.gated(base=base)).status == 200 for base in site.bases()])

        await eventually(served, 1.0 + GRACE, "calls are served again")
        assert time.monotonic() - thawed < 1.0 + GRACE
        for base, gateway in zip(site.bases(), site.gateways, strict=True):
            await assert_says_that_it_is_back(insider, gateway, base)
            await assert_said_once(gateway, "Redis is away")
        assert all(len(person.openings) == 1 for person in people[2:])
        after = site.look()
        assert {name: after.line[name] for name in before.line} == before.line
        await site.assert_truth(people)
        await site.assert_gate(people)
        await site.assert_moves_on(people, 3)


async def test_with_fail_open_gated_calls_pass_at_once(start_site: StartSite) -> None:
    async with start_site(gateways=1, redis_timeout_seconds=20, queue_fail_open="true") as site:
        insider = site.person("insider")
        await insider.lineup()
        assert site.redis is not None
        site.redis.freeze()
        try:

            async def down() -> bool:
                return (await redis_health(insider, site.bases()[0]))["status"] == "DOWN"

            await eventually(down, FOUND_OUT + GRACE, "health says DOWN")
            asked = time.monotonic()
            assert (await insider.gated()).status == 200
            assert (await site.person("stranger").gated()).status == 200
            assert time.monotonic() - asked < AT_ONCE
        finally:
            site.redis.thaw()


async def assert_a_hung_master_is_known_and_replaced(site: Site, hang: Any) -> None:
    people = await site.crowd(6)
    insider = people[0]
    hang()
    for base in site.bases():

        async def down(base: str = base) -> bool:
            return (await redis_health(insider, base))["status"] == "DOWN"

        await eventually(down, FOUND_OUT + GRACE, "health says DOWN")
        asked = time.monotonic()
        assert (await insider.gated(base=base)).code == "QUEUE_UNAVAILABLE"
        assert time.monotonic() - asked < AT_ONCE

    async def served() -> bool:
        return all([(await insider.gated(base=base)).status == 200 for base in site.bases()])

    await eventually(served, PATIENCE, "the new master is found")
    for base in site.bases():

        async def up(base: str = base) -> bool:
            return (await redis_health(insider, base))["status"] == "UP"

        await eventually(up, PATIENCE, "health says UP")


@pytest.mark.timeout(240)
async def test_a_master_that_hangs_is_known_before_sentinels_replace_it(tmp_path: Path) -> None:
    with watched(1) as servers:
        async with a_site(
            tmp_path,
            servers.servers[0],
            redis_url=servers.url(),
            redis_wait_replicas=1,
            redis_timeout_seconds=8,
        ) as site:
            await assert_a_hung_master_is_known_and_replaced(site, servers.servers[0].freeze)


@pytest.mark.timeout(240)
async def test_a_node_that_hangs_is_known_before_the_cluster_replaces_it(tmp_path: Path) -> None:
    with cluster(replicas_of_each=1) as servers:
        async with a_site(
            tmp_path,
            servers.owner(SLOT),
            redis_url=servers.url(),
            redis_key_prefix=PREFIX,
            redis_wait_replicas=1,
            redis_timeout_seconds=8,
        ) as site:
            await assert_a_hung_master_is_known_and_replaced(site, servers.owner(SLOT).freeze)


async def test_a_full_redis_lets_users_leave_and_move_on_and_refuses_new_ones_only(
    start_site: StartSite,
) -> None:
    async with start_site(capacity=2, duration=4.0) as site:
        people = await site.crowd(10)
        before = site.look()
        newcomer = site.person("newcomer")
        # Below what is in use; buffers of the append-only file do not count, and differ between versions.
        site.store.config_set("maxmemory", site.store.info("memory")["used_memory"] * 7 // 10)
        try:
            for base, gateway in zip(site.bases(), site.gateways, strict=True):

                async def told(base: str = base) -> bool:
                    return "refusesWrites" in (await redis_health(newcomer, base))["details"]

                await eventually(told, FOUND_OUT + GRACE, "health says that Redis is full")
                component = await redis_health(newcomer, base)
                assert (component["status"], component["details"]["refusesWrites"]) == ("UP", "memory")
                assert await metric(newcomer, base, 'gateway_redis_refuses_writes{reason="memory"}') == "1.0"
                await assert_said_once(gateway, "Redis is at maxmemory")
                refused = await newcomer.lineup(base=base)
                assert (refused.status, refused.code) == (503, "QUEUE_STORAGE_FULL")
                assert 5 <= int(refused.headers["Retry-After"]) <= 15
                for person in (people[0], people[9]):
                    assert (await person.status(base=base)).status == 200
                assert (await people[0].gated(base=base)).status == 200

            # The session of the first is renewed, that of the second runs out, and the next one is let in by the sweep.
            async def in_line_first() -> bool:
                await people[0].gated()
                return people[2].inside

            await eventually(in_line_first, 4.0 + 2.0 + GRACE, "a session ends and the next user is let in")
            people[1].inside = False
            assert (await people[0].leave()).status == 200
            assert (await people[3].told(INTERVAL + GRACE)).name == "ALLOWED_IN"
            assert (await people[9].call("DELETE", "/api/v1/queue/waiting-token")).status == 200
            assert (await people[9].told(INTERVAL + GRACE)).data["reason"] == "LEFT"
            assert (await people[3].gated()).status == 200
            assert (await newcomer.lineup()).code == "QUEUE_STORAGE_FULL"
            seen = site.assert_room()
            assert {name: before.line[name] for name in seen.line} == seen.line
            assert all(len(person.openings) == 1 for person in people[4:9])
        finally:
            site.store.config_set("maxmemory", 0)
        for base, gateway in zip(site.bases(), site.gateways, strict=True):

            async def writes(base: str = base) -> bool:
                return (await redis_health(newcomer, base))["details"] == {}

            await eventually(writes, FOUND_OUT + GRACE, "health says that there is memory")
            await assert_said_once(gateway, "Redis takes writes again")
        assert (await newcomer.in_the_end()).json["state"] == "WAITING"
        left = site.assert_room()
        assert all(left.line.get(name, ticket) == ticket for name, ticket in before.line.items())
