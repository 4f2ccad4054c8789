"""Gateways told not to follow, beside an older system that goes on writing the three keys, until it stops for good."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time

import pytest

from tests.faults.people import Person
from tests.faults.site import GRACE, INTERVAL, Site, StartSite
from tests.support.older_system import OlderSystem
from tests.support.waiting import eventually
from tests.waiting_room.rules import Seen, assert_rules

CAPACITY = 6
DURATION = 120.0
BOTH_SECONDS = 6.0
"""How long both systems run side by side."""
SCAN_SECONDS = 1.0
"""One scan of a hash of fewer than 500 entries."""

pytestmark = pytest.mark.timeout(150)


def sound(seen: Seen) -> bool:
    """Rules 1 to 5, as far as one look can tell."""
    try:
        assert_rules(
            # Of users whom the older system took out, what was noted stays until its time has come.
            seen._replace(
                activity={user: last for user, last in seen.activity.items() if user in seen.inside},
                since={user: at for user, at in seen.since.items() if user in seen.inside},
                absent={user: last for user, last in seen.absent.items() if user in seen.line},
            )
        )
    except AssertionError:
        return False
    return len(seen.inside) == CAPACITY and not seen.idle


async def newcomers_come_and_go(site: Site, over: asyncio.Event, gone: set[str]) -> list[Person]:
    """People who know the new system only: they line up, watch, buy, and leave."""
    chance = random.Random(7)
    people: list[Person] = []
    for number in itertools.count():
        if over.is_set():
            return people
        person = site.person(f"new-{number:03d}")
        assert (await person.lineup()).status == 200
        people.append(person)
        if not person.inside and number % 4 == 0:
            person.watch()
        for insider in [one for one in people if one.inside and one.name not in gone]:
            answer = await insider.gated()
            # The older system's sweep and deletion are not ours to answer for; here it does neither to them.
            assert answer.status == 200, answer.body
            if chance.random() < 0.3:
                gone.add(insider.name)
                assert (await insider.leave()).status == 200
        await asyncio.sleep(0.05)
    raise AssertionError


async def test_both_systems_run_side_by_side_and_after_the_older_ones_last_write_all_rules_hold(
    start_site: StartSite,
) -> None:
    async with start_site(gateways=0, capacity=CAPACITY, duration=DURATION, queue_follow="off") as site:
        older = OlderSystem(site.store, site.room, CAPACITY, DURATION)
        # Its evening so far: some in, a line, and two whose session is long over.
        for number in range(40):
            older.lineup(f"old-{number:03d}")
        stale = [f"old-{number:03d}" for number in range(2)]
        site.store.hset(site.room.inside, mapping=dict.fromkeys(stale, int(time.time() - 2 * DURATION)))
        before = site.look()
        assert len(before.line) == 40 - CAPACITY

        # Step one: gateways start beside it. Places stay, but the two slots are freed and given to the head.
        await asyncio.gather(site.add_gateway(), site.add_gateway())
        now = await site.room_is(lambda seen: not set(stale) & seen.inside.keys(), 10.0, "slots of the stale")
        order = list(before.line)
        assert list(now.line) == order[2:]
        assert set(order[:2]) <= now.inside.keys()
        watching = [site.person(name) for name in order[10:22]]
        for person in watching:
            answer = await person.status()
            assert answer.json["data"]["ticket"] == before.line[person.name]
            person.watch()
        await asyncio.gather(*(person.updated(10.0) for person in watching))

        # Step two: both at once, for a while; the older one's calls come from two threads.
        stop, over, gone = threading.Event(), asyncio.Event(), set(stale)
        arrivals = asyncio.create_task(newcomers_come_and_go(site, over, gone))
        olders = [older, OlderSystem(site.store, site.room, CAPACITY, DURATION, older.entered, older.removed)]
        others = [f"new-{number:03d}" for number in range(0, 200, 2)]
        writing = [
            asyncio.create_task(asyncio.to_thread(one.go_on, stop, seed, BOTH_SECONDS * 5, others))
            for seed, one in enumerate(olders)
        ]
        limit = time.monotonic() + BOTH_SECONDS
        while time.monotonic() < limit:
            assert len(site.look().inside) <= CAPACITY
            await asyncio.sleep(0.1)
        over.set()
        newcomers = await arrivals
        stop.set()
        await asyncio.gather(*writing)
        assert all(one.calls > 20 for one in olders), "the older system hardly had a word"
        assert len(newcomers) > 10

        # Its last write leaves a slot that nobody gives on.
        assert site.look().line
        older.delete(next(iter(site.look().inside)))

        # Step three: the older one has stopped. Within one scan all rules hold, and nobody is lost.
        seen = await site.room_is(sound, SCAN_SECONDS + GRACE, "all rules")
        entered = older.entered | {person.name for person in newcomers}
        there = seen.line.keys() | seen.inside.keys()
        assert there <= entered
        assert entered - older.removed - gone <= there
        tickets = list(seen.line.values())
        assert tickets == sorted(set(tickets))
        assert int(seen.counter or 0) >= max(tickets)

        # Whoever has a stream knows what became of them, and the line moves on in its order.
        for person in [*watching, *(one for one in newcomers if one.openings)]:
            if person.last is None and person.name in seen.line:
                await person.says({"ticket": seen.line[person.name]}, INTERVAL + GRACE)
            elif (await person.told(INTERVAL + GRACE)).name != "ALLOWED_IN":
                assert person.name in older.removed
        for _ in range(3):
            before = site.look()
            head, somebody = next(iter(before.line)), site.person(next(iter(before.inside)))
            assert (await somebody.leave()).status == 200
            after = site.look()
            assert list(after.line) == list(before.line)[1:]
            assert after.inside.keys() == before.inside.keys() - {somebody.name} | {head}
        await eventually(lambda: sound(site.look()), GRACE, "all rules still")
