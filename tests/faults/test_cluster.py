"""Two gateways on a real cluster: at work, while the slot moves, and when the node that has it dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests.faults.site import Site, a_site
from tests.support.gateway_process import gateway_process
from tests.support.redis_fleet import PATIENCE, Cluster, cluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

PREFIX = "{gw}:"
SLOT = key_slot(PREFIX.encode())
RECOVERY = 40.0
"""Seconds from the death of a node to the first answer."""


async def everything(site: Site, people: list) -> None:
    await site.assert_truth(people)
    await site.assert_gate(people)
    await site.assert_moves_on(people, 3)


async def test_a_room_lives_on_a_cluster_and_goes_where_its_slot_goes(tmp_path: Path) -> None:
    with cluster() as nodes:
        old = nodes.owner(SLOT)
        site_on = a_site(
            tmp_path, old, redis_url=nodes.url(), redis_key_prefix=PREFIX, redis_timeout_seconds=3
        )
        async with site_on as site:
            people = await site.crowd(16)
            await everything(site, people)
            new = next(server for server in nodes.servers if server is not old)
            moving = asyncio.create_task(asyncio.to_thread(nodes.move, SLOT, old, new))
            latecomers = []
            while not moving.done():
                latecomers.append(site.person(f"late-{len(latecomers)}"))
                # Refused without having been done, or done once.
                await latecomers[-1].in_the_end()
            await moving
            with new.client as store:
                site.store = store
                seen = site.assert_room()
                assert [seen.line[one.name] for one in latecomers] == [one.ticket for one in latecomers]
                with old.client as left:
                    assert left.dbsize() == 0
                assert all(len(person.openings) == 1 for person in people[2:])
                await everything(site, people)


async def test_a_replica_takes_over_the_slot_of_a_node_that_died(tmp_path: Path) -> None:
    with cluster(replicas_of_each=1) as nodes:
        old = nodes.owner(SLOT)
        async with a_site(
            tmp_path, old, redis_url=nodes.url(), redis_key_prefix=PREFIX, redis_wait_replicas=1
        ) as site:
            people = await site.crowd(12)
            before = site.look().line
            old.kill()
            await eventually(lambda: answered(site), RECOVERY, "an answer")
            new = await asyncio.to_thread(nodes.owner, SLOT)
            assert new is not old
            with new.client as store:
                site.store = store
                assert site.look().line == before
                assert all(len(person.openings) == 1 for person in people[2:])
                await everything(site, people)
            # No lineup is answered without a replica; the dead node comes back as one.
            somebody = site.person("somebody")
            assert (await somebody.lineup()).code == "QUEUE_UNAVAILABLE"
            old.start()


async def answered(site: Site) -> bool:
    answers = [await site.people[5].status(base=base) for base in site.bases()]
    return all(answer.status == 200 for answer in answers)


@pytest.fixture(scope="module")
def nodes() -> object:
    with cluster() as servers:
        yield servers


@pytest.mark.parametrize(
    ("prefix", "by_one", "said"),
    [
        ("", True, "a prefix with a hash tag, such as {gw}:"),
        ("gw:", True, "a prefix with a hash tag, such as {gw}:"),
        ("{}:", False, "a prefix without {}, or with a hash tag, such as {gw}:"),
    ],
)
async def test_a_prefix_that_scatters_a_room_stops_the_start_with_one_clear_line(
    tmp_path: Path, nodes: Cluster, prefix: str, by_one: bool, said: str
) -> None:
    url = f"redis://127.0.0.1:{nodes.servers[0].port}" if by_one else nodes.url()
    environ = {"REDIS_URL": url, "REDIS_KEY_PREFIX": prefix}
    async with gateway_process(environ, tmp_path, wait=False) as gateway:
        assert await gateway.ended(PATIENCE) == 2
    (line,) = [line for line in gateway.lines if "REDIS_KEY_PREFIX" in line]
    assert f"REDIS_KEY_PREFIX={prefix!r}: allowed is {said}" in line
    assert not [line for line in gateway.lines if "Traceback" in line]
