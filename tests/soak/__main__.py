"""``python -m tests.soak``: a crowd, three gateways, and one fault after the other, watched from outside.

The same seed brings the same crowd and the same faults in the same order. Exits with 0 only if no rule was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
from redis.exceptions import RedisError

from gateway.demo.client import Client
from gateway.demo.crowd import Sale, Visit
from gateway.demo.observations import VisitFinished
from gateway.demo.observer import describe
from gateway.demo.plan import Limits, Person, Plan, draw_crowd
from gateway.demo.rules import Rule
from gateway.demo.services import PASSWORD, Account
from tests.soak.bounds import Bounds
from tests.soak.caller import Caller
from tests.soak.claims import Claimants
from tests.soak.doors import Doors
from tests.soak.faults import FAULTS, Fault
from tests.soak.fleet import HOST, Site, a_site
from tests.soak.parking import Pair
from tests.soak.rate import Paced
from tests.soak.room import RoomWatch, look
from tests.soak.watch import Watch
from tests.soak.watched_rooms import BOUND_ROOM, CLAIM_ROOM, DOOR_ROOM, PARKING_ROOM, RATE_ROOM
from tests.support.redis_client import open_redis

CAPACITY = 12
LIMITS = Limits(capacity=CAPACITY, duration=10.0, absent=12.0, interval=1.0)
# What a visit inside takes on average, so that the crowd is about as large as the time allows.
_SHOPS = 2.5
_CALM_SECONDS = 8.0
"""Without faults at the end, so that whatever is to be found out is."""
_GROWTH_MB = 80.0
_LOOK_SECONDS = 0.1


def make_plan(seconds: float, seed: int) -> Plan:
    """As many people as the time allows for."""
    people = max(40, int(CAPACITY * seconds / _SHOPS))
    return Plan(people, seconds, seed, LIMITS, arrival=3.0, seats=people)


def make_crowd(plan: Plan) -> list[Person]:
    """Half of them at once, the others as time goes by."""
    rng = random.Random(plan.seed + 1)
    crowd = draw_crowd(plan)
    return [
        person if number % 2 else replace(person, arrives=rng.uniform(0.0, 0.75 * plan.seconds))
        for number, person in enumerate(crowd)
    ]


Watcher = Pair | Paced | Claimants | Doors | Bounds
"""Watches single rules in a room of its own."""


class Soak:
    """One run."""

    def __init__(self, plan: Plan, site: Site, people: Sequence[Person]) -> None:
        self._site = site
        self._plan = plan
        self._people = people
        self._began = time.monotonic()
        self.watch = Watch(plan.limits, {one.number: one.user_id for one in people})
        self.names = {one.number: one.name for one in people}
        self.faults: Counter[str] = Counter()
        self.unforeseen = 0
        self.watchers: list[Watcher] = []
        self.single_checks: Counter[str] = Counter()
        self._blind_until = self._began
        self.room = RoomWatch(
            plan.limits.capacity, lambda rule, what: self.watch.room(what, rule, time.monotonic())
        )
        self.memory = (site.fleet.memory(), 0.0)

    async def run(self) -> None:
        """Everybody comes, and everything goes wrong in turn."""
        sale = Sale(self._plan.seconds)
        self._began = sale.opened
        background = [
            asyncio.create_task(work)
            for work in (
                self._pulse(),
                self._look_at_room(),
                self._watch_single("parking", PARKING_ROOM, Pair),
                self._watch_single("rate", RATE_ROOM, Paced),
                self._watch_single("claims", CLAIM_ROOM, Claimants),
                self._watch_single("doors", DOOR_ROOM, Doors),
                self._watch_single("bounds", BOUND_ROOM, Bounds),
            )
        ]
        connector = aiohttp.TCPConnector(limit=0, resolver=self._site.fleet, use_dns_cache=False)
        try:
            async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
                # A DELETE repeated behind our back would be answered "there is nothing", and nobody lost anything.
                http._retry_connection = False
                for person in self._people:
                    group.create_task(self._visit(person, http, sale))
                group.create_task(self._hurt_in_turn())
        finally:
            for task in background:
                task.cancel()
            # Not for ever: what holds one of them up must not hide what ended the others.
            await asyncio.wait(background, timeout=5.0)
        self.watch.conclude(time.monotonic())
        self.memory = (self.memory[0], self._site.fleet.memory())

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What nobody foresaw is said at once, counts, and stops nobody else."""
        try:
            yield
        except Exception:
            self.unforeseen += 1
            self.say(f"{what} broke off\n{traceback.format_exc()}")

    async def _visit(self, person: Person, http: aiohttp.ClientSession, sale: Sale) -> None:
        client = Client(person.number, f"http://{HOST}:80", http, self.watch.see)
        with self._told(f"the visit of {person.name}"):
            outcome = await Visit(person, client, self._plan.limits, sale).run()
            self.watch.see(VisitFinished(person.number, time.monotonic(), outcome))

    async def _hurt_in_turn(self) -> None:
        with self._told("the series of faults"):
            await self._hurt()

    async def _hurt(self) -> None:
        rng = random.Random(self._plan.seed)
        await asyncio.sleep(2.0)
        left: list[Fault] = []
        while time.monotonic() - self._began < self._plan.seconds - _CALM_SECONDS:
            left = left or _bag(rng)
            fault = left.pop()
            began = time.monotonic()
            if fault.forgets:
                self._tell_watchers_of_emptying()
                self.room.emptied = True
                self.watch.forgetting(began)
            self.watch.fault_begins(began, blinds=fault.blinds)
            if fault.blinds:
                self._blind_until = math.inf
            said = await fault.do(self._site, rng)
            ended = time.monotonic()
            if fault.blinds:
                self._blind_until = ended
            if fault.forgets:
                self._tell_watchers_of_emptying()
                self.watch.forgotten()
                self.room.renew()
            self.watch.fault_over(began, ended, blinds=fault.blinds)
            self.faults[fault.name] += 1
            self.say(said)
            await asyncio.sleep(rng.uniform(1.0, 4.0))

    async def _pulse(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            now = time.monotonic()
            if (late := now - before - 0.05) > 0.1:
                self.watch.stalled(now, late)

    def _tell_watchers_of_emptying(self) -> None:
        for watcher in self.watchers:
            watcher.emptied()

    async def _watch_single(self, what: str, room: str, kind: type[Watcher]) -> None:
        """Watches one rule in a room of its own."""
        with self._told(f"the watch of {what}"):
            connector = aiohttp.TCPConnector(resolver=self._site.fleet, use_dns_cache=False, force_close=True)
            async with aiohttp.ClientSession(connector=connector) as http:
                signer = self._site.accounts.signer
                caller = Caller(http, lambda user: signer.token(user, "GUEST"), room)
                watcher = kind(caller, partial(self._check_single, what), self._quiet)
                self.watchers.append(watcher)
                await watcher.run()

    def _check_single(self, of: str, rule: Rule, holds: bool, what: str) -> None:
        self.watch.checks[rule] += 1
        self.single_checks[of] += 1
        if not holds:
            self.watch.room(what, rule, time.monotonic())

    def _quiet(self) -> float:
        return time.monotonic() - self._blind_until

    async def _look_at_room(self) -> None:
        async with open_redis(self._site.redis.url) as client:
            while True:
                with contextlib.suppress(RedisError, OSError):
                    self.room.see(await look(client))
                await asyncio.sleep(_LOOK_SECONDS)

    def summary(self) -> bool:
        """Prints what happened; whether all is well."""
        watch, site = self.watch, self._site
        print(f"\n{len(self._people)} people, {self.faults.total()} faults: {_listed(self.faults)}")
        print(f"outcomes: {_listed(watch.outcomes)}")
        print(f"answers: {_listed(watch.statuses)}")
        looks = f"{self.room.looks} looks into Redis, {_listed(self.single_checks)}"
        checks = f"{watch.checks.total()} from outside, {looks}"
        print(f"checks: {checks}; explained by faults: {_listed(watch.excused) or 'none'}")
        before, after = self.memory
        print(f"memory of the largest gateway: {before:.0f} MB at first, {after:.0f} MB at last")
        complaints = site.fleet.complaints()
        for line in complaints[:20]:
            print(f"  log: {line}")
        for broken in watch.broken[:40]:
            print(
                f"  BROKEN at {broken.at - self._began:.1f} s: {describe(broken, self.names)} ({broken.person})"
            )
        untested = [rule for rule in Rule if not watch.checks[rule]]
        if untested:
            print(f"never put to the test: {', '.join(untested)}")
        troubles = f"{len(complaints)} complaints in logs, {self.unforeseen} things unforeseen"
        print(f"\n{len(watch.broken)} rules broken, {troubles}")
        return not (watch.broken or complaints or self.unforeseen) and after - before < _GROWTH_MB


def _bag(rng: random.Random) -> list[Fault]:
    """Every fault as often as it weighs, in any order: so a minute has most of them."""
    bag = [fault for fault in FAULTS for _ in range(int(fault.weight + rng.random()))]
    rng.shuffle(bag)
    return bag


def _listed(counts: Counter[str]) -> str:  # type: ignore[type-arg]
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


async def _run(seconds: float, seed: int) -> bool:
    plan = make_plan(seconds, seed)
    people = make_crowd(plan)
    with tempfile.TemporaryDirectory(prefix="gw-soak-") as folder:
        async with a_site(plan, Path(folder), random.Random(seed + 2)) as site:
            for one in people:
                site.accounts.add(Account(one.email, PASSWORD, one.user_id, "CUSTOMER"))
            soak = Soak(plan, site, people)
            await soak.run()
            return soak.summary()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long people come (60)")
    parser.add_argument("--seed", type=int, default=None, help="the same crowd and faults again (any)")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10_000) if given.seed is None else given.seed
    print(f"seed {seed}, {given.seconds:g} s", flush=True)
    # The services are made to fail, and say so at length.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    return 0 if asyncio.run(_run(given.seconds, seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
