"""Hypothesis drives an older system and the scripts beside each other while the older system is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.older_gateway import GIVE_UP, SWEEP
from tests.support.older_system import KEYS, LINEUP
from tests.waiting_room.rig import Rig, connect
from tests.waiting_room.rules import Seen, assert_rules, look

USERS = [f"u{n}" for n in range(9)]
DURATION = 10_000

users = st.sampled_from(USERS)
batches = st.lists(users, min_size=1, max_size=5)
lanes = st.sampled_from([{}, {"a": 3_000}, {"a": 2_000, "b": 3_000}])
wanted_lanes = st.sampled_from(["default", "a", "b"])
leavers = st.lists(st.tuples(st.sampled_from(["slot", "line", "both"]), users), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def make_rig(redis_server: Any) -> Iterator[Callable[[int], Rig]]:
    """Makes an empty room of that capacity, on one connection for all."""
    made: list[Rig] = []
    with connect(redis_server.url) as client:

        def make(capacity: int) -> Rig:
            client.flushall()
            if made:
                made.pop().close()
            made.append(Rig(client, capacity, DURATION))
            return made[0]

        yield make
        made.pop().close()


class Followed(RuleBasedStateMachine):
    """What holds of each call of ours, whatever the older system did before it."""

    def __init__(self, make: Callable[[int], Rig]) -> None:
        super().__init__()
        self.make = make
        self.rig: Rig

    @initialize(capacity=st.integers(1, 4), shares=lanes)
    def open(self, capacity: int, shares: dict[str, int]) -> None:
        self.rig = self.make(capacity)
        if shares:
            self.rig.declare_lanes(shares)
            self.rig.configure(capacity, DURATION)
        self.rig.follow = ("on", 60_000)
        self.rig.sweep()

    # -- the older system ---------------------------------------------------------------------------------

    def older(self, script: str, *args: object) -> None:
        keys = (self.rig.keys.line, self.rig.keys.inside, self.rig.keys.counter)
        self.rig.client.eval(KEYS + script, 3, *keys, *args)

    @rule(user=users)
    def it_lines_up(self, user: str) -> None:
        self.older(LINEUP, user, self.rig.capacity, self.rig.now // 1000)

    @rule()
    def it_sweeps(self) -> None:
        self.older(SWEEP, self.rig.now // 1000, DURATION // 1000)

    @rule(user=users)
    def it_takes_a_slot_back(self, user: str) -> None:
        self.older(GIVE_UP, self.rig.now // 1000, user)

    @rule(user=users)
    def it_renews(self, user: str) -> None:
        if self.rig.client.hexists(self.rig.keys.inside, user):
            self.rig.client.hset(self.rig.keys.inside, user, self.rig.now // 1000)

    @rule(by=st.integers(1, 15_000))
    def time_passes(self, by: int) -> None:
        self.rig.advance(by)

    # -- ours ---------------------------------------------------------------------------------------------

    def ours(self, call: Callable[[], Any], gone: frozenset[str] = frozenset()) -> None:
        """``gone``: users who wish to leave line or hash."""
        before = look(self.rig)
        call()
        after, events = look(self.rig), self.rig.events()
        assert len(after.inside) <= max(after.capacity, len(before.inside))
        self.assert_told(before, after, events)
        # Nobody is lost, and a session ends by the user's own wish only.
        for user in before.line:
            assert user in after.line or user in after.inside or user in gone
        for user, second in before.inside.items():
            # Who gave the slot up has "0" there until the older system passes it on, and may line up again.
            assert user in after.inside or user in gone or second == "0"
        # No slot becomes free past the line.
        if len(after.inside) < len(before.inside):
            assert not after.line or len(after.inside) >= after.capacity

    def assert_told(self, before: Seen, after: Seen, events: list[tuple[str, str, int]]) -> None:
        told = [user for kind, user, _ in events if kind == "ADMITTED"]
        assert not [kind for kind, _, _ in events if kind == "ABSENT"]
        promoted = [user for user in told if user not in before.inside]
        assert all(user in before.streams for user in promoted)
        for lane in {*before.lanes.values()}:
            # The older system may have given a user of another lane a second place, in default.
            tickets = [
                before.line[user]
                for user in promoted
                if before.lanes.get(user) == lane and user not in before.twice
            ]
            assert tickets == sorted(tickets)
            left = [
                ticket
                for user, ticket in after.line.items()
                if after.lanes[user] == lane and user not in after.twice
            ]
            if tickets and left:
                assert max(tickets) < min(left)

    @rule(batch=batches, relineup=st.sampled_from(["back", "keep"]), wanted=wanted_lanes)
    def lineup(self, batch: list[str], relineup: str, wanted: str) -> None:
        self.rig.wanted = dict.fromkeys(batch, wanted)
        self.ours(lambda: self.rig.lineup(*batch, relineup=relineup))

    @rule(batch=leavers)
    def leave(self, batch: list[tuple[str, str]]) -> None:
        self.ours(lambda: self.rig.leave(*batch), frozenset(user for _, user in batch))

    @rule(batch=batches)
    def gate(self, batch: list[str]) -> None:
        self.ours(lambda: self.rig.gate(*batch))

    @rule(batch=batches, wanted=wanted_lanes)
    def arrive(self, batch: list[str], wanted: str) -> None:
        self.rig.wanted = dict.fromkeys(batch, wanted)
        self.ours(lambda: self.rig.arrive(*batch))

    @rule(batch=batches)
    def status(self, batch: list[str]) -> None:
        self.ours(lambda: self.rig.status(*batch))

    @rule(capacity=st.integers(0, 5), paused=st.booleans())
    def limits(self, capacity: int, paused: bool) -> None:
        self.ours(lambda: self.rig.limits(capacity=capacity, paused=paused))

    @rule(what=st.sampled_from(["arrived", "departed"]), user=users)
    def stream(self, what: str, user: str) -> None:
        self.ours(lambda: self.rig.presence("here", (what, user)))

    @rule(absent=st.sampled_from([0, 2_000]))
    def sweep(self, absent: int) -> None:
        def swept() -> None:
            while self.rig.sweep(absent).more:
                pass

        self.ours(swept)

    @rule()
    def the_older_system_is_gone_and_comes_back(self) -> None:
        self.rig.follow = ("off", 60_000)
        for _ in range(10):
            cursor = self.rig.client.hget(self.rig.keys.watch, "cursor")
            if not self.rig.sweep(0).more and cursor == "0":
                break
        self.rig.events()
        seen = look(self.rig)
        assert not seen.idle
        assert_rules(
            seen._replace(
                activity={user: last for user, last in seen.activity.items() if user in seen.inside},
                since={user: at for user, at in seen.since.items() if user in seen.inside},
                absent={user: last for user, last in seen.absent.items() if user in seen.line},
            )
        )
        self.rig.follow = ("on", 60_000)
        self.rig.sweep()


@pytest.mark.timeout(300)
def test_while_an_older_system_is_followed_no_user_is_promoted_unnotified_or_lost(
    make_rig: Callable[[int], Rig],
) -> None:
    run_state_machine_as_test(
        lambda: Followed(make_rig),
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
