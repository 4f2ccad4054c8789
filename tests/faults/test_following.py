"""From an older gateway to the new ones and back, while people wait: nobody is promoted without being told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.faults.people import Person
from tests.faults.site import GRACE, INTERVAL, Site, StartSite
from tests.support.gateway import Caller
from tests.support.gateway_process import GatewayProcess
from tests.support.older_gateway import INSIDE, LINE, OlderGateway, older_gateway
from tests.support.waiting import eventually

CAPACITY = 3
DURATION = 2.0
SWEEP_EVERY = 5.0
NOTIFY_EVERY = 0.7
"""No part of a second, in which the gateways look."""
FOLLOW = 6.0
SLACK = 4.0
CALL = "/api/v1/queue"

pytestmark = pytest.mark.timeout(150)


class Street:
    """The load balancer: whom it sends where. Streams stay where they are until they break."""

    def __init__(self, site: Site, *bases: str) -> None:
        self.site = site
        self.bases: Sequence[str] = bases
        self.people: list[Person] = []

    def person(self, name: str) -> Person:
        person = Person(name, self.site.issuer.token(name), self.site.session, lambda: self.bases)
        self.site.people.append(person)
        self.people.append(person)
        return person

    async def queue(self, count: int, prefix: str) -> list[Person]:
        """So many people lined up and watching, in the order of their names."""
        people = [self.person(f"{prefix}-{number:02d}") for number in range(count)]
        for person in people:
            answer = await person.call("POST", f"{CALL}/lineup")
            assert answer.status == 200, answer.body
            person.watch()
        await asyncio.gather(*(person.until(lambda p=person: p.heard, 10.0) for person in people))
        return people


@asynccontextmanager
async def older_system(site: Site, sweep_every: float = SWEEP_EVERY) -> AsyncIterator[OlderGateway]:
    assert site.redis is not None
    async with older_gateway(
        site.redis.url,
        capacity=CAPACITY,
        duration=DURATION,
        sweep_every=sweep_every,
        notify_every=NOTIFY_EVERY,
    ) as older:
        yield older


async def room_of(site: Site, gateway: GatewayProcess) -> dict[str, Any]:
    async def asked() -> Any:
        answer = await Caller(site.session, gateway.base, None)("GET", "/actuator/rooms/default")
        # On a busy machine Redis may be late.
        return answer.json["data"] if answer.status == 200 else None

    return dict(await eventually(asked, 10.0, "the room"))


async def follows(site: Site, gateway: GatewayProcess) -> bool:
    return "following" in await room_of(site, gateway)


async def metric_of(site: Site, gateway: GatewayProcess) -> str:
    answer = await Caller(site.session, gateway.base, None)("GET", "/actuator/prometheus")
    lines = answer.body.decode().splitlines()
    return next(line for line in lines if line.startswith("gateway_room_following{")).split()[-1]


async def health_of(site: Site, gateway: GatewayProcess) -> Any:
    answer = await Caller(site.session, gateway.base, None)("GET", "/actuator/health")
    return answer.json["components"]["olderSystem"]["details"]


async def shown_of(gateway: GatewayProcess) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "room", "show", "--url", gateway.base, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


class Witness:
    """Looks at line and hash all the time: who went from one into the other, and in which order."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.admitted: list[str] = []
        self.most = 0
        self._line: list[str] = []

    async def look(self) -> None:
        while True:
            line, inside = self._site.store.zrange(LINE, 0, -1), self._site.store.hgetall(INSIDE)
            self.most = max(self.most, len(inside))
            gone = [user for user in self._line if user not in line]
            self.admitted += [user for user in gone if user in inside]
            self._line = line
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def sweep_often(older: OlderGateway) -> None:
    while True:
        await older.sweep()
        await asyncio.sleep(DURATION / 4)


async def all_are_told(people: Sequence[Person], seconds: float) -> None:
    """Everybody is told of their turn, in the order of the line; those who come together may hear it together."""
    await asyncio.gather(*(person.told(seconds) for person in people))
    assert [person.last and person.last.name for person in people] == ["ALLOWED_IN"] * len(people)


async def test_from_an_older_gateway_to_the_new_ones_no_user_is_lost(start_site: StartSite) -> None:
    options = {"queue_follow_seconds": FOLLOW, "queue_absent_seconds": 1.0}
    async with start_site(gateways=0, capacity=CAPACITY, duration=DURATION, **options) as site:
        witness = Witness(site)
        async with older_system(site) as older, witness.at_work():
            street = Street(site, older.base)
            people = await street.queue(CAPACITY + 14, "old")
            line = people[CAPACITY:]

            # Step one: two new gateways, without traffic, while sessions end and nobody but the older one can tell.
            gateways = await asyncio.gather(site.add_gateway(), site.add_gateway())
            await eventually(lambda: follows(site, gateways[0]), 5.0, "following")
            swept = older.sweeps
            await eventually(lambda: older.sweeps >= swept + 2, 3 * SWEEP_EVERY, "two of its sweeps")
            # The witness looks a few times a second.
            await eventually(
                lambda: (
                    older.promoted
                    == witness.admitted
                    == [person.name for person in line[: len(older.promoted)]]
                ),
                5.0,
                "those whom the older one admits, in order, and no other",
            )
            assert len(older.promoted) >= CAPACITY
            await all_are_told(line[: len(older.promoted)], GRACE)
            assert {"following": True, "sign": "NOTIFICATIONS"}.items() <= (
                await health_of(site, gateways[0])
            ).items()
            room = await room_of(site, gateways[1])
            assert room["waitingWithoutStreamHere"] == room["waiting"] == len(line) - len(older.promoted)
            assert "following an older system since 20" in await shown_of(gateways[0])
            assert await metric_of(site, gateways[0]) == "1.0"

            # Step two: newcomers come to the new ones. They stand behind, and are not absent though out of sight.
            street.bases = [gateway.base for gateway in gateways]
            late = await street.queue(3, "late")
            assert site.store.zrange(LINE, -3, -1) == [person.name for person in late]

            # Step three: the older one is killed. Streams come to the new gateways before anybody is admitted there.
            done = len(older.promoted)
            await older.kill()
            killed = asyncio.get_running_loop().time()
            waiting = [person for person in (*line[done:], *late) if person.last is None]
            assert site.store.zrange(LINE, 0, -1) == [person.name for person in waiting]
            await asyncio.gather(
                *(person.until(lambda p=person: len(p.openings) > 1, 5.0, "again") for person in line[done:])
            )
            await eventually(
                lambda: site.store.hlen(site.room.streams) >= len(waiting), 5.0, "streams at the new gateways"
            )
            assert (await room_of(site, gateways[0]))["waitingWithoutStreamHere"] == 0
            assert site.store.zrange(LINE, 0, -1) == [person.name for person in waiting]

            # Step four: it counts as gone, for all at once; sessions end to the second, and all are told in order.
            async def gone() -> bool:
                return not any([await follows(site, gateway) for gateway in gateways])

            await eventually(gone, FOLLOW + SLACK, "the end of following")
            assert asyncio.get_running_loop().time() - killed > FOLLOW - 2.0
            await all_are_told(waiting, 30.0)
            await eventually(lambda: len(witness.admitted) == len(line) + len(late), GRACE, "all seen")
            assert witness.admitted == [person.name for person in (*line, *late)]
            assert witness.most <= CAPACITY
            assert await metric_of(site, gateways[0]) == "0.0"
            assert await health_of(site, gateways[0]) == {"following": False}
            assert "following" not in await shown_of(gateways[0])
        for gateway in gateways:
            log = "\n".join(gateway.lines)
            assert log.count("following an older system, because") == 1
            assert log.count("no sign of the older system any more") == 1


async def test_back_to_the_older_gateway_no_user_is_lost_either(start_site: StartSite) -> None:
    async with start_site(
        gateways=2, capacity=CAPACITY, duration=DURATION, queue_follow_seconds=FOLLOW
    ) as site:
        witness = Witness(site)
        street = Street(site, *site.bases())
        async with witness.at_work():
            people = (await street.queue(CAPACITY + 20, "new"))[CAPACITY:]
            async with older_system(site) as older:
                # Step one: it runs, without traffic, and the new ones follow it within two of its rounds.
                await eventually(lambda: follows(site, site.gateways[0]), 5.0, "following")

                # Step two: new connections go there; then the gateways stop, orderly, and streams move.
                street.bases = [older.base]
                for gateway in site.gateways:
                    gateway.process.terminate()
                await asyncio.gather(*(gateway.ended(10.0) for gateway in site.gateways))
                waiting = [person for person in people if person.last is None]
                assert len(waiting) > 4
                for person in waiting:
                    await person.until(lambda p=person: len(p.openings) > 1, 5.0, "a stream at the older one")
                # It is alone now, so that it may sweep as soon as sessions are over.
                often = asyncio.create_task(sweep_often(older))
                try:
                    await all_are_told(waiting, 10 * SWEEP_EVERY)
                finally:
                    often.cancel()
                await eventually(lambda: len(witness.admitted) == len(people), GRACE, "all seen")
                assert witness.admitted == [person.name for person in people]
                assert witness.most <= CAPACITY


async def test_a_user_whom_the_older_gateway_promotes_hears_of_it_at_the_new_one_within_a_status_interval(
    start_site: StartSite,
) -> None:
    async with (
        start_site(gateways=0, capacity=CAPACITY, duration=DURATION, queue_follow_seconds=60) as site,
        older_system(site, sweep_every=600.0) as older,
    ):
        street = Street(site, older.base)
        inside = [street.person(f"in-{number}") for number in range(CAPACITY)]
        for person in inside:
            await person.call("POST", f"{CALL}/lineup")
        gateway = await site.add_gateway()
        await eventually(lambda: follows(site, gateway), 5.0, "following")
        street.bases = [gateway.base]
        here = await street.queue(2, "here")
        street.bases = [older.base]
        there = await street.queue(1, "there")
        street.bases = [gateway.base]
        last = (await street.queue(1, "last"))[0]

        # It gives a slot to the head of the line, whose stream it knows nothing of.
        await inside[0].call("DELETE", f"{CALL}/allowed-in-token", base=older.base)
        assert older.promoted == [here[0].name]
        assert (await here[0].told(INTERVAL + GRACE)).name == "ALLOWED_IN"

        # A slot given up here goes to the next at once if a stream here can tell; else it waits for its sweep.
        assert (await inside[1].leave()).status == 200
        assert (await here[1].told(GRACE)).name == "ALLOWED_IN"
        assert (await inside[2].leave()).status == 200
        assert (await inside[2].gated()).status == 403
        assert site.store.zrange(LINE, 0, -1) == [there[0].name, last.name]
        newcomer = street.person("newcomer")
        await newcomer.call("POST", f"{CALL}/lineup", base=older.base)
        assert site.store.zrank(LINE, "newcomer") == 2
        await older.sweep()
        assert older.promoted[-1] == there[0].name
        assert (await there[0].told(GRACE)).name == "ALLOWED_IN"
        assert last.last is None
        assert site.store.hlen(INSIDE) == CAPACITY


async def test_a_room_without_an_older_system_is_not_followed(start_site: StartSite) -> None:
    async with start_site(gateways=1, capacity=1, duration=60.0) as site:
        people = await site.crowd(3)
        assert not await follows(site, site.gateways[0])
        await site.assert_moves_on(people)
        # A new one after a time without any: nobody here is unknown.
        site.gateways[0].process.kill()
        await site.gateways[0].ended()
        more = await asyncio.gather(site.add_gateway(), site.add_gateway())
        assert not any([await follows(site, gateway) for gateway in more])
