"""What two looks into the room prove."""

from __future__ import annotations

import pytest

from gateway.demo.rules import Rule
from tests.soak.room import Look, RoomWatch

CAPACITY = 2


def a_look(line: str = "", inside: str = "", *, index: str | None = None, gone: int = 0) -> Look:
    """``line`` is users with their tickets, ``a1 b2``; ``inside`` and ``index`` are users."""
    people = {word[:1].encode(): float(word[1:]) for word in line.split()}
    return Look(people, frozenset(map(str.encode, inside)), frozenset(map(str.encode, index or inside)), gone)


BEFORE = a_look("c3 d4 e5", "ab")


@pytest.mark.parametrize(
    ("now", "broken"),
    [
        (a_look("c3 d4 e5", "ab"), []),
        (a_look("d4 e5", "bc", gone=1), []),
        (a_look("d4 e5 c6", "ab"), []),
        (a_look("d4 e5", "ab", gone=1), []),
        (a_look("d4 e5", "bc"), []),
        (a_look("d4 e5", "abc"), [Rule.CAPACITY]),
        (a_look("c3 d4 e5", "a"), [Rule.ORDER]),
        (a_look("c3 d4 e5", "ac"), [Rule.LOST]),
        (a_look("c3 d4 e5", "ab", index="a"), [Rule.SESSION]),
        (a_look("c3 e5", "ad"), [Rule.ORDER]),
        (a_look("c3 d4 e5", "ax"), [Rule.ORDER]),
        (a_look("c3 d4", "ab"), [Rule.LOST]),
        (a_look("c3 d3 e5", "ab"), [Rule.TICKETS]),
    ],
)
def test_two_looks_prove_a_breach_or_none(now: Look, broken: list[Rule]) -> None:
    found: list[Rule] = []
    watch = RoomWatch(CAPACITY, lambda rule, what: found.append(rule))
    watch.see(BEFORE)
    assert found == []
    watch.see(now)
    assert sorted(set(found)) == broken


def test_an_emptied_room_proves_nothing_against_what_was_before() -> None:
    found: list[Rule] = []
    watch = RoomWatch(CAPACITY, lambda rule, what: found.append(rule))
    watch.see(BEFORE)
    watch.emptied = True
    watch.see(a_look())
    watch.renew()
    watch.see(a_look("a3", "xy"))
    assert found == []
