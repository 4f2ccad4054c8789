"""Forgetting a room that calls had made: in one step, and only if nobody was in it for as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.waiting_room.named_room import Use
from tests.waiting_room.rig import ADMITTED, WAITING, Rig

IDLE, DEAD = 60_000, 10_000


@pytest.fixture
def rig(client: redis.Redis) -> Any:
    rig = Rig(client, capacity=1, duration=10_000, room="concert-17")
    rig.configure(1, 10_000)
    yield rig
    rig.close()


def look(rig: Rig, idle: int = IDLE) -> tuple[Use, int]:
    keys = (*rig.keys.common, rig.keys.instances, rig.keys.drawn, *rig.keys.others)
    arguments = (rig.channel, f"+{rig.capacity}", rig.duration, rig.rules, idle, DEAD)
    code, wait = rig.raw("forget", *keys, *arguments, key_count=len(keys))
    return Use(code), wait


def test_an_empty_room_is_idle_from_the_first_look_on_and_forgotten_when_the_time_is_over(rig: Rig) -> None:
    assert look(rig) == (Use.IDLE, IDLE)
    rig.advance(IDLE - 1)
    assert look(rig) == (Use.IDLE, 1)
    rig.advance(1)
    assert look(rig) == (Use.FORGOTTEN, 0)
    with pytest.raises(redis.exceptions.ResponseError, match="NO_SUCH_ROOM"):
        look(rig)


def test_every_key_of_the_room_is_gone(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=5, claim=1000, absent=1000)
    rig.lineup("ann", "bob", "cem")
    rig.presence("here", ("arrived", "bob"))
    rig.beat("here", report="x")
    rig.sweep()
    rig.advance(2000)
    rig.sweep()
    rig.presence("here", ("departed", "bob"))
    rig.leave(("both", "ann"), ("both", "bob"), ("both", "cem"))
    rig.advance(DEAD)
    rig.client.set(rig.keys.mark, 1)
    rig.client.delete(rig.keys.about("here"))
    rig.client.hset(rig.keys.draw, "order", "arrival")
    rig.client.hset(rig.keys.settings, mapping={"operator_rules": "", "paused": "0"})
    assert look(rig)[0] is Use.IDLE
    rig.advance(IDLE)
    assert look(rig)[0] is Use.FORGOTTEN
    assert [key for key in rig.client.scan_iter() if key.startswith("gw:{concert-17}")] == []


def _waits(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.leave(("both", "ann"))


def _is_parked(rig: Rig) -> None:
    rig.set_rules(absent=1000)
    rig.limits(capacity=0)
    rig.lineup("ann")
    rig.limits(lift=True, paused=False)
    rig.limits(paused=True)
    rig.client.hset(rig.keys.settings, "paused", "0")
    rig.client.zadd(rig.keys.parked, {"ann": rig.now})
    rig.client.zadd(rig.keys.tickets, {"ann": 1})
    rig.client.zrem(rig.keys.line, "ann")


@pytest.mark.parametrize(
    "use",
    [
        lambda rig: rig.lineup("ann"),
        _waits,
        _is_parked,
        lambda rig: rig.client.zadd(rig.keys.registered, {"ann": 1}),
        lambda rig: rig.presence("here", ("arrived", "ann")),
    ],
    ids=["inside", "waiting", "parked", "registered", "stream"],
)
def test_a_room_with_anyone_in_it_is_used(rig: Rig, use: Callable[[Rig], Any]) -> None:
    use(rig)
    assert look(rig, idle=0) == (Use.USED, 0)


@pytest.mark.parametrize(
    "act",
    [
        lambda rig: rig.limits(capacity=5),
        lambda rig: rig.limits(paused=True),
        lambda rig: rig.limits(rules="claim=20000"),
        lambda rig: rig.limits(stock=37),
        lambda rig: rig.doors("close"),
        lambda rig: rig.doors("sold_out"),
        lambda rig: rig.set_rules(opens_at=rig.now + 1),
        lambda rig: rig.client.set(rig.keys.drawn, "x"),
    ],
    ids=["capacity", "paused", "rules", "stock", "closed", "sold out", "opening", "draw"],
)
def test_what_operators_have_said_and_a_draw_keep_an_empty_room(rig: Rig, act: Callable[[Rig], Any]) -> None:
    act(rig)
    assert look(rig, idle=0) == (Use.KEPT, 0)


def test_what_operators_have_lifted_keeps_it_no_longer(rig: Rig) -> None:
    rig.limits(capacity=5, paused=True, rules="claim=20000")
    rig.limits(lift=True, paused=False)
    rig.doors("close")
    rig.doors("reopen")
    assert look(rig, idle=0)[0] is Use.FORGOTTEN


def test_someone_who_came_and_went_between_two_looks_counts(rig: Rig) -> None:
    assert look(rig)[0] is Use.IDLE
    rig.advance(IDLE - 1)
    assert rig.lineup("ann")[0][0] == ADMITTED
    rig.leave(("both", "ann"))
    rig.advance(1)
    assert look(rig) == (Use.IDLE, IDLE)


def test_an_instance_that_still_runs_the_room_delays_the_end_only(rig: Rig) -> None:
    assert look(rig)[0] is Use.IDLE
    rig.advance(IDLE)
    rig.beat("here")
    assert look(rig) == (Use.IDLE, 1000)
    rig.advance(1000)
    keys = (rig.keys.instances, rig.keys.about("here"), rig.keys.here("here"))
    rig.raw("retire", *keys, "here", key_count=3)
    assert look(rig)[0] is Use.FORGOTTEN


def test_a_dead_instance_keeps_no_room(rig: Rig) -> None:
    rig.beat("gone")
    rig.advance(DEAD)
    assert look(rig, idle=0)[0] is Use.FORGOTTEN


@pytest.mark.parametrize("script", ["status", "gate", "lineup", "leave", "sweep", "limits"])
def test_no_script_makes_a_room_that_must_exist(client: redis.Redis, script: str) -> None:
    rig = Rig(client, room="concert-18")
    rig.capacity = "+2"  # type: ignore[assignment]
    calls: dict[str, Callable[[], Any]] = {
        "status": lambda: rig.status("ann"),
        "gate": lambda: rig.gate("ann"),
        "lineup": lambda: rig.lineup("ann"),
        "leave": lambda: rig.leave(("both", "ann")),
        "sweep": rig.sweep,
        "limits": lambda: rig.limits(capacity=3),
    }
    before = rig.everything()
    with pytest.raises(redis.exceptions.ResponseError, match="NO_SUCH_ROOM"):
        calls[script]()
    assert rig.everything() == before
    rig.close()


def test_a_room_is_made_only_in_time_and_then_takes_lineups(client: redis.Redis) -> None:
    rig = Rig(client, capacity=1, room="concert-18")

    def make(until: int) -> None:
        rig.run("configure", *rig.follow, 1, until, keys=[rig.keys.watch])

    with pytest.raises(redis.exceptions.ResponseError, match="NO_SUCH_ROOM"):
        make(rig.now - 1)
    assert client.exists(rig.keys.settings) == 0
    make(rig.now)
    rig.capacity = "+1"  # type: ignore[assignment]
    assert [answer[0] for answer in rig.lineup("ann", "bob")] == [ADMITTED, WAITING]
    rig.advance(1000)
    # Once it is there, the moment does not matter.
    make(rig.now - 1000)
    rig.close()


def test_pythons_uses_have_the_scripts_codes() -> None:
    text = (Path(__file__).parents[3] / "lua_scripts" / "forget.lua").read_text()
    assert f"local {', '.join(use.name for use in Use)} = {', '.join(str(use.value) for use in Use)}" in text


def test_retiring_takes_an_instance_out_unless_it_has_streams(rig: Rig) -> None:
    rig.beat("here", report="x")
    keys = (rig.keys.instances, rig.keys.about("here"), rig.keys.here("here"))
    rig.presence("here", ("arrived", "ann"))
    assert rig.raw("retire", *keys, "here", key_count=3) == 0
    assert rig.client.zscore(rig.keys.instances, "here")
    rig.presence("here", ("departed", "ann"))
    assert rig.raw("retire", *keys, "here", key_count=3) == 1
    assert rig.client.exists(rig.keys.instances, rig.keys.about("here")) == 0
