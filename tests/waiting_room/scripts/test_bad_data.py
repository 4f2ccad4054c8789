"""What every script does about keys of another type, unusable arguments and bad values: refuse before the first
write, or put right."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.waiting_room.rig import ALLOWED_IN, REGISTERED, START, WAITING, Rig

INSTANCE = "i1"
CALLS: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    "beacon": (("7", "anna", ""), ("draw", "audit")),
    "configure": (("auto", 60_000, 1), ("watch",)),
    "drain": ((INSTANCE, 10_000), ("instances", "here", "several")),
    "draw": ((), ("draw",)),
    "find": (("ann",), ()),
    "gate": (("ann",), ()),
    "gather": (("draw", "00", "00", "00", ""), ("draw", "drawn")),
    "leave": (("LEFT", "both", "ann"), ()),
    "limits": ((5, 5000, 0, 1, "absent=5000"), ()),
    "lineup": (("ann",), ()),
    "move": (("ann", "bob"), ()),
    "open": ((START, "d", 0, 60, "ann", b""), ("draw", "drawn", "watch")),
    "rank": ((START, "aa", "d"), ("draw",)),
    "presence": (("arrived", "ann"), ("here", "several")),
    "report": ((5,), ("watch", "minutes")),
    "status": (("1", "ann"), ()),
    "sweep": ((500, "auto", 60_000), ("watch",)),
}
COMMON = (
    "line",
    "inside",
    "counter",
    "settings",
    "activity",
    "absent",
    "streams",
    "pace",
    "tally",
    "since",
    "marks",
    "parked",
    "history",
    "ended",
)
KEPT = ("tickets", "claims", "missed")
"""Used only while users are parked or must claim their slots."""


def key_of(rig: Rig, name: str) -> str:
    found = getattr(rig.keys, name)
    return found(INSTANCE) if name in {"here", "several"} else found


def call(rig: Rig, script: str, *args: Any) -> Any:
    own, further = CALLS[script]
    return rig.run(script, *(args or own), keys=[key_of(rig, name) for name in further])


@pytest.mark.parametrize(
    ("script", "key"), [(script, key) for script in CALLS for key in (*COMMON, *CALLS[script][1])]
)
@pytest.mark.parametrize("furnished", [False, True], ids=["empty", "furnished"])
def test_a_key_of_another_type_is_an_error_and_nothing_is_written(
    rig: Rig, script: str, key: str, furnished: bool
) -> None:
    if furnished:
        rig.configure(1, 10_000)
        rig.lineup("bob", "ann", "cid")
        rig.client.zadd(rig.keys.instances, {INSTANCE: 1})
    name = key_of(rig, key)
    rig.client.delete(name)
    rig.client.lpush(name, "neither string nor hash nor set")
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY " + name):
        call(rig, script)
    assert rig.everything() == before
    assert rig.events() == []


@pytest.mark.parametrize("key", KEPT)
@pytest.mark.parametrize("script", CALLS)
@pytest.mark.parametrize("claim", [0, 1_000])
def test_a_key_of_another_type_is_an_error_where_it_may_be_used(
    rig: Rig, script: str, key: str, claim: int
) -> None:
    rig.set_rules(claim=claim)
    rig.lineup("bob", "ann", "cid")
    rig.events()
    name = key_of(rig, key)
    rig.client.lpush(name, "not a sorted set")
    before = rig.everything()
    if claim or script in {"configure", "limits", "move", "open", "sweep"}:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY " + name):
            call(rig, script)
        assert rig.everything() == before
        assert rig.events() == []
    else:
        call(rig, script)
        assert rig.everything()[name] == before[name]


def test_a_beat_and_a_lock_of_another_type_are_errors(rig: Rig) -> None:
    for key in (rig.keys.instances, rig.keys.sweep_lock):
        rig.client.lpush(key, "x")
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY"):
        rig.beat(INSTANCE)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        rig.raw("hold", rig.keys.sweep_lock, "token", 900, key_count=1)
    assert rig.everything() == before


@pytest.mark.parametrize(
    ("script", "args"),
    [
        ("limits", ("many", "", "", "0", "")),
        ("limits", (-1, "", "", "0", "")),
        ("limits", ("", 0, "", "0", "")),
        ("limits", ("", "nan", "", "0", "")),
        ("limits", ("inf", "", "", "0", "")),
        ("limits", ("", "", "x", "0", "")),
        ("sweep", ("", "auto", 60_000)),
        ("sweep", ("some", "auto", 60_000)),
        ("sweep", (500, "sometimes", 60_000)),
        ("sweep", (500, "auto", 0)),
        ("configure", ("", 60_000, 1)),
        ("configure", ("on", "long", 1)),
        *(
            ("limits", ("", "", "", "0", rules))
            for rules in ("x", "absent", "absent=-1", "speed=3", "hold=1 y")
        ),
        ("drain", (INSTANCE, "never")),
        ("beacon", ("", "anna", "")),
        ("beacon", ("7", "", "")),
        ("gather", ("luck", "00", "00", "00", "")),
        ("rank", ("soon", "aa", "d")),
        ("open", ("soon", "d", 0, 60, "ann", b"")),
        ("open", (START, "d", -1, 60, "ann", b"")),
        ("open", (START, "d", 0, 0, "ann", b"")),
        ("open", (START, "d", 0, 60, "ann")),
        ("leave", ("BORED", "both", "ann")),
        ("leave", ("LEFT", "both")),
        ("leave", ("LEFT", "everything", "ann")),
        ("presence", ("arrived",)),
        ("presence", ("12345", "ann")),
        ("report", ("0",)),
        ("report", ("many",)),
        ("presence", ("flew by", "ann")),
    ],
)
def test_an_unusable_argument_is_an_error_and_nothing_is_written(
    rig: Rig, script: str, args: tuple[Any, ...]
) -> None:
    rig.lineup("bob", "ann", "cid")
    rig.events()
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT"):
        call(rig, script, *args)
    assert rig.everything() == before
    assert rig.events() == []


@pytest.mark.parametrize("script", CALLS)
@pytest.mark.parametrize(("capacity", "duration"), [("", 1000), (-1, 1000), (3, 0), (3, "long")])
def test_unusable_default_limits_are_an_error_and_nothing_is_written(
    rig: Rig, script: str, capacity: Any, duration: Any
) -> None:
    rig.capacity, rig.duration = capacity, duration
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT"):
        call(rig, script)
    assert rig.everything() == before


@pytest.mark.parametrize("script", CALLS)
@pytest.mark.parametrize("bad", ["", "many", "-1", "nan", "inf", "1e300"])
def test_an_unusable_limit_in_redis_is_replaced_by_the_one_given(rig: Rig, script: str, bad: str) -> None:
    rig.client.hset(rig.keys.settings, mapping={"capacity": bad, "duration_ms": bad})
    summary = call(rig, script, *(("", "", "", "0", "") if script == "limits" else ())).summary
    assert (summary.capacity, summary.duration) == (2, 10.0)
    assert rig.client.hmget(rig.keys.settings, "capacity", "duration_ms") == ["2", "10000"]


@pytest.mark.parametrize("script", ["lineup", "leave", "limits", "sweep", "configure"])
def test_half_a_slot_is_none(rig: Rig, script: str) -> None:
    rig.client.hset(rig.keys.settings, mapping={"capacity": "1.5", "duration_ms": "10000.7"})
    rig.client.zadd(rig.keys.line, {"ann": 1, "bob": 2, "cid": 3})
    call(rig, script, *(("", "", "", "0", "") if script == "limits" else ()))
    if script in {"configure"}:
        assert rig.client.hget(rig.keys.settings, "capacity") == "2"
    else:
        assert len(rig.inside()) <= 1


def test_totals_that_are_no_numbers_begin_again_and_the_call_succeeds(rig: Rig) -> None:
    full = str(2**63 - 1)
    rig.client.hset(rig.keys.tally, mapping={"admitted": "lots", "lineups": full})
    answers = rig.lineup("ann", "bob", "cid")
    assert [answer[0] for answer in answers] == [3, 3, WAITING]
    assert rig.tally() == {"admitted": 2, "lineups": 1}


@pytest.mark.parametrize("bad", ["", "soon", "-7", "nan", "inf", "1e400", "0x"])
def test_a_counter_that_is_no_number_is_put_right_and_tickets_stay_above_the_line(rig: Rig, bad: str) -> None:
    rig.client.zadd(rig.keys.line, {"old": 41})
    rig.limits(paused=True)
    rig.client.set(rig.keys.counter, bad)
    assert rig.lineup("ann")[0][:3] == [WAITING, 42, 2]
    assert rig.client.get(rig.keys.counter) == "42"


@pytest.mark.parametrize("pace", [{}, {"admissions": "x", "slot_ms": "y", "at": "z"}, {"at": "1e300"}])
def test_a_pace_that_is_no_number_is_measured_anew(rig: Rig, pace: dict[str, str]) -> None:
    rig.lineup("ann", "bob", "cid")
    if pace:
        rig.client.hset(rig.keys.pace, mapping=pace)
    rig.advance(10_000)
    summary = rig.sweep()
    assert summary.promoted == 1
    rig.lineup("dan", "eve")
    rig.advance(1000)
    assert 0 <= rig.sweep().rate < 10


@pytest.mark.parametrize("value", ["", "yesterday", "-5", "nan", "inf", str(START), "1e300"])
def test_a_session_that_began_at_no_possible_time_begins_now_and_ends_in_time(rig: Rig, value: str) -> None:
    rig.client.hset(rig.keys.inside, "ann", value)
    assert rig.status("ann")[0] == [ALLOWED_IN, 0, 0, 0, 10_000]
    rig.advance(9_999)
    assert rig.status("ann")[0][0] == ALLOWED_IN
    rig.advance(1)
    assert rig.sweep().expired == 1
    assert rig.inside() == {}


@pytest.mark.parametrize("number", ["x", "2.5", "9223372036854775807"])
def test_a_number_of_registrations_that_is_none_starts_again_behind_all(rig: Rig, number: str) -> None:
    rig.set_rules(opens_at=START + 5_000, prequeue=5_000)
    rig.gather()
    rig.lineup("ann", "bob")
    rig.client.hset(rig.keys.settings, "registrations", number)
    assert [answer[0] for answer in rig.lineup("cid", "dan")] == [REGISTERED, REGISTERED]
    assert rig.registered() == ["ann", "bob", "cid", "dan"]
    assert rig.client.hget(rig.keys.settings, "registrations") == "4"
