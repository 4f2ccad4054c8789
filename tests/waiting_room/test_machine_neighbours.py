"""Hypothesis calls the scripts of this version and of the one before in turn, on one room: the rules hold all the same.

``tests/data/schema_1`` has the scripts of the last version that knew no parked users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from gateway.waiting_room.scripts import _INCLUDE, Script, load_all
from gateway.waiting_room.state import Summary, parse_summary
from tests.waiting_room.rig import CLOCK, Reply, Rig, connect
from tests.waiting_room.rules import Seen, assert_rules, look
from tests.waiting_room.test_machine import (
    ABSENT,
    HOLD,
    Driver,
    batches,
    capacities,
    changes,
    durations,
    instances,
    leavers,
    reasons,
    relineups,
    run,
    steps,
)

FOLDER = Path(__file__).parents[1] / "data" / "schema_1"
KEYS, ARGUMENTS = 11, 3
"""How many of each the scripts of that version had in common."""


def earlier_script(name: str) -> Script:
    def paste(include: str) -> str:
        return CLOCK if include == "clock" else (FOLDER / "includes" / f"{include}.lua").read_text("utf-8")

    text = _INCLUDE.sub(lambda match: paste(match[1]), (FOLDER / f"{name}.lua").read_text("utf-8"))
    return Script(name, text, "")


EARLIER = {path.stem: earlier_script(path.stem) for path in FOLDER.glob("*.lua")}


class TwoVersions(Rig):
    """A room of which ``earlier`` says which version makes the next call."""

    earlier = False

    def run(self, name: str, *args: Any, keys: Any = ()) -> Reply:
        if not self.earlier:
            return super().run(name, *args, keys=keys)
        all_keys = (*self.keys.common[:KEYS], *keys)
        options: tuple[Any, ...] = args
        if name == "sweep":
            options = (ABSENT, *args)
        elif name == "limits":
            options = args[:4]
        elif name == "configure":
            options = args[:2]
        given = [self.channel, self.capacity, self.duration, *options]
        raw = [one.encode() if isinstance(one, str) else one for one in given]
        summary, *answers = self.client.eval(EARLIER[name].text, len(all_keys), *all_keys, *raw)
        parked = self.client.zcard(self.keys.parked)
        counts = [*summary[9:16], 0, 0, 0, 0, 0, *summary[16:18]]
        features = [summary[19] or 0, 0, 0, 0, 0, 0, -1, 0]
        return Reply(parse_summary([*summary[:9], summary[18], parked, 0, 0, counts, features]), answers)


class Neighbours(Driver):
    """Each call is one of an instance of either version."""

    rig: TwoVersions
    earlier_at = 0
    """When the earlier version made the last call."""

    @initialize(capacity=capacities, duration=durations)
    def open(self, capacity: int, duration: int) -> None:
        self.begin(256, capacity, duration)
        self.rig.set_rules(absent=ABSENT, hold=HOLD)

    @rule(claim=st.sampled_from([0, 1, 3_000, 3_000]))
    def slots_must_be_claimed(self, claim: int) -> None:
        self.rig.set_rules(claim=claim)

    @rule(act=st.sampled_from(["close", "reopen", "reopen"]))
    def doors(self, act: str) -> None:
        self.by(False)
        self.call("doors", act, "")

    @rule(batch=batches)
    def reopen(self, batch: list[str]) -> None:
        self.by(False)
        self.call("reopen", *batch)

    def by(self, earlier: bool) -> None:
        self.rig.earlier = earlier
        if earlier:
            self.earlier_at = self.rig.now

    def assert_ages(self, summary: Summary, seen: Seen) -> None:
        """For two seconds, this version believes ages although the earlier one has changed sessions."""
        if self.rig.earlier or self.rig.now - self.earlier_at > 2_000:
            super().assert_ages(summary, seen)

    @rule(by=steps)
    def time_passes(self, by: int) -> None:
        self.rig.advance(by)

    @rule(batch=batches, relineup=relineups, earlier=st.booleans())
    def lineup(self, batch: list[str], relineup: str, earlier: bool) -> None:
        self.by(earlier)
        self.rig.set_rules(relineup=relineup)
        self.call("lineup", *((relineup,) if earlier else ()), *batch, lined_up=batch)

    @rule(most=st.sampled_from([0, 2]), often=st.sampled_from([0, 2]))
    def lineups_are_bounded(self, most: int, often: int) -> None:
        self.rig.set_rules(max_waiting=most, lineups_per_minute=often)

    @rule(batch=batches, sighting=st.booleans(), earlier=st.booleans())
    def status(self, batch: list[str], sighting: bool, earlier: bool) -> None:
        self.by(earlier)
        self.call("status", int(sighting), *batch)

    @rule(batch=batches, earlier=st.booleans())
    def gate(self, batch: list[str], earlier: bool) -> None:
        self.by(earlier)
        self.call("gate", *batch)

    @rule(batch=leavers, reason=reasons, earlier=st.booleans())
    def leave(self, batch: list[tuple[str, str]], reason: str, earlier: bool) -> None:
        self.by(earlier)
        self.call("leave", reason, *self.pairs(batch))

    @rule(earlier=st.booleans())
    def sweep(self, earlier: bool) -> None:
        self.by(earlier)
        self.call("sweep", 500, *self.rig.follow, keys=[self.rig.keys.watch])

    @rule(seconds=st.integers(1, 4), earlier=st.booleans())
    def seconds_pass_with_a_sweep_in_each(self, seconds: int, earlier: bool) -> None:
        for _ in range(seconds):
            self.time_passes(1_000)
            self.sweep(earlier)

    @rule(capacity=capacities, paused=st.booleans(), earlier=st.booleans())
    def limits(self, capacity: int, paused: bool, earlier: bool) -> None:
        self.by(earlier)
        self.call("limits", capacity, "", int(paused), 0, "")

    @rule(capacity=capacities, duration=durations, earlier=st.booleans())
    def an_instance_starts(self, capacity: int, duration: int, earlier: bool) -> None:
        self.by(earlier)
        self.rig.capacity, self.rig.duration = capacity, duration
        self.rig.run("configure", *self.rig.follow, 1, "", keys=[self.rig.keys.watch])
        self.seen = look(self.rig)
        self.rig.events()

    @rule(instance=instances, batch=changes, earlier=st.booleans())
    def streams_open_and_close(self, instance: str, batch: list[tuple[str, str]], earlier: bool) -> None:
        self.by(earlier)
        self.call(
            "presence",
            *self.pairs(batch),
            keys=[self.rig.keys.here(instance), self.rig.keys.several(instance)],
        )

    @rule()
    def the_earlier_version_has_ended(self) -> None:
        self.by(False)
        for _ in range(100):
            self.call("sweep", 500, *self.rig.follow, keys=[self.rig.keys.watch])
            watch = self.rig.client.hmget(self.rig.keys.watch, "cursor", "parked_cursor", "claims_cursor")
            if set(watch) <= {None, "0"}:
                break
        assert_rules(self.seen)


@pytest.fixture(scope="module")
def make_rig(redis_server: Any) -> Iterator[Callable[[int, int, int], Rig]]:
    made: list[Rig] = []
    scripts = load_all({"clock": CLOCK})
    with connect(redis_server.url) as client:

        def make(most: int, capacity: int, duration: int) -> Rig:
            client.flushall()
            if made:
                made.pop().close()
            made.append(TwoVersions(client, capacity, duration, scripts))
            return made[0]

        yield make
        made.pop().close()


@pytest.mark.timeout(300)
def test_two_neighbouring_versions_keep_the_rules_side_by_side(
    make_rig: Callable[[int, int, int], Rig],
) -> None:
    run(lambda: Neighbours(make_rig), 200)
