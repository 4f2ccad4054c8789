"""The plan of a run: its limits and times, and who comes and what each visitor does.

People, capacity and seconds determine everything else. The sale should be nearly over when the time is, so the number
of people per slot decides how long each of them shops. Short runs get short sessions, so that they too show an expiry
and an eviction. The crowd is drawn from a seed: the same seed brings the same crowd.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from enum import StrEnum


def _between(low: float, value: float, high: float) -> float:
    return max(low, min(value, high))


@dataclass(frozen=True, slots=True)
class Limits:
    """The waiting room's settings of a run; all durations in seconds."""

    capacity: int
    duration: float
    absent: float
    interval: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. ``arrival`` is how many seconds the crowd takes to arrive, ``seats`` how many there are to sell.

    ``seconds`` is counted from the opening of the sale. At its end the people who still wait are sent home.
    """

    people: int
    seconds: float
    seed: int
    limits: Limits
    arrival: float
    seats: int

    @property
    def slot_seconds(self) -> float:
        """Seconds of slots in all. People who find everything sold out stay shorter: that is the reserve."""
        return self.limits.capacity * max(0.0, self.seconds - self.arrival)


def plan_run(people: int, capacity: int, seconds: float, seed: int) -> Plan:
    """Choose the settings for a run with a crowd."""
    limits = Limits(
        capacity=capacity,
        duration=round(_between(2.0, seconds / 7.5, 6.0), 1),
        absent=round(_between(2.0, seconds / 9.0, 5.0), 1),
        interval=round(_between(1.0, seconds / 20.0, 2.0), 1),
    )
    arrival = round(_between(0.5, seconds / 15.0, 3.0), 1)
    # Fewer seats than people, so that the last people find everything sold out.
    return Plan(people, seconds, seed, limits, arrival, seats=max(1, round(people * 0.7)))


def plan_by_hand(capacity: int, seed: int) -> Plan:
    """Choose the settings for a user with curl: time enough to type."""
    limits = Limits(capacity=capacity, duration=120.0, absent=60.0, interval=5.0)
    return Plan(0, 0.0, seed, limits, arrival=0.0, seats=100)


class Behaviour(StrEnum):
    """What is special about a visit. Every person who is let in shops, unless the behaviour says otherwise."""

    BUYS = "waits, shops and leaves"
    BLIPS = "loses the connection in line and comes back"
    GIVES_UP = "gives up in line"
    CLOSES_TAB = "closes the tab in line without a word"
    REFRESHES = "lines up again, and so moves to the back"
    POLLS = "asks for the status instead of opening a stream"
    CRASHES = "tries the gate before, in and after the line"
    WALKS_OFF = "walks off while in, without leaving"


# Shares of the people who have to wait; at least one person of each where there are enough people.
SHARES_IN_LINE = {
    Behaviour.BLIPS: 0.16,
    Behaviour.GIVES_UP: 0.08,
    Behaviour.CLOSES_TAB: 0.06,
    Behaviour.REFRESHES: 0.03,
    Behaviour.POLLS: 0.05,
    Behaviour.CRASHES: 0.05,
}
WALK_OFF_SHARE = 0.05
MIN_SHOP_SECONDS, MAX_SHOP_SECONDS = 0.3, 6.0
# The longest time between two gated calls, as a share of the shopping: see ``visit``. It must fit into a session,
# with a second to spare.
LONGEST_PAUSE = 0.6


@dataclass(frozen=True, slots=True)
class Person:
    """One visitor. Times in seconds: ``arrives`` after the sale opens, ``moment`` after joining the line.

    ``shops`` is how long the visit inside takes, ``away`` how long a lost connection stays lost.
    """

    number: int
    name: str
    behaviour: Behaviour
    arrives: float
    moment: float
    away: float
    shops: float
    luck: int

    @property
    def email(self) -> str:
        """The address the account is known by."""
        return f"person{self.number}@demo.example"

    @property
    def user_id(self) -> str:
        """The person's ID at the auth service: the tokens' ``sub``."""
        return f"person-{self.number}"


_NAMES = """
Minseo Jiwoo Haru Seoyeon Dohyun Yuna Jisoo Eunwoo Sora Taeyang Hana Junho Ara Minho Bora Jiho Nari Sejin
Ada Ben Chloé Dilan Elif Femi Grace Hugo Inés Jonas Kaja Luca Maya Noah Olga Priya Quentin Rosa Sami Tess
Uma Viktor Wanda Ximena Yusuf Zoe
"""
NAMES = tuple(_NAMES.split())


def _behaviours(plan: Plan, rng: random.Random) -> list[Behaviour]:
    """One behaviour for each rank of arrival. Only people who find the room full can do something in line."""
    waiting = max(0, plan.people - plan.limits.capacity)
    special = [kind for kind, share in SHARES_IN_LINE.items() for _ in range(math.ceil(share * waiting))][
        :waiting
    ]
    in_line = special + [Behaviour.BUYS] * (waiting - len(special))
    rng.shuffle(in_line)
    behaviours = [Behaviour.BUYS] * (plan.people - waiting) + in_line
    buying = [rank for rank, kind in enumerate(behaviours) if kind is Behaviour.BUYS]
    for rank in rng.sample(buying, min(len(buying), math.ceil(WALK_OFF_SHARE * plan.people))):
        behaviours[rank] = Behaviour.WALKS_OFF
    return behaviours


def _fit_shopping(plan: Plan, people: list[Person]) -> list[Person]:
    """Scale all shopping times by one factor, so that the crowd needs the slot time that there is."""
    inside = [person for person in people if person.behaviour is not Behaviour.GIVES_UP]
    idle = plan.limits.duration * sum(
        person.behaviour in (Behaviour.WALKS_OFF, Behaviour.CLOSES_TAB) for person in inside
    )
    wanted = sum(person.shops for person in inside)
    stretch = max(0.0, plan.slot_seconds - idle) / wanted if wanted else 1.0
    longest = min(MAX_SHOP_SECONDS, (plan.limits.duration - 1.0) / LONGEST_PAUSE)
    return [
        replace(person, shops=max(MIN_SHOP_SECONDS, min(person.shops * stretch, longest)))
        for person in people
    ]


def draw_crowd(plan: Plan) -> list[Person]:
    """The crowd of ``plan``, in order of arrival."""
    rng = random.Random(plan.seed)
    # Squared, so that most people arrive in the first moments.
    arrivals = sorted(plan.arrival * rng.random() ** 2 for _ in range(plan.people))
    behaviours = _behaviours(plan, rng)
    waiting = max(1, plan.people - plan.limits.capacity)
    people = []
    for rank, (arrives, behaviour) in enumerate(zip(arrivals, behaviours, strict=True)):
        ahead = max(0, rank - plan.limits.capacity) / waiting
        name = NAMES[rank % len(NAMES)] + (f" {rank // len(NAMES) + 1}" if rank >= len(NAMES) else "")
        people.append(
            Person(
                number=rank + 1,
                name=name,
                behaviour=behaviour,
                arrives=arrives,
                moment=max(0.4, ahead * 0.7 * plan.seconds * rng.uniform(0.1, 0.6)),
                away=plan.limits.absent * rng.uniform(0.2, 0.45),
                shops=rng.uniform(0.6, 1.4),
                luck=rng.getrandbits(32),
            )
        )
    return _fit_shopping(plan, people)
