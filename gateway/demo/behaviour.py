"""Who comes to the sale and what they will do: drawn from a seed, so the same seed brings the same crowd."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.demo.plan import Plan

_NAMES = """
Minseo Jiwoo Haru Seoyeon Dohyun Yuna Jisoo Eunwoo Sora Taeyang Hana Junho Ara Minho Bora Jiho Nari Sejin
Ada Ben Chloé Dilan Elif Femi Grace Hugo Inés Jonas Kaja Luca Maya Noah Olga Priya Quentin Rosa Sami Tess
Uma Viktor Wanda Ximena Yusuf Zoe
"""
NAMES = tuple(_NAMES.split())


class Behaviour(StrEnum):
    """What is special about somebody's visit. Everybody who gets in shops, unless it says otherwise."""

    BUYS = "waits, shops and leaves"
    BLIPS = "loses the connection in line and comes back"
    GIVES_UP = "gives up in line"
    CLOSES_TAB = "closes the tab in line without a word"
    REFRESHES = "lines up again, and so moves to the back"
    POLLS = "asks for the status instead of opening a stream"
    CRASHES = "tries the gate before, in and after the line"
    WALKS_OFF = "walks off while in, without leaving"


# Of those who will have to wait, by share; at least one of each where there are enough of them.
IN_LINE = {
    Behaviour.BLIPS: 0.16,
    Behaviour.GIVES_UP: 0.08,
    Behaviour.CLOSES_TAB: 0.06,
    Behaviour.REFRESHES: 0.03,
    Behaviour.POLLS: 0.05,
    Behaviour.CRASHES: 0.05,
}
WALKING_OFF = 0.05
SHORTEST_SHOP, LONGEST_SHOP = 0.3, 6.0
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
        """What the auth service calls this person: the tokens' ``sub``."""
        return f"person-{self.number}"


def _behaviours(plan: Plan, rng: random.Random) -> list[Behaviour]:
    """One behaviour for each rank of arrival. Only who finds the room full can do something in line."""
    waiting = max(0, plan.people - plan.limits.capacity)
    special = [kind for kind, share in IN_LINE.items() for _ in range(math.ceil(share * waiting))][:waiting]
    in_line = special + [Behaviour.BUYS] * (waiting - len(special))
    rng.shuffle(in_line)
    behaviours = [Behaviour.BUYS] * (plan.people - waiting) + in_line
    buying = [rank for rank, kind in enumerate(behaviours) if kind is Behaviour.BUYS]
    for rank in rng.sample(buying, min(len(buying), math.ceil(WALKING_OFF * plan.people))):
        behaviours[rank] = Behaviour.WALKS_OFF
    return behaviours


def _fit_shopping(plan: Plan, people: list[Person]) -> list[Person]:
    """Stretch or shrink everybody's shopping alike, until the crowd needs the slot time that there is."""
    inside = [person for person in people if person.behaviour is not Behaviour.GIVES_UP]
    idle = plan.limits.duration * sum(
        person.behaviour in (Behaviour.WALKS_OFF, Behaviour.CLOSES_TAB) for person in inside
    )
    wanted = sum(person.shops for person in inside)
    stretch = max(0.0, plan.slot_seconds - idle) / wanted if wanted else 1.0
    longest = min(LONGEST_SHOP, (plan.limits.duration - 1.0) / LONGEST_PAUSE)
    return [
        replace(person, shops=max(SHORTEST_SHOP, min(person.shops * stretch, longest))) for person in people
    ]


def draw(plan: Plan) -> list[Person]:
    """The crowd of ``plan``, in order of arrival."""
    rng = random.Random(plan.seed)
    # Squared, so that most are there in the first moments.
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
