"""Redis stopped, killed, flushed and cut off, under two gateways with open streams."""

from __future__ import annotations

import asyncio
import time

from tests.faults.site import GRACE, INTERVAL, Site, StartSite, memory
from tests.support.waiting import eventually


async def assert_everything(site: Site, people: list) -> None:
    await site.assert_truth(people)
    await site.assert_gate(people)
    await site.assert_moves_on(people, 5)
    await site.assert_truth(people)


async def test_a_redis_that_hangs_for_three_seconds_costs_no_user_the_place(
    start_site: StartSite,
) -> None:
    async with start_site() as site:
        people = await site.crowd(20)
        before, used = site.look(), [memory(each) for each in site.gateways]
        assert site.redis is not None
        site.redis.freeze()
        began = time.monotonic()
        insider, newcomer = people[0], site.person("newcomer")
        try:
            while time.monotonic() - began < 3.0:
                for base in site.bases():
                    asked = time.monotonic()
                    refused, open_call = await asyncio.gather(
                        insider.gated(base=base), insider.call("GET", "/api/v1/products/1", base=base)
                    )
                    assert (refused.status, refused.code) == (503, "QUEUE_UNAVAILABLE")
                    assert int(refused.headers["Retry-After"]) >= 1
                    assert open_call.status == 200
                    assert time.monotonic() - asked < 2.0
            heartbeats = [
                sum(event.name == "HEARTBEAT" for at, event in person.heard if at > began)
                for person in people[2:]
            ]
            assert min(heartbeats) >= 1
        finally:
            site.redis.thaw()
        # Nothing of what was refused is done after all, but for calls whose answer said "unknown".
        assert (await newcomer.in_the_end()).json["state"] == "WAITING"
        newcomer.watch()
        assert all(len(person.openings) == 1 for person in people[2:])
        after = await site.room_is(lambda seen: len(seen.line) == 19, 3.0, "everybody in line")
        assert {name: after.line[name] for name in before.line} == before.line
        await assert_everything(site, [*people, newcomer])
        for each, megabytes in zip(site.gateways, used, strict=True):
            assert memory(each) < megabytes + 20


async def test_a_killed_redis_comes_back_with_every_user_in_it(start_site: StartSite) -> None:
    async with start_site() as site:
        people = await site.crowd(20)
        before = site.look()
        assert site.redis is not None
        site.redis.kill()
        for base in site.bases():
            assert (await people[0].gated(base=base)).code == "QUEUE_UNAVAILABLE"
            assert (await people[0].call("GET", "/api/v1/products/1", base=base)).status == 200
            assert (await people[5].status(base=base)).code == "QUEUE_UNAVAILABLE"
        site.redis.start()
        assert site.look().line == before.line
        await site.assert_truth(people, within=INTERVAL + GRACE)
        assert all(len(person.openings) == 1 for person in people[2:])
        await assert_everything(site, people)


async def test_after_a_flush_of_redis_clients_hear_the_truth_and_may_line_up_again(
    start_site: StartSite,
) -> None:
    async with start_site(capacity=2) as site:
        people = await site.crowd(20)
        site.store.flushall()
        # Nobody can get back what nobody holds any more: all streams say so within one interval, and end.
        lasts = await asyncio.gather(*(person.told(INTERVAL + GRACE) for person in people[2:]))
        assert {(last.name, last.data["code"]) for last in lasts} == {("ERROR", "NOT_IN_QUEUE")}
        for base in site.bases():
            assert (await people[0].gated(base=base)).status == 403
        again = await site.crowd(20)
        assert [person.inside for person in again] == [True, True] + [False] * 18
        await assert_everything(site, again)


async def test_promotions_go_on_while_the_line_of_events_is_cut_again_and_again(
    start_site: StartSite,
) -> None:
    async with start_site(capacity=2) as site:
        people = await site.crowd(24)
        order, late = [], []
        inside = people[:2]
        for person in people[2:20]:
            cut = site.store.client_kill_filter(_type="pubsub")
            asked = time.monotonic()
            assert (await inside.pop(0).leave()).status == 200
            await person.told(INTERVAL + GRACE)
            late.append(time.monotonic() - asked)
            order.append(person.last and person.last.name)
            inside.append(person)
            assert cut is not None
        assert order == ["ALLOWED_IN"] * 18
        assert max(late) < INTERVAL + GRACE
        assert all(len(person.openings) == 1 for person in people[2:])
        # Each cut makes both gateways tell their users again under a new name; the old names are cleared up.
        await site.assert_truth(people[18:])
        await site.assert_gate(people[18:])
        await site.assert_moves_on(people[18:])


async def test_what_happened_while_the_line_of_events_was_cut_is_told_as_soon_as_it_is_back(
    start_site: StartSite,
) -> None:
    # No regular update comes to the rescue.
    async with start_site(queue_status_interval_seconds=60) as site:
        people = await site.crowd(8)
        inside = people[:2]
        for person in people[2:]:
            site.store.client_kill_filter(_type="pubsub")
            assert (await inside.pop(0).leave()).status == 200
            assert (await person.told(GRACE)).name == "ALLOWED_IN"
            inside.append(person)
        site.assert_room()


async def test_gateways_that_start_without_redis_serve_and_find_it(start_site: StartSite) -> None:
    async with start_site(gateways=0) as site:
        assert site.redis is not None
        site.redis.kill()
        await asyncio.gather(site.add_gateway(), site.add_gateway())
        somebody = site.person("somebody")
        assert (await somebody.call("GET", "/api/v1/products/1")).status == 200
        assert (await somebody.lineup()).code == "QUEUE_UNAVAILABLE"
        early = site.person("early")
        early.watch()
        await early.until(lambda: early.openings, 3.0, "a stream")
        site.redis.start()
        last = await early.told(INTERVAL + GRACE)
        assert last.data["code"] == "NOT_IN_QUEUE"

        async def listens() -> bool:
            return all(
                [
                    (await somebody.call("GET", "/actuator/health/redis", base=base)).json["status"] == "UP"
                    for base in site.bases()
                ]
            )

        await eventually(listens, 4.0, "both hear of Redis again")
        people = await site.crowd(6)
        await assert_everything(site, people[:3] + people[3:])
