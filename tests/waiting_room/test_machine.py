"""Hypothesis drives the plain-Python model and the scripts side by side, then an older system beside the scripts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.waiting_room.scripts import _source, load_all
from gateway.waiting_room.state import Doors, Summary
from tests.waiting_room.model import Bucket, Model
from tests.waiting_room.rig import CLOCK, START, WAITING, Rig, connect
from tests.waiting_room.rules import SOUND_BELOW, Seen, assert_rules, assert_step, look, shown

MOST = 256
FEW = 3
"""What one call may do at most, so small that the machines meet it all the time."""


def scripts_with(most: int) -> Any:
    room = _source("includes/room.lua")
    assert f"local MOST = {MOST}\n" in room
    return load_all(
        {"clock": CLOCK, "room": room.replace(f"local MOST = {MOST}\n", f"local MOST = {most}\n")}
    )


SCRIPTS = {most: scripts_with(most) for most in (FEW, MOST)}

USERS = [f"u{n}" for n in range(9)]
INSTANCES = ["a", "b", "c"]
DEAD = 3_000
ABSENT = 2_000
HOLD = 6_000

users = st.sampled_from(USERS)
batches = st.lists(users, min_size=1, max_size=6)
instances = st.sampled_from(INSTANCES)
capacities = st.integers(0, 6)
durations = st.sampled_from([1, 1_000, 4_500, 10_000, 30_000])
steps = st.one_of(st.sampled_from([1, 999, 1_000, 5_000, 5_001, 10_000, 20_000]), st.integers(1, 12_000))
leavers = st.lists(st.tuples(st.sampled_from(["slot", "line", "both"]), users), min_size=1, max_size=6)
reasons = st.sampled_from(["LEFT", "OPERATOR"])
pairs_of_two = st.tuples(users, users).filter(lambda pair: pair[0] != pair[1])
rates = st.sampled_from(["off", "off", "1/s", "3/s", "90/m", "1000/h", "1000/s"])
relineups = st.sampled_from(["back", "back", "keep"])
lanes = st.sampled_from([{}, {"a": 3_000}, {"a": 2_000, "b": 3_000}, {"b": 5_000, "a": 5_000}, {"b": 1}])
wanted_lanes = st.sampled_from(["default", "a", "a", "b", "unheard-of"])
changes = st.lists(st.tuples(st.sampled_from(["arrived", "departed"]), users), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def shared_rig(redis_server: Any) -> Iterator[Callable[[int, int, int], Rig]]:
    """Makes an empty room of the given bound, capacity and duration, on one connection for all."""
    made: list[Rig] = []
    with connect(redis_server.url) as client:

        def make(most: int, capacity: int, duration: int) -> Rig:
            client.config_set("maxmemory", 0)
            client.flushall()
            if made:
                made.pop().close()
            made.append(Rig(client, capacity, duration, SCRIPTS[most]))
            return made[0]

        yield make
        client.config_set("maxmemory", 0)
        made.pop().close()


def milliseconds(seconds: tuple[float, ...]) -> list[int]:
    return [round(each * 1000) for each in seconds]


class Driver(RuleBasedStateMachine):
    """What both machines share: one call at a time, and what can be said about each from outside."""

    def __init__(self, make: Callable[[int, int, int], Rig]) -> None:
        super().__init__()
        self.make = make
        self.rig: Rig
        self.seen: Seen
        self.events: list[tuple[str, str, int]] = []
        self.shown: dict[str, tuple[int, float | None]] = {}
        """Position and estimate of those in line after the last call, and what they depend on."""
        self.shown_of: tuple[object, ...] = ()
        self.bucket: Bucket
        """As the admissions show it."""

    def begin(self, most: int, capacity: int, duration: int) -> None:
        self.rig = self.make(most, capacity, duration)
        self.seen = look(self.rig)
        self.bucket = Bucket(self.rig.now)

    def set_rate(self, rate: str) -> Any:
        """As an operator does, beside what else is in force."""
        self.rig.rate = rate
        self.bucket.set_rate(rate, self.rig.now)
        return self.call("limits", "", "", "", 0, f"rate={rate}")

    def call(self, name: str, *args: Any, keys: Any = (), lined_up: Any = ()) -> Any:
        reply = self.rig.run(name, *args, keys=keys)
        before, after, events = self.seen, look(self.rig), self.rig.events()
        given = defaultdict(set)
        # The answer about the users comes last.
        for user, answer in zip(lined_up, reply.answers[-len(lined_up) :] if lined_up else (), strict=True):
            if answer[0] == WAITING:
                given[user].add(answer[1])
        if name == "front":
            given[args[0]] |= {ticket for kind, user, ticket in events if kind == "FRONT"}
        if name == "move":
            # Whoever is given a slot does not wait for a turn.
            given[args[1]] |= {ticket for _, user, ticket in events if user == args[1]}
        assert_step(before, after, events, given, lined_up)
        # 5: whoever left the line was counted as what they were told.
        kinds = [kind for kind, _, _ in events]
        did = {name: count - before.tally.get(name, 0) for name, count in after.tally.items()}
        for kind, total in (("ADMITTED", "promoted"), ("ABSENT", "evicted"), ("UNCLAIMED", "unclaimed")):
            assert kinds.count(kind) == did.get(total, 0)
        # No more than the rate allows.
        self.bucket.take(self.rig.now, did.get("admitted", 0))
        # 4: a free slot and a line are left only together with the word to go on at once, or when to go on.
        short = self.bucket.whole(self.rig.now) == 0
        assert reply.summary.more or not after.idle or short
        assert (reply.summary.next_token > 0) is (after.idle and short)
        summary = reply.summary
        assert (summary.waiting, summary.allowed_in) == (len(after.line), len(after.inside))
        assert (summary.parked, summary.parkings) == (len(after.parked), did.get("parkings", 0))
        assert (summary.capacity, summary.duration * 1000) == (after.capacity, after.duration)
        assert summary.rate >= 0
        self.assert_ages(summary, after)
        self.assert_estimates(summary, after)
        self.seen = after
        self.events += events
        return reply

    def assert_ages(self, summary: Summary, seen: Seen) -> None:
        """They are those of five sessions, although not every call reads all that it says of them."""
        if summary.ages is not None and seen.line:
            assert milliseconds(summary.ages) == self.ages(len(seen.inside))

    def ages(self, inside: int) -> list[int]:
        known = self.rig.client.zrange(self.rig.keys.since, 0, -1, withscores=True)
        if len(known) < 2 or 2 * len(known) < inside:
            return []
        places = [int(quarter * (len(known) - 1) / 4 + 0.5) for quarter in range(5)]
        return [max(0, self.rig.now - int(known[at][1])) for at in places]

    def assert_estimates(self, summary: Summary, seen: Seen) -> None:
        """There are none while no one is admitted; and without an admission, or fewer slots, none rises."""
        assert summary.admits_none is (seen.paused or seen.capacity == 0)
        waits = {user: (at, summary.wait_at(at)) for at, user in enumerate(seen.line, 1)}
        if summary.admits_none or not summary.rate:
            assert {wait for _, wait in waits.values()} <= {None}
        # An older system may end sessions and begin others without a word; their ages are of others then.
        sessions = tuple(self.rig.client.zrange(self.rig.keys.since, 0, -1))
        promoted = seen.tally.get("promoted", 0)
        # An earlier version's calls may change sessions as well; then these ages are of others for a while.
        began = None if summary.ages is None else [self.rig.now - age for age in milliseconds(summary.ages)]
        facts = (promoted, seen.capacity, summary.allowed_in, began, sessions, self.rig.rate)
        if facts == self.shown_of:
            for user, (at, wait) in waits.items():
                at_before, before = self.shown.get(user, (0, None))
                assert not (wait and before) or at > at_before or wait <= before * 1.000001
        self.shown, self.shown_of = waits, facts

    def call_sweep(self, absent: int, scan: int, hold: int = HOLD) -> Any:
        self.rig.set_rules(absent=absent, hold=hold)
        return self.call("sweep", scan, *self.rig.follow, keys=[self.rig.keys.watch])

    def call_move(self, giver: str, taker: str) -> Any:
        return self.call("move", giver, taker, lined_up=[taker])

    @staticmethod
    def pairs(batch: list[tuple[str, str]]) -> list[str]:
        return [part for pair in batch for part in pair]


class Beside(Driver):
    """The scripts must do to Redis what the model does to its lists."""

    model: Model

    @initialize(most=st.sampled_from([FEW, MOST]), capacity=capacities, duration=durations, shares=lanes)
    def open(self, most: int, capacity: int, duration: int, shares: dict[str, int]) -> None:
        self.begin(most, capacity, duration)
        self.model = Model(capacity, duration, START, most)
        if shares:
            self.an_instance_is_configured_with_lanes(shares)

    @rule(max_session=st.sampled_from([0, 0, 1, 3_000, 12_000]))
    def sessions_end_absolutely(self, max_session: int) -> None:
        self.rig.set_rules(max_session=max_session)
        self.model.max_session = max_session

    @rule(claim=st.sampled_from([0, 1, 700, 3_000, 3_000, 3_000, 12_000]))
    def slots_must_be_claimed(self, claim: int) -> None:
        """Windows that run when claiming is switched off are over."""
        self.rig.set_rules(claim=claim)
        self.model.claim = claim
        if not claim:
            self.drop_windows()

    @rule(history=st.sampled_from([0, 4_000, 3_600_000]))
    def histories_are_kept(self, history: int) -> None:
        self.rig.set_rules(history=history)
        self.model.kept_for = history
        if not history:
            # As the next sweep does. Otherwise there could be histories without what happened in between.
            self.rig.client.delete(self.rig.keys.history, self.rig.keys.ended)
            self.model.history.clear()

    def drop_windows(self) -> None:
        keys = self.rig.keys
        for user in self.rig.client.zrange(keys.claims, 0, -1):
            self.rig.client.zrem(keys.tickets, user)
            if self.rig.lanes:
                self.rig.client.hdel(keys.of_lanes(self.rig.lanes)[0], user)
        for user in self.model.promoted_with:
            self.model.lanes.pop(user, None)
        self.rig.client.delete(keys.claims, keys.missed)
        for of in (self.model.windows, self.model.first_calls, self.model.promoted_with, self.model.missed):
            of.clear()
        self.seen = look(self.rig)

    @rule(batch=batches)
    def reopen(self, batch: list[str]) -> None:
        reply = self.call("reopen", *batch)
        self.model.reopen(batch)
        self.same(reply)

    @rule(act=st.sampled_from(["close", "reopen", "reopen", "sold_out", "empty"]), after=st.none() | steps)
    def doors(self, act: str, after: int | None) -> None:
        until = self.rig.now + after if act == "close" and after else 0
        reply = self.call("doors", act, until or "")
        self.model.doors(act, until)
        self.same(reply)
        assert (Doors.CLOSED in reply.summary.doors) is self.model.takes_none
        assert (Doors.SOLD_OUT in reply.summary.doors) is self.model.sold_out

    @rule(rate=rates)
    def admissions_have_a_rate(self, rate: str) -> None:
        self.model.set_rate(rate)
        self.same(self.set_rate(rate))

    def same(self, reply: Any, answers: Any = None) -> None:
        model = self.model
        if answers is not None:
            assert [tuple(a) if isinstance(a, list) else a for a in reply.answers] == answers
        assert {
            user: self.rig.history(user) for user in self.rig.client.hkeys(self.rig.keys.history)
        } == model.history
        assert reply.summary.more == model.more()
        assert sorted(milliseconds(reply.summary.stays)) == sorted(model.stays)
        waits = milliseconds(reply.summary.waits)
        # Marks are made by sweeps, and say no later than when. Those of a parked ticket may be gone.
        kept = [real for real, certain in model.waits if certain]
        assert len(kept) <= len(waits) <= len(model.waits)
        for expected in (kept, [real for real, _ in model.waits]):
            if len(expected) == len(waits):
                assert all(known >= real - 500 for known, real in zip(waits, expected, strict=True))
                break

    @rule(by=steps)
    def time_passes(self, by: int) -> None:
        self.rig.advance(by)
        self.model.now += by

    @rule(full=st.booleans())
    def memory(self, full: bool) -> None:
        """Redis reaches maxmemory, or is given more: only lineups of users without a place differ."""
        self.rig.set_memory_full(full)
        self.model.out_of_memory = full

    @rule(batch=batches, relineup=relineups, wanted=wanted_lanes)
    def lineup(self, batch: list[str], relineup: str, wanted: str) -> None:
        self.rig.set_rules(relineup=relineup)
        self.rig.wanted = dict.fromkeys(batch, wanted)
        reply = self.call("lineup", *batch, lined_up=batch)
        self.same(reply, self.model.lineup(batch, relineup, wanted))

    @rule(shares=lanes)
    def an_instance_is_configured_with_lanes(self, shares: dict[str, int]) -> None:
        """Users of lanes that are gone are moved by sweeps."""
        self.rig.declare_lanes(shares)
        reply = self.call("configure", *self.rig.follow, 0, "", keys=[self.rig.keys.watch])
        self.model.configure(self.rig.capacity, self.rig.duration, shares)
        self.same(reply)
        given = dict(part.split("=") for part in self.rig.rules.split())
        absent, hold = int(given.get("absent", 60_000)), int(given.get("hold", 1_800_000))
        more = True
        while more or self.model.shares != shares:
            reply = self.call("sweep", 500, *self.rig.follow, keys=[self.rig.keys.watch])
            self.model.sweep(absent, hold)
            self.same(reply)
            more = reply.summary.more and self.model.shares != shares
        # Users who are parked keep no lane that is gone; the sweep after the next finds their entries.
        self.call("sweep", 500, *self.rig.follow, keys=[self.rig.keys.watch])
        self.model.sweep(absent, hold)
        assert {
            name: round(share * 10_000) for name, share, _ in reply.summary.lanes if name != "default"
        } == shares

    @rule(most=st.sampled_from([0, 1, 4]))
    def the_line_is_bounded(self, most: int) -> None:
        self.rig.set_rules(max_waiting=most)
        self.model.max_waiting = most

    @rule(most=st.sampled_from([0, 1, 3]))
    def lineups_are_bounded(self, most: int) -> None:
        self.rig.set_rules(lineups_per_minute=most)
        self.model.lineups_per_minute = most

    @rule(batch=batches, sighting=st.booleans())
    def status(self, batch: list[str], sighting: bool) -> None:
        self.same(self.call("status", int(sighting), *batch), self.model.status(batch, sighting))

    @rule(batch=batches)
    def gate(self, batch: list[str]) -> None:
        self.same(self.call("gate", *batch), self.model.gate(batch))

    @rule(batch=batches, wanted=wanted_lanes)
    def arrive(self, batch: list[str], wanted: str) -> None:
        self.rig.wanted = dict.fromkeys(batch, wanted)
        self.same(self.call("arrive", *batch, lined_up=batch), self.model.arrive(batch, wanted))

    @rule(batch=leavers, reason=reasons)
    def leave(self, batch: list[tuple[str, str]], reason: str) -> None:
        self.same(self.call("leave", reason, *self.pairs(batch)), self.model.leave(batch, reason))

    @rule(pair=pairs_of_two)
    def move(self, pair: tuple[str, str]) -> None:
        giver, taker = pair
        reply = self.call_move(giver, taker)
        self.same(reply, self.model.move(giver, taker))

    @rule(user=users)
    def front(self, user: str) -> None:
        self.same(self.call("front", user), [self.model.front(user)])

    @rule(
        absent=st.sampled_from([0, ABSENT, ABSENT]),
        scan=st.sampled_from([0, 500]),
        hold=st.sampled_from([0, HOLD, HOLD]),
    )
    def sweep(self, absent: int, scan: int, hold: int = HOLD) -> None:
        reply = self.call_sweep(absent, scan, hold)
        self.model.sweep(absent, hold)
        self.same(reply)
        summary = reply.summary
        assert summary.expired + summary.evicted + summary.parkings + summary.unclaimed <= self.model.most
        assert summary.admitted <= self.model.most

    @rule(seconds=st.integers(1, 4))
    def seconds_pass_with_a_sweep_in_each(self, seconds: int) -> None:
        for _ in range(seconds):
            self.time_passes(1_000)
            self.sweep(ABSENT, 500)

    @rule(by=st.sampled_from([4_000, 5_000, 5_001]))
    def no_sweep_for_some_time(self, by: int) -> None:
        self.sweep(ABSENT, 0)
        self.time_passes(by)
        self.sweep(ABSENT, 0)

    @rule(instance=instances, batch=batches, seen=st.sets(users))
    def an_instance_dies(self, instance: str, batch: list[str], seen: set[str]) -> None:
        """With streams open; some of its users ask elsewhere before it is drained."""
        self.beat(instance)
        self.streams_open_and_close(instance, [("arrived", user) for user in batch])
        self.time_passes(1_000)
        self.status(sorted(seen), True)
        self.time_passes(DEAD - 1_000)
        self.drain(instance)

    @rule(
        capacity=st.none() | capacities,
        duration=st.none() | durations,
        paused=st.none() | st.booleans(),
        lift=st.booleans(),
    )
    def limits(self, capacity: int | None, duration: int | None, paused: bool | None, lift: bool) -> None:
        given = ["" if value is None else int(value) for value in (capacity, duration, paused)]
        if lift:
            self.rig.set_rules(
                claim=0, max_session=0, max_waiting=0, lineups_per_minute=0, history=self.model.kept_for
            )
            self.model.max_waiting = self.model.lineups_per_minute = 0
            self.rig.rate = "off"
            self.bucket.set_rate("off", self.rig.now)
            self.model.bucket.set_rate("off", self.model.now)
            self.model.claim = self.model.max_session = 0
            self.drop_windows()
        reply = self.call("limits", *given, int(lift), "")
        self.model.limits(capacity, duration, paused, lift)
        self.same(reply)

    @rule(capacity=capacities, duration=durations)
    def configure(self, capacity: int, duration: int) -> None:
        self.rig.capacity, self.rig.duration = capacity, duration
        reply = self.rig.run("configure", *self.rig.follow, 1, "", keys=[self.rig.keys.watch])
        self.model.configure(capacity, duration)
        self.bucket.take(self.rig.now, reply.summary.admitted)
        self.seen, events = look(self.rig), self.rig.events()
        self.events += events
        self.same(reply)

    @rule(instance=instances, batch=changes)
    def streams_open_and_close(self, instance: str, batch: list[tuple[str, str]]) -> None:
        self.call(
            "presence",
            *self.pairs(batch),
            keys=[self.rig.keys.here(instance), self.rig.keys.several(instance)],
        )
        self.model.presence(instance, batch)

    @rule(instance=instances)
    def beat(self, instance: str) -> None:
        unknown, dead = self.rig.beat(instance, DEAD)
        assert (unknown, set(dead)) == self.model.beat(instance, DEAD)

    @rule(instance=instances)
    def drain(self, instance: str) -> None:
        while self.rig.drain(instance, DEAD):
            pass
        self.model.drain(instance, DEAD)
        self.seen = look(self.rig)

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "model"):
            return
        seen, model = self.seen, self.model
        assert_rules(seen)
        assert list(seen.line.items()) == model.line
        assert seen.lanes == {user: model.lane(user) for user, _ in model.line}
        assert seen.remembered == model.lanes
        assert seen.activity == model.inside
        assert seen.inside == {user: str(last // 1000) for user, last in model.inside.items()}
        assert seen.absent == model.seen
        assert seen.parked == model.parked
        assert seen.claims == model.windows | {user: -calls for user, calls in model.first_calls.items()}
        assert seen.missed == model.missed
        assert int(seen.counter or 0) == model.counter
        assert (seen.capacity, seen.duration) == (model.capacity, model.duration)
        assert (seen.paused, seen.override) == (model.admits_none, bool(model.overridden))
        assert seen.tally == {name: count for name, count in model.tally.items() if count}
        present = {user: sum(user in here for here in model.here.values()) for user in USERS}
        assert seen.streams == {user: count for user, count in present.items() if count}
        assert self.events == model.events

    @invariant()
    def everybody_who_ever_waited_is_accounted_for(self) -> None:
        if not hasattr(self, "model"):
            return
        tally = self.seen.tally
        heard = [kind for kind, _, _ in self.events]
        assert heard.count("LEFT") <= tally.get("left", 0)
        removed = heard.count("OPERATOR") + heard.count("SOLD_OUT")
        assert removed <= tally.get("removed", 0)
        freed = sum(tally.get(name, 0) for name in ("expired", "left", "removed", "lapsed"))
        freed -= heard.count("LEFT") + removed
        assert len(self.seen.inside) == tally.get("admitted", 0) - freed


seconds = st.one_of(st.integers(-40, 3), st.sampled_from(["", "x", "nan", "inf", "-1", "1e300", "12.5"]))
tickets = st.one_of(
    st.integers(1, 30), st.sampled_from([2**52, 2**53, 2**53 + 2, 10**18, 1e300, float("inf")])
)
counters = st.one_of(st.integers(0, 40), st.sampled_from(["", "x", "-3", "7.5", "9" * 18, "9" * 40]))


class OlderSystem(Driver):
    """Somebody else writes the three old keys meanwhile, not always sensibly."""

    settled = True

    @initialize(most=st.sampled_from([FEW, MOST]), capacity=capacities, duration=durations)
    def open(self, most: int, capacity: int, duration: int) -> None:
        self.begin(most, capacity, duration)

    def written(self) -> None:
        self.settled = False
        self.seen = look(self.rig)

    @rule(user=users, second=seconds)
    def it_renews_or_admits(self, user: str, second: int | str) -> None:
        value = self.rig.now // 1000 + second if isinstance(second, int) else second
        self.rig.client.hset(self.rig.keys.inside, user, value)
        self.written()

    @rule(batch=st.dictionaries(users, seconds, min_size=1, max_size=6))
    def it_lets_many_in(self, batch: dict[str, int | str]) -> None:
        for user, second in batch.items():
            self.it_renews_or_admits(user, second)

    @rule(user=users)
    def it_ends_a_session(self, user: str) -> None:
        self.rig.client.hdel(self.rig.keys.inside, user)
        self.written()

    @rule(batch=st.dictionaries(users, tickets, min_size=1, max_size=6))
    def it_queues(self, batch: dict[str, float]) -> None:
        self.rig.client.zadd(self.rig.keys.line, batch)
        self.written()

    @rule(user=users)
    def it_takes_out_of_the_line(self, user: str) -> None:
        self.rig.client.zrem(self.rig.keys.line, user)
        self.written()

    @rule(counter=counters)
    def it_sets_the_counter(self, counter: int | str) -> None:
        self.rig.client.set(self.rig.keys.counter, counter)
        self.written()

    @precondition(lambda self: self.seen.counter is None or self.seen.counter.isdigit())
    @precondition(lambda self: len(self.seen.counter or "") < 19)
    @rule()
    def it_counts(self) -> None:
        self.rig.client.incr(self.rig.keys.counter)
        self.written()

    @rule(by=steps)
    def time_passes(self, by: int) -> None:
        self.rig.advance(by)

    @rule(batch=batches, relineup=relineups)
    def lineup(self, batch: list[str], relineup: str) -> None:
        parked = self.seen.parked.keys()
        self.rig.set_rules(relineup=relineup)
        reply = self.call("lineup", *batch, lined_up=batch)
        # 2: whoever got a new ticket stands behind everybody who was in line before.
        before = [ticket for ticket in self.seen.line.values() if ticket < 2**52]
        last = reply.answers[-1]
        if last[0] == WAITING and relineup == "back" and batch[-1] not in parked:
            assert last[1] == max(before)
            assert last[2] == last[3]

    @rule(batch=batches, sighting=st.booleans())
    def status(self, batch: list[str], sighting: bool) -> None:
        self.call("status", int(sighting), *batch)

    @rule(batch=batches)
    def gate(self, batch: list[str]) -> None:
        heard = len(self.events)
        reply = self.call("gate", *batch)
        # Whoever returns from parking in the same call may bring a promotion for users who were refused before.
        promoted = {user for kind, user, _ in self.events[heard:] if kind == "ADMITTED"}
        for user, answer in zip(batch, reply.answers, strict=True):
            assert (answer[0] == WAITING) is (user in self.seen.line) or user in promoted

    @rule(batch=batches)
    def arrive(self, batch: list[str]) -> None:
        before = self.seen
        reply = self.call("arrive", *batch, lined_up=batch)
        # Users with a place keep it, however often they come. Those with two tickets keep the lower one.
        kept = {user for user, ticket in before.line.items() if ticket < SOUND_BELOW}
        kept -= before.tickets.keys()
        for user, answer in zip(batch, reply.answers, strict=True):
            assert answer[0] != WAITING or user not in kept or answer[1] == shown(before.line[user])

    @rule(batch=leavers, reason=reasons)
    def leave(self, batch: list[tuple[str, str]], reason: str) -> None:
        self.call("leave", reason, *self.pairs(batch))
        both = {user for what, user in batch if what == "both"}
        assert not both & self.seen.line.keys()

    @rule(user=users)
    def front(self, user: str) -> None:
        ticket = self.call("front", user).answers[0]
        if user in self.seen.line:
            assert next(iter(self.seen.line)) == user
            assert self.seen.line[user] == int(ticket)

    @rule(pair=pairs_of_two)
    def move(self, pair: tuple[str, str]) -> None:
        giver, taker = pair
        moved, answer = self.call_move(giver, taker).answers
        assert not (moved and giver in self.seen.line)
        assert (answer[0] == WAITING) is (taker in self.seen.line)

    @rule(absent=st.sampled_from([0, ABSENT]), scan=st.sampled_from([0, 500]))
    def sweep(self, absent: int, scan: int) -> None:
        self.call_sweep(absent, scan)

    @rule(seconds=st.integers(1, 4))
    def seconds_pass_with_a_sweep_in_each(self, seconds: int) -> None:
        for _ in range(seconds):
            self.time_passes(1_000)
            self.call_sweep(ABSENT, 500)

    @rule(capacity=capacities, paused=st.booleans())
    def limits(self, capacity: int, paused: bool) -> None:
        self.call("limits", capacity, "", int(paused), 0, "")

    @rule(claim=st.sampled_from([0, 1, 3_000, 3_000]))
    def slots_must_be_claimed(self, claim: int) -> None:
        self.rig.set_rules(claim=claim)

    @rule(rate=rates)
    def admissions_have_a_rate(self, rate: str) -> None:
        self.set_rate(rate)

    @rule()
    def it_has_written_for_the_last_time_and_the_hash_is_scanned(self) -> None:
        for _ in range(100):
            cursor = self.rig.client.hget(self.rig.keys.watch, "cursor")
            if not self.call_sweep(0, 500).summary.more and cursor in {None, "0"}:
                break
        else:
            pytest.fail("the sweep never ends")
        self.settled = True

    @invariant()
    def after_that_all_rules_hold(self) -> None:
        if not hasattr(self, "seen") or not self.settled:
            return
        seen = self.seen
        # So that it goes when the index goes, and never stays for good.
        assert seen.since.keys() <= seen.activity.keys()
        assert_rules(
            # Of users whom the older system took out, what we noted stays until its time has come.
            seen._replace(
                activity={user: last for user, last in seen.activity.items() if user in seen.inside},
                since={user: began for user, began in seen.since.items() if user in seen.inside},
                absent={user: last for user, last in seen.absent.items() if user in seen.line},
            )
        )


def run(machine: Callable[[], RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_the_scripts_do_what_the_model_does(shared_rig: Callable[[int, int, int], Rig]) -> None:
    run(lambda: Beside(shared_rig), 300)


@pytest.mark.timeout(300)
def test_a_room_that_an_older_system_wrote_into_is_reconciled(
    shared_rig: Callable[[int, int, int], Rig],
) -> None:
    run(lambda: OlderSystem(shared_rig), 250)
