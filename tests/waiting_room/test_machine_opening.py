"""Hypothesis drives a plain model of opening times, pre-queues and doors, and the scripts, side by side.

Users of this room neither expire nor become absent, so that the model is small enough to be read.
"""

from __future__ import annotations

import math
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
    SOLD_OUT,
    UNPREPARED,
    WAITING,
    Rig,
    connect,
)
from tests.waiting_room.rules import look
from tests.waiting_room.test_machine import run

USERS = [f"u{number}" for number in range(8)]
PREQUEUE = 10_000
LANE = "first"
LONG = 10**9

users = st.sampled_from(USERS)
wanted_lanes = st.sampled_from(["default", LANE])
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
        self.closed = self.sold_out = False
        self.emptied: tuple[int, int] | None = None
        """The highest ticket and the last registration that lose their places, until all have lost them."""
        self.registrations = 0
        self.numbers: dict[str, int] = {}
        """The number of each registration."""
        self.in_first: set[str] = set()
        """Users in line or registered whose lane is ``LANE``."""

    @property
    def under_way(self) -> bool:
        return self.phase in {"closed", "ranked", "placing"}

    @property
    def admits_none(self) -> bool:
        return self.under_way or self.sold_out or self.emptied is not None

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
        while not self.admits_none and self.line and len(self.inside) < self.capacity:
            user = min(self.line, key=lambda one: (one not in self.in_first, self.line[one]))
            self.admit(user)

    def admit(self, user: str) -> None:
        self.line.pop(user, None)
        self.in_first.discard(user)
        self.inside.add(user)

    def take_lane(self, user: str, lane: str) -> None:
        self.in_first.discard(user)
        if lane == LANE:
            self.in_first.add(user)

    def close_if_due(self) -> None:
        if self.phase == "gathering" and self.now >= self.opens_at:
            self.phase, self.value, self.placed = "closed", self.opens_at, 0
            self.base = self.counter
            self.counter += len(self.registered)

    def gather(self) -> None:
        if self.entrance() == "gather" and self.phase != "gathering":
            self.phase, self.value, self.registered = "gathering", 0, []

    def line_up(self, user: str, lane: str) -> int:
        """``lane``: of a new ticket or registration."""
        if user in self.inside:
            return ALLOWED_IN
        if self.sold_out:
            return SOLD_OUT
        if self.is_registered(user):
            return REGISTERED
        if user not in self.line:
            if self.closed:
                return CLOSED
            way = self.entrance()
            if way == "closed":
                return CLOSED
            if way == "gather" and self.phase != "gathering":
                return UNPREPARED
            if way == "gather":
                self.registered.append(user)
                self.registrations += 1
                self.numbers[user] = self.registrations
                self.take_lane(user, lane)
                return REGISTERED
            if not self.admits_none and not self.line and len(self.inside) < self.capacity:
                self.inside.add(user)
                return ADMITTED
        self.counter += 1
        self.line[user] = self.counter
        self.take_lane(user, lane)
        return WAITING

    def arrive(self, users: list[str], lane: str) -> list[int]:
        answers, lined_up = [], False
        for user in users:
            code = self.status(user)[0]
            if code == NONE:
                if not lined_up:
                    self.close_if_due()
                    self.promote()
                lined_up = True
                code = self.line_up(user, lane)
            answers.append(code)
        return answers

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
        self.in_first.discard(user)
        return PLACE

    def doors(self, act: str) -> None:
        match act:
            case "close":
                self.closed = True
            case "reopen":
                self.closed = self.sold_out = False
            case "sold_out":
                self.sold_out = True
            case "empty":
                self.emptied = (self.counter, self.registrations)
        self.end_places()
        self.promote()

    def end_places(self) -> None:
        """Users in line and in the pre-queue lose their places, if the line is to end."""
        if not (self.sold_out or self.emptied):
            return
        ticket, number = (math.inf, math.inf) if self.sold_out else self.emptied or (0, 0)
        ended = [user for user, own in self.line.items() if own <= ticket]
        if self.phase == "gathering":
            ended += [user for user in self.registered if self.numbers[user] <= number]
        for user in ended:
            self.line.pop(user, None)
            self.withdraw(user)
            self.in_first.discard(user)
        if not self.sold_out and not self.under_way:
            self.emptied = None

    def withdraw(self, user: str) -> None:
        if self.phase == "gathering":
            self.registered = [one for one in self.registered if one != user]
        elif self.is_registered(user):
            self.gone.add(user)

    def move(self, giver: str, taker: str) -> int:
        """0: the giver had nothing; 1: moved; 2: later."""
        lane = LANE if giver in self.in_first else ""
        if giver in self.inside:
            self.inside.discard(giver)
            if taker in self.inside:
                self.promote()
            else:
                self.withdraw(taker)
                self.admit(taker)
            return 1
        if self.under_way and self.is_registered(giver):
            return 2
        if giver in self.line:
            ticket = self.line.pop(giver)
            self.in_first.discard(giver)
            behind = self.under_way and self.is_registered(taker) and ticket > self.base
            if taker not in self.inside and not behind and ticket < self.line.get(taker, math.inf):
                self.line[taker] = ticket
                self.withdraw(taker)
                self.take_lane(taker, lane)
            return 1
        if not self.is_registered(giver):
            return 0
        self.in_first.discard(giver)
        if taker in self.inside or taker in self.line:
            self.withdraw(giver)
        elif taker in self.registered:
            first = min(self.registered.index(giver), self.registered.index(taker))
            if self.numbers[giver] < self.numbers[taker]:
                self.numbers[taker] = self.numbers[giver]
                self.take_lane(taker, lane)
            self.registered[first] = taker
            rest = self.registered[first + 1 :]
            self.registered[first + 1 :] = [one for one in rest if one not in {giver, taker}]
        else:
            self.registered[self.registered.index(giver)] = taker
            self.numbers[taker] = self.numbers[giver]
            self.take_lane(taker, lane)
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

    def unplaced(self) -> list[str]:
        """Who is registered and not in line yet."""
        order = self.order if self.phase in {"ranked", "placing"} else self.registered
        placed = self.placed if self.under_way else 0
        return [user for user in order[placed:] if user not in self.gone]

    def status(self, user: str) -> tuple[int, ...]:
        """Code, ticket, position, how many wait in the lane or are registered."""
        if user in self.inside:
            return (ALLOWED_IN,)
        if self.sold_out:
            return (SOLD_OUT,)
        if self.is_registered(user):
            return (REGISTERED, 0, 0, len(self.unplaced()))
        if user not in self.line:
            return (NONE,)
        first = user in self.in_first
        ticket = self.line[user]
        lane = [own for other, own in self.line.items() if (other in self.in_first) == first]
        unplaced = sum((one in self.in_first) == first for one in self.unplaced()) if self.under_way else 0
        position = sum(own <= ticket for own in lane)
        if ticket > self.base:
            position += unplaced
        return (WAITING, ticket, position, len(lane) + unplaced)


class Openings(RuleBasedStateMachine):
    """Each call is made to the model and to the scripts."""

    def __init__(self, make: Callable[[int, int], Rig]) -> None:
        super().__init__()
        self.make = make
        self.rig: Rig
        self.model: Model

    @initialize(capacity=st.integers(0, 3), opens_in=ahead, lanes=st.booleans())
    def open(self, capacity: int, opens_in: int, lanes: bool) -> None:
        self.rig = self.make(capacity, LONG)
        if lanes:
            # All of the share, so that its users are admitted before those of the other lane.
            self.rig.declare_lanes({LANE: 10_000})
            self.rig.configure(capacity, LONG)
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

    def want(self, batch: list[str], lane: str) -> str:
        """These users ask for the lane; returns which one they get."""
        self.rig.wanted = dict.fromkeys(batch, lane)
        return lane if self.rig.lanes else "default"

    @rule(batch=batches, lane=wanted_lanes)
    def lineup(self, batch: list[str], lane: str) -> None:
        own = self.want(batch, lane)
        self.model.close_if_due()
        self.model.promote()
        expected = [self.model.line_up(user, own) for user in batch]
        assert [answer[0] for answer in self.rig.lineup(*batch)] == expected

    @rule(batch=batches, lane=wanted_lanes)
    def arrive(self, batch: list[str], lane: str) -> None:
        expected = self.model.arrive(batch, self.want(batch, lane))
        assert [answer[0] for answer in self.rig.arrive(*batch)] == expected

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

    @rule(act=st.sampled_from(["close", "reopen", "sold_out", "empty", "reopen"]))
    def doors(self, act: str) -> None:
        self.model.doors(act)
        self.rig.doors(act)

    @rule()
    def sweep(self) -> None:
        self.model.close_if_due()
        self.model.end_places()
        self.model.promote()
        self.rig.sweep()

    @rule()
    def gather(self) -> None:
        self.model.gather()
        self.rig.gather()

    @rule(batch=batches, lane=wanted_lanes)
    def a_pre_queue_gathers(self, batch: list[str], lane: str) -> None:
        """So that openings are not rare."""
        self.move_the_opening(5_000)
        self.gather()
        self.lineup(batch, lane)

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
        seen = look(rig)
        assert seen.line == model.line
        assert seen.remembered == dict.fromkeys(model.in_first, LANE)
        assert set(rig.inside()) == model.inside
        assert rig.opening().phase == model.phase
        assert int(rig.client.get(rig.keys.counter) or 0) == model.counter

    @invariant()
    def no_user_is_in_two_states(self) -> None:
        line, inside = set(look(self.rig).line), set(self.rig.inside())
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
