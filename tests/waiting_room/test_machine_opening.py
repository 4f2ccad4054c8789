"""Hypothesis drives a plain model of opening times and pre-queues, and the scripts, side by side.

Users of this room neither expire nor become absent, so that the model is small enough to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.waiting_room.rig import (
    ADMITTED,
    ALLOWED_IN,
    CLOSED,
    NONE,
    NOTHING,
    PLACE,
    REGISTERED,
    SLOT,
    UNPREPARED,
    WAITING,
    Rig,
    connect,
)
from tests.waiting_room.test_machine import run

USERS = [f"u{number}" for number in range(8)]
PREQUEUE = 10_000
LONG = 10**9

users = st.sampled_from(USERS)
batches = st.lists(users, min_size=1, max_size=6)
steps = st.one_of(st.sampled_from([1, 1_000, 9_999, 10_000]), st.integers(1, 12_000))
ahead = st.integers(-5_000, 30_000)


class Model:
    """A room with opening times."""

    def __init__(self, capacity: int, now: int) -> None:
        self.now = now
        self.capacity = capacity
        self.opens_at = 0
        self.phase = ""
        self.value = self.base = self.placed = self.counter = 0
        self.registered: list[str] = []
        """In the order of registration; fixed from the close on."""
        self.gone: set[str] = set()
        """Those of them who left after the close."""
        self.order: list[str] = []
        """Those registered, by rank."""
        self.line: dict[str, int] = {}
        self.inside: set[str] = set()

    @property
    def under_way(self) -> bool:
        return self.phase in {"closed", "ranked", "placing"}

    def is_registered(self, user: str) -> bool:
        return user in self.registered and user not in self.gone

    def entrance(self) -> str:
        if self.phase == "gathering":
            return "gather"
        opened = self.phase == "open" and self.value == self.opens_at
        if self.opens_at > self.now and not self.under_way and not opened:
            return "gather" if self.now >= self.opens_at - PREQUEUE else "closed"
        return "open"

    def promote(self) -> None:
        while not self.under_way and self.line and len(self.inside) < self.capacity:
            user = min(self.line, key=lambda one: self.line[one])
            del self.line[user]
            self.inside.add(user)

    def close_if_due(self) -> None:
        if self.phase == "gathering" and self.now >= self.opens_at:
            self.phase, self.value, self.placed = "closed", self.opens_at, 0
            self.base = self.counter
            self.counter += len(self.registered)

    def gather(self) -> None:
        if self.entrance() == "gather" and self.phase != "gathering":
            self.phase, self.value, self.registered = "gathering", 0, []

    def line_up(self, user: str) -> int:
        if user in self.inside:
            return ALLOWED_IN
        if self.is_registered(user):
            return REGISTERED
        if user not in self.line:
            way = self.entrance()
            if way == "closed":
                return CLOSED
            if way == "gather" and self.phase != "gathering":
                return UNPREPARED
            if way == "gather":
                self.registered.append(user)
                return REGISTERED
            if not self.under_way and not self.line and len(self.inside) < self.capacity:
                self.inside.add(user)
                return ADMITTED
        self.counter += 1
        self.line[user] = self.counter
        return WAITING

    def leave(self, what: str, user: str) -> int:
        if user in self.inside:
            if what == "line":
                return NOTHING
            self.inside.discard(user)
            self.promote()
            return SLOT
        if what == "slot" or not (self.is_registered(user) or user in self.line):
            return NOTHING
        self.line.pop(user, None)
        self.withdraw(user)
        return PLACE

    def withdraw(self, user: str) -> None:
        if self.phase == "gathering":
            self.registered = [one for one in self.registered if one != user]
        elif self.is_registered(user):
            self.gone.add(user)

    def move(self, giver: str, taker: str) -> int:
        """0: the giver had nothing; 1: moved; 2: later."""
        if giver in self.inside:
            self.inside.discard(giver)
            if taker in self.inside:
                self.promote()
            else:
                self.inside.add(taker)
                self.line.pop(taker, None)
                self.withdraw(taker)
            return 1
        if self.under_way and self.is_registered(giver):
            return 2
        if giver in self.line:
            ticket = self.line.pop(giver)
            behind = self.under_way and self.is_registered(taker) and ticket > self.base
            if taker not in self.inside and not behind:
                self.line[taker] = min(ticket, self.line.get(taker, ticket))
                self.withdraw(taker)
            return 1
        if not self.is_registered(giver):
            return 0
        if taker in self.inside or taker in self.line:
            self.withdraw(giver)
        elif taker in self.registered:
            first = min(self.registered.index(giver), self.registered.index(taker))
            self.registered[first] = taker
            rest = self.registered[first + 1 :]
            self.registered[first + 1 :] = [one for one in rest if one not in {giver, taker}]
        else:
            self.registered[self.registered.index(giver)] = taker
        return 1

    def rank(self, order: list[str]) -> bool:
        if self.phase != "closed":
            return False
        self.phase, self.order = "ranked", order
        return True

    def place(self, first: int, count: int) -> int:
        if self.phase not in {"ranked", "placing"}:
            return -1
        if first != self.placed:
            return self.placed
        self.phase = "placing"
        for rank, user in enumerate(self.order[first : first + count], first + 1):
            self.placed = rank
            if user not in self.gone:
                self.line[user] = self.base + rank
        placed = self.placed
        if placed >= len(self.registered):
            self.phase, self.registered, self.gone = "open", [], set()
            self.promote()
        return placed

    def unplaced(self) -> int:
        """How many are registered and not in line yet."""
        order = self.order if self.phase in {"ranked", "placing"} else self.registered
        placed = self.placed if self.under_way else 0
        return sum(user not in self.gone for user in order[placed:])

    def status(self, user: str) -> tuple[int, ...]:
        """Code, ticket, position, how many wait or are registered."""
        if user in self.inside:
            return (ALLOWED_IN,)
        if self.is_registered(user):
            return (REGISTERED, 0, 0, self.unplaced())
        if user not in self.line:
            return (NONE,)
        ticket = self.line[user]
        unplaced = self.unplaced() if self.under_way else 0
        position = sum(other <= ticket for other in self.line.values())
        if ticket > self.base:
            position += unplaced
        return (WAITING, ticket, position, len(self.line) + unplaced)


class Openings(RuleBasedStateMachine):
    """Each call is made to the model and to the scripts."""

    def __init__(self, make: Callable[[int, int], Rig]) -> None:
        super().__init__()
        self.make = make
        self.rig: Rig
        self.model: Model

    @initialize(capacity=st.integers(0, 3), opens_in=ahead)
    def open(self, capacity: int, opens_in: int) -> None:
        self.rig = self.make(capacity, LONG)
        self.model = Model(capacity, self.rig.now)
        self.rig.set_rules(absent=0, prequeue=PREQUEUE)
        self.move_the_opening(opens_in)

    @rule(by=ahead)
    def move_the_opening(self, by: int) -> None:
        moment = max(1, self.rig.now + by)
        self.rig.limits(rules=f"opens_at={moment}")
        self.model.opens_at = moment
        self.model.promote()

    @rule(capacity=st.integers(0, 3))
    def set_capacity(self, capacity: int) -> None:
        self.rig.limits(capacity=capacity)
        self.model.capacity = capacity
        self.model.promote()

    @rule(by=steps)
    def time_passes(self, by: int) -> None:
        self.rig.advance(by)
        self.model.now += by

    @rule(batch=batches)
    def lineup(self, batch: list[str]) -> None:
        self.model.close_if_due()
        self.model.promote()
        expected = [self.model.line_up(user) for user in batch]
        assert [answer[0] for answer in self.rig.lineup(*batch)] == expected

    @rule(what=st.sampled_from(["slot", "line", "both"]), user=users)
    def leave(self, what: str, user: str) -> None:
        expected = self.model.leave(what, user)
        self.model.promote()
        assert self.rig.leave((what, user)) == [expected]

    @rule(pair=st.lists(users, min_size=2, max_size=2, unique=True))
    def move(self, pair: list[str]) -> None:
        expected = self.model.move(*pair)
        assert self.rig.run("move", *pair).answers[0] == expected
        self.model.promote()

    @rule()
    def sweep(self) -> None:
        self.model.close_if_due()
        self.model.promote()
        self.rig.sweep()

    @rule()
    def gather(self) -> None:
        self.model.gather()
        self.rig.gather()

    @rule(batch=batches)
    def a_pre_queue_gathers(self, batch: list[str]) -> None:
        """So that openings are not rare."""
        self.move_the_opening(5_000)
        self.gather()
        self.lineup(batch)

    @rule()
    def it_is_time(self) -> None:
        self.time_passes(max(1, self.model.opens_at - self.model.now))
        self.sweep()

    @rule(data=st.data())
    def rank(self, data: Any) -> None:
        order = data.draw(st.permutations(self.model.registered))
        assert self.rig.rank() == self.model.rank(order)

    @rule(first=st.integers(0, 3), count=st.integers(0, 3), next_one=st.booleans())
    def place(self, first: int, count: int, next_one: bool) -> None:
        first = self.model.placed if next_one else first
        order, value = self.model.order, self.model.value
        expected = self.model.place(first, count)
        assert self.rig.place(first, *order[first : first + count], value=value) == expected

    @invariant()
    def both_agree(self) -> None:
        rig, model = self.rig, self.model
        for user, answer in zip(USERS, rig.status(*USERS), strict=True):
            expected = model.status(user)
            assert tuple(answer[: len(expected)]) == expected, user
        assert dict(rig.line()) == model.line
        assert set(rig.inside()) == model.inside
        assert rig.opening().phase == model.phase
        assert int(rig.client.get(rig.keys.counter) or 0) == model.counter

    @invariant()
    def no_user_is_in_two_states(self) -> None:
        line, inside = set(self.rig.waiting()), set(self.rig.inside())
        assert not line & inside
        if self.model.phase == "gathering":
            assert not set(self.rig.registered()) & (line | inside)


@pytest.fixture(scope="module")
def make_rig(redis_server: Any) -> Iterator[Callable[[int, int], Rig]]:
    """Makes an empty room of the given capacity and duration, on one connection for all."""
    made: list[Rig] = []
    with connect(redis_server.url) as client:

        def make(capacity: int, duration: int) -> Rig:
            client.flushall()
            if made:
                made.pop().close()
            made.append(Rig(client, capacity, duration))
            return made[0]

        yield make
        made.pop().close()


@pytest.mark.timeout(300)
def test_openings_follow_the_model(make_rig: Callable[[int, int], Rig]) -> None:
    run(lambda: Openings(make_rig), 100)
