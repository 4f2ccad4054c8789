"""Closed, sold out, emptied, and reopened."""

from __future__ import annotations

import pytest

from gateway.waiting_room.state import Doors
from tests.waiting_room.model import ADMITTED, ALLOWED_IN, CLOSED, NONE, REGISTERED, SOLD_OUT, WAITING
from tests.waiting_room.rig import START, Rig, fill


@pytest.fixture
def sale(rig: Rig) -> Rig:
    """``in1`` and ``in2`` are allowed in, ``w1`` and ``w2`` wait, and ``away`` is parked between them."""
    rig.set_rules(absent=1_000)
    rig.lineup("in1", "in2", "w1", "away", "w2")
    rig.sweep()
    rig.presence("a", ("arrived", "w1"), ("arrived", "w2"))
    rig.advance(1_000)
    rig.sweep()
    rig.events()
    assert (rig.waiting(), list(rig.parked())) == (["w1", "w2"], ["away"])
    return rig


def codes(answers: list[list[int]]) -> list[int]:
    return [answer[0] for answer in answers]


def test_a_closed_room_takes_only_users_with_a_place_and_goes_on_admitting(sale: Rig) -> None:
    assert sale.doors("close").doors is Doors.CLOSED
    before = sale.everything()
    assert sale.lineup("new") == [[CLOSED, 0, 0, 2, 0, 0]]
    assert sale.everything() == before
    assert codes(sale.lineup("in1", "w2", "away")) == [ALLOWED_IN, WAITING, WAITING]
    sale.leave(("slot", "in1"))
    assert sale.events() == [("ADMITTED", "w1", 1)]
    assert codes(sale.gate("in2")) == [ALLOWED_IN]
    assert codes(sale.status("new")) == [NONE]


def test_a_closed_room_admits_no_new_user_though_slots_are_free(rig: Rig) -> None:
    rig.doors("close")
    assert codes(rig.lineup("new")) == [CLOSED]
    rig.doors("reopen")
    assert codes(rig.lineup("new")) == [ADMITTED]


def test_a_room_closed_until_a_moment_opens_by_itself_to_the_millisecond(rig: Rig) -> None:
    until = rig.now + 5_000
    assert rig.doors("close", until).closed_until == until
    rig.advance(4_999)
    assert rig.lineup("new") == [[CLOSED, 0, 0, 0, 0, until]]
    rig.advance(1)
    assert codes(rig.lineup("new")) == [ADMITTED]
    assert rig.sweep().doors is Doors(0)


def test_closing_again_replaces_the_moment(rig: Rig) -> None:
    rig.doors("close", rig.now + 5_000)
    assert rig.doors("close").closed_until == 0
    rig.advance(60_000)
    assert codes(rig.lineup("new")) == [CLOSED]


def test_sold_out_ends_the_line_and_those_inside_stay(sale: Rig) -> None:
    assert sale.doors("sold_out").doors is Doors.SOLD_OUT
    assert sale.events() == [("SOLD_OUT", "w1", 1), ("SOLD_OUT", "w2", 3), ("SOLD_OUT", "away", 2)]
    assert (sale.waiting(), sale.parked(), sale.tally()["removed"]) == ([], {}, 3)
    for call in (sale.lineup, sale.status, sale.gate):
        assert codes(call("in1", "w1", "away", "new")) == [ALLOWED_IN, SOLD_OUT, SOLD_OUT, SOLD_OUT]
    sale.leave(("slot", "in1"))
    assert codes(sale.lineup("in1", "new")) == [SOLD_OUT, SOLD_OUT]
    assert list(sale.inside()) == ["in2"]


def test_reopening_undoes_both_but_brings_no_place_back_and_lifts_no_pause(sale: Rig) -> None:
    sale.limits(paused=True)
    sale.doors("close")
    sale.doors("sold_out")
    sale.leave(("slot", "in1"))
    summary = sale.doors("reopen")
    assert (summary.doors, summary.paused) == (Doors.PAUSED, True)
    assert codes(sale.status("w1")) == [NONE]
    assert codes(sale.lineup("w1")) == [WAITING]
    sale.limits(paused=False)
    assert codes(sale.status("w1")) == [ALLOWED_IN]


def test_resuming_a_room_that_is_sold_out_admits_no_one(sale: Rig) -> None:
    sale.doors("sold_out")
    assert sale.limits(paused=False, capacity=9).allowed_in == 2
    assert codes(sale.lineup("new")) == [SOLD_OUT]


def test_emptying_removes_the_line_and_the_room_goes_on(sale: Rig) -> None:
    summary = sale.doors("empty")
    assert (summary.waiting, summary.parked, summary.removed, summary.more) == (0, 0, 3, False)
    assert sale.events() == [("OPERATOR", "w1", 1), ("OPERATOR", "w2", 3), ("OPERATOR", "away", 2)]
    assert sale.client.hget(sale.keys.settings, "doors") is None
    sale.leave(("slot", "in1"))
    assert codes(sale.lineup("new", "w1")) == [ADMITTED, WAITING]


@pytest.mark.parametrize(("act", "event"), [("sold_out", "SOLD_OUT"), ("empty", "OPERATOR")])
def test_a_long_line_ends_in_steps_of_256(rig: Rig, act: str, event: str) -> None:
    rig.limits(capacity=1)
    rig.lineup("in")
    fill(rig, rig.keys.line, [(f"u{n:04}", n) for n in range(1, 601)], "zset")
    rig.client.set(rig.keys.counter, 600)
    rig.events()
    summary = rig.doors(act)
    assert (summary.removed, summary.more) == (256, True)
    # Between the steps nobody is admitted whose turn it would not be.
    rig.leave(("slot", "in"))
    assert rig.inside() == {}
    late = codes(rig.lineup("late"))
    assert late == [SOLD_OUT if act == "sold_out" else WAITING]
    rig.events()
    assert rig.sweep().removed == 256
    summary = rig.sweep()
    assert (summary.removed, summary.more) == (88, False)
    told = [kind for kind, _, _ in rig.events()]
    assert told == [event] * 344 + ["ADMITTED"] * (act == "empty")
    assert list(rig.inside()) == (["late"] if act == "empty" else [])


def test_users_who_were_removed_say_nothing_about_patience(sale: Rig) -> None:
    sale.doors("empty")
    sale.lineup("a", "b")
    sale.advance(1_000)
    assert sale.sweep().abandon_rate == 0


def test_a_user_whom_an_older_system_admitted_meanwhile_stays(sale: Rig) -> None:
    sale.client.hset(sale.keys.inside, "w1", str(sale.now // 1000))
    sale.doors("sold_out")
    assert ("ADMITTED", "w1", 1) in sale.events()
    assert "w1" in sale.inside()


def test_each_act_has_an_entry_in_the_audit(sale: Rig) -> None:
    until = sale.now + 60_000
    for act, moment in (("close", until), ("empty", ""), ("sold_out", ""), ("reopen", "")):
        sale.doors(act, moment)
    entries = [
        tuple(fields[name] for name in ("act", "by", "from", "to", "reason"))
        for _, fields in sale.client.xrange(sale.keys.audit)
    ]
    who, why = sale.author
    assert entries == [
        ("close", who, "open", f"closed until {until}", why),
        ("empty", who, "3", "0", why),
        ("sold_out", who, f"closed until {until}", "sold out", why),
        ("reopen", who, "sold out", "open", why),
    ]


@pytest.mark.parametrize(
    ("act", "until", "by"),
    [("shut", "", "x"), ("close", "soon", "x"), ("close", -1, "x"), ("reopen", 5, "x"), ("close", "", "")],
)
def test_an_unusable_order_changes_nothing(sale: Rig, act: str, until: object, by: str) -> None:
    sale.author = (by, "")
    before = sale.everything()
    with pytest.raises(Exception, match="BAD_ARGUMENT"):
        sale.doors(act, until)  # type: ignore[arg-type]
    assert sale.everything() == before


@pytest.mark.parametrize("stored", ["", "x", "closed", "closed=2 sold_out=x emptying=-1", "= =", "until=5"])
def test_unusable_doors_are_open(rig: Rig, stored: str) -> None:
    rig.client.hset(rig.keys.settings, "doors", stored)
    assert codes(rig.lineup("ann")) == [ADMITTED]


OPENS = START + 60_000


@pytest.fixture
def gathering(rig: Rig) -> Rig:
    """``r1`` and ``r2`` are registered; the room opens in half a minute."""
    rig.set_rules(opens_at=OPENS, prequeue=30_000)
    rig.set_clock(OPENS - 30_000)
    rig.gather()
    rig.lineup("r1", "r2")
    rig.events()
    return rig


def test_a_closed_room_registers_no_one_and_keeps_registrations(gathering: Rig) -> None:
    gathering.doors("close")
    assert gathering.lineup("new") == [[CLOSED, 0, 0, 0, 0, 0]]
    assert codes(gathering.lineup("r1")) == [REGISTERED]
    gathering.doors("close", OPENS - 10_000)
    assert gathering.lineup("new") == [[CLOSED, 0, 0, 0, 0, OPENS, OPENS - 10_000]]


@pytest.mark.parametrize(("act", "event"), [("sold_out", "SOLD_OUT"), ("empty", "OPERATOR")])
def test_registered_users_lose_their_registrations_too(gathering: Rig, act: str, event: str) -> None:
    assert not gathering.doors(act).more
    assert gathering.events() == [(event, "r1", 0), (event, "r2", 0)]
    assert gathering.registered() == []
    after = {"sold_out": SOLD_OUT, "empty": NONE}[act]
    assert codes(gathering.status("r1")) == [after]
    assert codes(gathering.lineup("r3")) == [{"sold_out": SOLD_OUT, "empty": REGISTERED}[act]]


@pytest.mark.parametrize(("act", "event"), [("sold_out", "SOLD_OUT"), ("empty", "OPERATOR")])
def test_users_of_an_opening_under_way_get_their_places_and_then_lose_them(
    gathering: Rig, act: str, event: str
) -> None:
    gathering.set_clock(OPENS)
    gathering.sweep()
    gathering.rank()
    gathering.doors(act)
    if act == "sold_out":
        assert codes(gathering.status("r1")) == [SOLD_OUT]
    assert gathering.place(0, "r1", "r2") == 2
    assert (gathering.inside(), gathering.events()) == ({}, [])
    gathering.sweep()
    assert [(kind, user) for kind, user, _ in gathering.events()] == [(event, "r1"), (event, "r2")]
    assert gathering.waiting() == []


def test_of_a_long_pre_queue_too_256_go_in_each_step_and_later_ones_stay(gathering: Rig) -> None:
    gathering.lineup(*(f"u{n:03}" for n in range(254)))
    gathering.lineup("late")
    assert gathering.doors("empty").more
    gathering.lineup("new")
    assert not gathering.sweep().more
    assert gathering.registered() == ["new"]
