"""A master that dies or hangs under two gateways, with real sentinels who put a replica in its place."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.faults.people import Person
from tests.faults.site import GRACE, INTERVAL, Site, a_site
from tests.support.redis_fleet import PATIENCE, Watched, until, watched
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

RECOVERY = 30.0
"""Seconds from the master's death to the first answer; sentinels take about four of them, left alone."""


@asynccontextmanager
async def a_watched_site(folder: Path, servers: Watched, **settings: object) -> AsyncIterator[Site]:
    url = servers.url()
    async with a_site(folder, servers.servers[0], redis_url=url, redis_wait_replicas=1, **settings) as site:
        yield site


class Storm:
    """People who line up one after the other, several at a time, until told to stop."""

    def __init__(self, site: Site) -> None:
        self.tickets: list[list[tuple[Person, int]]] = []
        """Who was given which ticket, in the order of the answers, for each queue at the door."""
        self.unsure: list[Person] = []
        self.over = asyncio.Event()
        self._site = site
        self._numbers = itertools.count()

    @property
    def answered(self) -> dict[str, int]:
        return {person.name: ticket for given in self.tickets for person, ticket in given}

    async def blow(self) -> None:
        given: list[tuple[Person, int]] = []
        self.tickets.append(given)
        while not self.over.is_set():
            person = self._site.person(f"storm-{next(self._numbers):04d}")
            try:
                answer = await person.lineup()
            except (aiohttp.ClientError, TimeoutError):
                self.unsure.append(person)
                continue
            if answer.status == 200:
                assert person.ticket is not None
                given.append((person, person.ticket))
            else:
                assert answer.code == "QUEUE_UNAVAILABLE"
                self.unsure.append(person)
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_a_new_master_has_every_user_whose_lineup_was_answered(tmp_path: Path, how: str) -> None:
    with watched(2) as servers:
        async with a_watched_site(tmp_path, servers, capacity=2) as site:
            early = await site.crowd(12, "early")
            storm = Storm(site)
            old = servers.servers[0]
            async with asyncio.TaskGroup() as group:
                for _ in range(6):
                    group.create_task(storm.blow())
                await eventually(lambda: len(storm.answered) >= 60, PATIENCE, "a storm")
                if how == "killed":
                    old.kill()
                else:
                    old.freeze()
                died = time.monotonic()
                before = set(storm.answered)
                # By itself, for gateways that nobody told, and for lineups too, which need a replica again.
                await eventually(lambda: len(storm.answered.keys() - before) >= 60, RECOVERY, "an answer")
                storm.over.set()
            assert time.monotonic() - died < RECOVERY
            new = await asyncio.to_thread(new_master, servers, old)
            with new.client as store:
                site.store = store
                seen = site.assert_room()
                assert {name: seen.line.get(name) for name in storm.answered} == storm.answered
                assert len(set(storm.answered.values())) == len(storm.answered)
                for given in storm.tickets:
                    order = [ticket for _, ticket in given]
                    assert order == sorted(order)
                for person in storm.unsure:
                    answer = await person.status()
                    assert answer.status == (200 if person.name in seen.line else 404)
                # The streams went through it all: never closed, true, and the first to hear.
                assert all(len(person.openings) == 1 for person in early[2:])
                await site.assert_truth(early)
                await site.assert_gate(early)
                await site.assert_moves_on(early, 3)
                await site.room_is(
                    lambda now: (
                        {person.name for person in early if not person.inside and person.ticket}
                        <= now.streams.keys()
                    ),
                    PATIENCE,
                    "presence told again",
                )
                # The old one comes back, as a replica, and nobody notices.
                if how == "killed":
                    old.start()
                else:
                    old.thaw()
                await asyncio.to_thread(until, lambda: old.role() == "slave", "the old master obeys")
                await site.assert_moves_on(early, 2)
                await site.assert_truth(early)


def new_master(servers: Watched, old: object) -> object:
    return until(
        lambda: next((one for one in servers.servers if one is not old and one.role() == "master"), None),
        "a new master",
    )


async def test_a_lineup_that_no_replica_has_is_not_answered_and_everything_else_goes_on(
    tmp_path: Path,
) -> None:
    with watched(1) as servers:
        async with a_watched_site(tmp_path, servers, capacity=2, redis_timeout_seconds=2) as site:
            people = await site.crowd(6)
            replica = servers.servers[1]
            replica.freeze()
            try:
                answers = await asyncio.gather(
                    *(site.person(f"late-{number}").lineup() for number in range(8))
                )
                assert {(answer.status, answer.code) for answer in answers} == {(503, "QUEUE_UNAVAILABLE")}
                assert int(answers[0].headers["Retry-After"]) >= 1
                # Neither is one that changes nothing, since it may rest on a change that no replica has.
                assert people[0].inside
                assert (await people[0].lineup()).code == "QUEUE_UNAVAILABLE"
                # "Unknown" means that it may have happened, and the status says so.
                assert (await site.person("late-0").status()).json["state"] == "WAITING"
                await site.assert_gate(people)
                await site.assert_moves_on(people, 1)
                await people[-1].updated(INTERVAL + GRACE)
            finally:
                replica.thaw()
            newcomer = site.person("newcomer")
            await eventually(lambda: lined_up(newcomer), PATIENCE, "a lineup")


async def lined_up(person: Person) -> bool:
    return (await person.lineup()).status == 200


async def test_gateways_start_before_the_sentinels_and_the_log_shows_no_password(tmp_path: Path) -> None:
    with watched(0, password="hunter2", sentinel_password="hunter3") as servers:
        url = servers.url(":hunter2@", "?sentinel_password=hunter3")
        for sentinel in servers.sentinels[:2]:
            sentinel.process.send_signal(signal.SIGSTOP)
        async with a_site(tmp_path, servers.servers[0], gateways=0, redis_url=url) as site:
            servers.servers[0].freeze()
            gateway = await site.add_gateway({"LOG_LEVEL": "DEBUG"})
            somebody = site.person("somebody")
            assert (await somebody.call("GET", "/api/v1/products/1")).status == 200
            assert (await somebody.lineup()).code == "QUEUE_UNAVAILABLE"
            servers.servers[0].thaw()
            for sentinel in servers.sentinels[:2]:
                sentinel.process.send_signal(signal.SIGCONT)
            await eventually(lambda: lined_up(somebody), PATIENCE, "a lineup")
            await eventually(
                lambda: any("Redis: the master is 127.0.0.1:" in line for line in gateway.lines),
                PATIENCE,
                "where the master is",
            )
            assert "hunter" not in "\n".join(gateway.lines)
