"""What happened to a user: kept for every change of state, bounded, and for some time after the end."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from gateway.waiting_room.history import ENDS, EVENTS, MAX_ENTRIES, REASONS, parse_history
from gateway.waiting_room.scripts import Script, _source
from tests.waiting_room.rig import SCRIPTS, START, Rig

KEPT_FOR = 60_000


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """One slot; what happened is kept for a minute after the end."""
    rig.set_rules(history=KEPT_FOR)
    rig.limits(capacity=1)
    return rig


def happened(rig: Rig, user: str) -> list[tuple[str, str | None, int | None]]:
    return [(event, why, ticket) for _, event, why, ticket in rig.history(user)]


def test_the_way_through_the_room(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.advance(1_000)
    rig.lineup("bob")
    rig.leave(("slot", "ann"))
    rig.advance(10_000)
    rig.sweep()
    assert rig.history("ann") == [(START, "ADMITTED", None, None), (START + 1_000, "LEFT", None, None)]
    assert rig.history("bob") == [
        (START, "JOINED", None, 1),
        (START + 1_000, "MOVED", None, 2),
        (START + 1_000, "PROMOTED", None, 2),
        (START + 11_000, "EXPIRED", None, None),
    ]


def test_parking_return_and_the_end_of_the_ticket(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.limits(duration=1_000_000)
    rig.sweep(absent=1_000, hold=3_000)
    rig.advance(1_000)
    rig.sweep()
    rig.status("bob")
    rig.advance(1_000)
    rig.sweep()
    rig.advance(3_000)
    rig.sweep()
    assert happened(rig, "bob") == [
        ("JOINED", None, 1),
        ("PARKED", "ABSENT", 1),
        ("RETURNED", None, 1),
        ("PARKED", "ABSENT", 1),
        ("REMOVED", "ABSENT", 1),
    ]


def test_a_slot_that_is_not_claimed(rig: Rig) -> None:
    rig.set_rules(claim=1_000)
    rig.lineup("ann", "bob", "cid")
    rig.leave(("slot", "ann"))
    rig.advance(1_000)
    rig.sweep()
    rig.gate("cid")
    rig.status("bob")
    rig.leave(("slot", "cid"))
    rig.advance(1_000)
    rig.sweep()
    assert happened(rig, "bob") == [
        ("JOINED", None, 1),
        ("PROMOTED", None, 1),
        ("PARKED", "UNCLAIMED", 1),
        ("RETURNED", None, 1),
        ("PROMOTED", None, 1),
        ("REMOVED", "UNCLAIMED", 1),
    ]
    assert happened(rig, "cid")[1:] == [("PROMOTED", None, 2), ("CLAIMED", None, None), ("LEFT", None, None)]


@pytest.mark.parametrize(("user", "ticket"), [("ann", None), ("bob", 1)])
def test_an_operator_removes_a_user(rig: Rig, user: str, ticket: int | None) -> None:
    rig.lineup("ann", "bob")
    rig.leave(("both", user), reason="OPERATOR")
    assert happened(rig, user)[-1] == ("REMOVED", "OPERATOR", ticket)


def test_a_renewal_is_no_change(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    before = rig.client.hgetall(rig.keys.history)
    rig.gate("ann", "bob")
    rig.status("ann", "bob")
    rig.presence("here", ("arrived", "bob"))
    rig.sweep()
    assert rig.client.hgetall(rig.keys.history) == before


def test_an_older_system_ends_slots_and_places_without_a_word(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.client.hdel(rig.keys.inside, "ann")
    rig.client.zrem(rig.keys.line, "bob", "cid")
    rig.sweep()
    assert happened(rig, "ann")[-1] == ("REMOVED", "ELSEWHERE", None)
    assert happened(rig, "bob")[-1] == ("REMOVED", "ELSEWHERE", None)
    entries = rig.history("ann")
    for _ in range(3):
        rig.advance(1_000)
        rig.sweep()
    assert rig.history("ann") == entries


def test_no_more_than_the_last_entries_are_kept(rig: Rig) -> None:
    rig.limits(capacity=0)
    for _ in range(MAX_ENTRIES + 7):
        rig.advance(1)
        rig.lineup("ann")
    entries = rig.history("ann")
    assert len(entries) == MAX_ENTRIES
    assert entries[0] == (START + 8, "MOVED", None, 8)
    assert entries[-1] == (START + MAX_ENTRIES + 7, "MOVED", None, MAX_ENTRIES + 7)


def test_it_is_forgotten_some_time_after_the_end(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.leave(("both", "bob"))
    rig.advance(KEPT_FOR - 1)
    rig.gate("ann")
    rig.sweep()
    assert rig.history("bob")
    rig.advance(1)
    rig.sweep()
    assert not rig.history("bob")
    assert happened(rig, "ann")[-1][0] == "EXPIRED"
    rig.advance(KEPT_FOR)
    rig.sweep()
    assert not rig.client.exists(rig.keys.history, rig.keys.ended)


def test_who_comes_again_is_not_forgotten(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.leave(("both", "bob"))
    rig.lineup("bob")
    rig.limits(duration=10 * KEPT_FOR)
    rig.advance(2 * KEPT_FOR)
    rig.sweep(absent=0)
    assert [event for event, _, _ in happened(rig, "bob")] == ["JOINED", "LEFT", "JOINED"]


def test_one_sweep_forgets_a_bounded_number(rig: Rig) -> None:
    users = [f"u{n}" for n in range(300)]
    rig.limits(capacity=0)
    for at in range(0, 300, 100):
        rig.lineup(*users[at : at + 100])
        rig.leave(*(("both", user) for user in users[at : at + 100]))
    rig.advance(KEPT_FOR)
    assert rig.sweep().more
    assert rig.client.hlen(rig.keys.history) == 300 - 256
    assert not rig.sweep().more
    assert not rig.client.exists(rig.keys.history, rig.keys.ended)


def test_of_users_who_come_and_go_without_end_the_last_are_kept(rig: Rig) -> None:
    """Each is another visitor, so no bound of the room counts them."""
    few = SCRIPTS["sweep"].text.replace("500000", "3")
    assert few != SCRIPTS["sweep"].text
    rig.scripts = {**SCRIPTS, "sweep": Script("sweep", few, hashlib.sha1(few.encode()).hexdigest())}
    rig.lineup("ann", "bob")
    for at in range(5):
        rig.lineup(f"u{at}")
        rig.advance(1)
        rig.leave(("both", f"u{at}"))
    rig.sweep()
    kept = {"ann", "bob", "u2", "u3", "u4"}
    assert set(rig.client.hkeys(rig.keys.history)) == kept
    assert rig.client.zrange(rig.keys.ended, 0, -1) == ["u2", "u3", "u4"]
    rig.sweep()
    assert set(rig.client.hkeys(rig.keys.history)) == kept


def test_without_history_nothing_is_kept_and_what_there_was_goes(rig: Rig) -> None:
    rig.lineup("ann", "bob")
    rig.leave(("both", "bob"))
    rig.set_rules(history=0)
    rig.lineup("cid")
    assert not rig.history("cid")
    rig.sweep()
    assert not rig.client.exists(rig.keys.history, rig.keys.ended)


def test_an_operator_can_end_and_begin_it(rig: Rig) -> None:
    rig.limits(rules="history=0")
    rig.lineup("ann")
    assert not rig.history("ann")
    rig.limits(rules="history=5000")
    rig.lineup("bob")
    assert happened(rig, "bob") == [("JOINED", None, 1)]


def test_what_is_no_entry_is_left_out() -> None:
    text = (
        "x,19.1 JOINED,.2 LEFT;1a.0 ADMITTED,1c.3 PARKED ABSENT,1d.fffffffffffffff LEFT;1e.4 SOLD OUT;1f.5 RE"
    )
    assert [tuple(entry) for entry in parse_history(text)] == [
        (0x19, "JOINED", None, 1),
        (0x1A, "ADMITTED", None, None),
        (0x1C, "PARKED", "ABSENT", 3),
        (0x1E, "SOLD", "OUT", 4),
    ]


def test_lua_and_python_have_the_same_words_and_bounds() -> None:
    scripts = "".join(path.read_text() for path in (Path(__file__).parents[3] / "lua_scripts").rglob("*.lua"))
    history = _source("includes/history.lua")
    assert f"for _ = {MAX_ENTRIES + 1}, count do" in history
    noted = set(re.findall(r"happened\([\w\[\]]+, (?:place and 'MOVED' or )?'(\w+)'", scripts))
    assert noted | {"MOVED"} == set(EVENTS)
    for reason in REASONS:
        assert f"'{reason}'" in scripts
    assert set(re.findall(r"what == '(\w+)'", history)) == ENDS
